//! Who is online where, kept in Redis so that all nodes see the same. No other folder may speak Redis, and nothing of a
//! message is ever stored there.

mod connection;
mod directory;
mod entries;
mod exchange;
mod figures;
mod keys;
mod link;
mod nodes;
mod pool;
mod watching;

pub use connection::{Layout, RedisConfig, RedisMistakes};
pub use directory::RedisDirectory;
