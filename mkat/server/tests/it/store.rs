//! The store on real files: group commit, isolation of jobs, migrations.

use crate::support::Folder;
use mkat::domain::Severity;
use mkat::error::{Code, Error};
use mkat::signals::{Event, Signals};
use mkat::store::services::{self, Filter, NewService};
use mkat::store::{Store, settings};
use std::sync::Arc;

fn open(folder: &Folder) -> (Store, Arc<Signals>) {
    let signals = Arc::new(Signals::default());
    (Store::open(&folder.path().join("deep/er/mkat.db"), signals.clone()).unwrap(), signals)
}

fn named(name: &str) -> NewService {
    NewService { name: name.into(), description: None, severity: Severity::Low, managed_by: None }
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_database_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let (store, _) = open(&folder);
    store.write(|tx| settings::set(tx, "key", "value")).await.unwrap();
    for file in std::fs::read_dir(folder.path().join("deep/er")).unwrap().map(Result::unwrap) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[tokio::test]
async fn jobs_of_one_commit_do_not_harm_each_other() {
    let folder = Folder::new();
    let (store, signals) = open(&folder);
    let mut events = signals.subscribe();
    let jobs = (0..200).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .write(move |tx| {
                    let id = services::insert(tx, &named(&format!("s{n}")), tx.now)?;
                    tx.emit(Event::ServiceChanged { service_id: id.clone() });
                    match n % 4 {
                        1 => Err(Error::refused(Code::NotFound, "changed my mind")),
                        2 => panic!("a fault in a job"),
                        // The name is taken: fails inside SQLite.
                        3 => services::insert(tx, &named(&format!("s{n}")), tx.now),
                        _ => Ok(id),
                    }
                })
                .await
        })
    });
    let mut codes = Vec::new();
    for job in jobs.collect::<Vec<_>>() {
        codes.push(job.await.unwrap().map_err(|error| error.code()));
    }
    for (n, code) in codes.iter().enumerate() {
        match n % 4 {
            0 => assert!(code.is_ok()),
            1 => assert_eq!(*code, Err(Code::NotFound)),
            2 => assert_eq!(*code, Err(Code::Internal)),
            _ => assert_eq!(*code, Err(Code::ServiceNameTaken)),
        }
    }
    assert_eq!(store.read(|db| services::count(db, &Filter::default())).await.unwrap(), 50);
    let mut heard = 0;
    while events.try_recv().is_ok() {
        heard += 1;
    }
    assert_eq!(heard, 50, "only of what was committed");
}

#[tokio::test]
async fn time_never_goes_backwards_from_job_to_job() {
    let folder = Folder::new();
    let (store, _) = open(&folder);
    let mut last = mkat::domain::Timestamp::default();
    for _ in 0..100 {
        let now = store.write(|tx| Ok(tx.now)).await.unwrap();
        assert!(now >= last);
        last = now;
    }
}

#[tokio::test]
async fn a_reader_cannot_write_and_sees_what_was_committed() {
    let folder = Folder::new();
    let (store, _) = open(&folder);
    store.write(|tx| settings::set(tx, "k", "v")).await.unwrap();
    assert_eq!(store.read(|db| settings::get(db, "k")).await.unwrap().as_deref(), Some("v"));
    assert!(store.read(|db| settings::set(db, "k", "w")).await.is_err());
    assert_eq!(store.read(|db| settings::get(db, "k")).await.unwrap().as_deref(), Some("v"));
}

#[tokio::test]
async fn closing_finishes_the_queue_and_the_file_opens_again() {
    let folder = Folder::new();
    let (store, _) = open(&folder);
    let waiting: Vec<_> = (0..500)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.write(move |tx| settings::set(tx, &format!("k{n}"), "v")).await })
        })
        .collect();
    for job in waiting {
        job.await.unwrap().unwrap();
    }
    store.close();
    store.close();
    assert_eq!(store.write(|_| Ok(())).await.unwrap_err().code(), Code::Overloaded);
    let (again, _) = open(&folder);
    assert_eq!(again.read(|db| settings::get(db, "k499")).await.unwrap().as_deref(), Some("v"));
}

#[test]
fn a_file_of_a_newer_version_or_of_something_else_is_refused() {
    let folder = Folder::new();
    let newer = folder.path().join("newer.db");
    rusqlite::Connection::open(&newer).unwrap().pragma_update(None, "user_version", 999).unwrap();
    assert!(Store::open(&newer, Arc::default()).is_err());
    let other = folder.path().join("text.db");
    std::fs::write(&other, "this is not a database, it is only a long enough text to be taken for one".repeat(20))
        .unwrap();
    assert!(Store::open(&other, Arc::default()).is_err());
}

#[tokio::test]
async fn deleting_a_service_takes_everything_with_it() {
    let folder = Folder::new();
    let (store, _) = open(&folder);
    let left = store
        .write(|tx| {
            use mkat::domain::state::Outcome;
            use mkat::domain::{EventType, MonitorType};
            use mkat::engine::{mute, webhook};
            use mkat::store::{events, monitors};
            let settings = monitors::MonitorSettings::timed(60, 60);
            let new = named("s");
            let id = mkat::engine::services::create(tx, &new, &[(MonitorType::Webhook, settings)])?;
            let monitor = monitors::of_service(tx, &id)?.remove(0);
            webhook::receive(tx, &monitor, Outcome::Failure, None)?;
            mute::mute(tx, &id, 5, None)?;
            let kind = EventType::WebhookReceived;
            let event = events::NewEvent { kind, success: true, value: None, out_of_range: false, message: None };
            events::insert(tx, &monitor, &event, tx.now)?;
            mkat::engine::services::delete(tx, &id)?;
            let mut left = Vec::new();
            for table in ["monitors", "alerts", "transitions", "mute_windows", "events", "outbox"] {
                let count: i64 = tx.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
                left.push((table, count));
            }
            Ok(left)
        })
        .await
        .unwrap();
    assert!(left.iter().all(|(_, count)| *count == 0), "{left:?}");
}
