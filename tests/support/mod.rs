//! What the end-to-end tests stand on: a node behind a real socket, tenants whose answers a test chooses, and a client
//! that controls every byte. Must not assert anything about the gateway beyond a successful handshake.

pub mod book;
pub mod client;
pub mod gateway;
pub mod tls;

use std::time::Duration;

pub use book::{Book, Check, Hold, Listing};
pub use client::{Client, Frame, hex, http_get, unhex};
pub use gateway::{Cluster, Gateway, Setup};

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition; panics with `what` when it does not come true.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes of a shared wire vector.
pub fn vector(name: &str) -> Vec<u8> {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../proto/vectors/frames.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let found = vectors.iter().find(|vector| vector["name"] == name).unwrap_or_else(|| panic!("no vector {name}"));
    unhex(found["hex"].as_str().unwrap())
}
