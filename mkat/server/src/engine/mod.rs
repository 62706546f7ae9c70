//! Use cases that change state: each function is one transaction's worth of work, run inside `Store::write`.

pub mod alertmanager;
pub mod health_check;
pub mod heartbeat;
pub mod metric;
pub mod mute;
pub mod pause;
pub mod peers;
pub mod services;
pub mod transition;
pub mod webhook;
