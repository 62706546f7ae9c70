//! Migrations, applied at start in one direction.

use crate::error::{Error, Result};
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

const STEPS: &[M<'static>] = &[
    M::up(include_str!("migrations/001_schema.sql")),
    M::up(include_str!("migrations/002_peers_alertmanager.sql")),
    M::up(include_str!("migrations/003_events_receivers.sql")),
];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

pub fn migrate(connection: &mut Connection) -> Result<()> {
    MIGRATIONS
        .to_latest(connection)
        .map_err(|error| Error::Internal(format!("cannot bring the database to this version's schema: {error}")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn migrations_are_well_formed() {
        super::MIGRATIONS.validate().unwrap();
    }
}
