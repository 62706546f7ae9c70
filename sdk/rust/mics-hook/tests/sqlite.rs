//! The example store: what is kept, what a device is given, and what is given again.
#![cfg(feature = "sqlite")]

use std::time::Duration;

use mics_hook::mics_proto::prost::Message;
use mics_hook::sqlite::SqliteStore;
use mics_hook::*;

fn event(user: &str, id: &str) -> MqEvent {
    let message = MessageRequest { user_id: "sender".into(), msg_id: id.into(), ..Default::default() };
    MqEvent {
        tenant_id: "t1".into(),
        user_id: "sender".into(),
        to_user_id: user.into(),
        msg_id: id.into(),
        timestamp: 1,
        event_data: message.encode_to_vec().into(),
        ..Default::default()
    }
}

async fn page(store: &SqliteStore, device: &str, cursor: &str, now_ms: i64) -> (Vec<String>, String) {
    let meta = Some(HookMeta { tenant_id: "t1".into(), ..Default::default() });
    let (user_id, device_id, cursor) = ("u1".into(), device.into(), cursor.into());
    let request = GetOfflineMessagesRequest { meta, user_id, device_id, cursor, max_messages: 2 };
    let answer = store.page(&request, now_ms).await.unwrap();
    assert!(answer.ok && answer.has_more != answer.next_cursor.is_empty());
    (answer.messages.into_iter().map(|m| m.msg_id).collect(), answer.next_cursor)
}

async fn three(store: &SqliteStore) {
    for id in ["a", "b", "c"] {
        assert!(store.keep(&event("u1", id)).await.unwrap());
        assert!(!store.keep(&event("u1", id)).await.unwrap(), "the same event is kept once");
    }
    assert!(store.keep(&event("u2", "a")).await.unwrap(), "another recipient's");
}

#[tokio::test]
async fn pages_come_oldest_first_and_again_until_the_time_of_repetition_has_passed() {
    let store = SqliteStore::in_memory().unwrap().with_repeat(Duration::from_millis(1000));
    three(&store).await;
    let (first, cursor) = page(&store, "d1", "", 5000).await;
    assert_eq!(first, ["a", "b"]);
    assert_eq!(page(&store, "d1", &cursor, 5010).await, (vec!["c".to_owned()], String::new()));
    assert_eq!(page(&store, "d1", "", 5500).await.0, ["a", "b"], "the connection may have broken");
    assert_eq!(page(&store, "d1", "", 6600).await.0, [""; 0]);
    assert_eq!(page(&store, "d2", "", 6600).await.0, ["a", "b"], "each device for itself");
    store.keep(&event("u1", "d")).await.unwrap();
    assert_eq!(page(&store, "d1", "", 6700).await.0, ["d"]);
}

#[tokio::test]
async fn a_file_keeps_what_it_has_and_old_messages_can_be_forgotten() {
    let path = std::env::temp_dir().join(format!("mics-hook-{}.sqlite", std::process::id()));
    let _ = std::fs::remove_file(&path);
    three(&SqliteStore::open(&path).unwrap()).await;
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(page(&store, "d1", "", 5000).await.0, ["a", "b"]);
    assert_eq!((store.forget(1).await.unwrap(), store.forget(2).await.unwrap()), (0, 4));
    assert_eq!(page(&store, "d9", "", 5000).await.0, [""; 0]);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
}
