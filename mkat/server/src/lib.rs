//! mkat, the watchman: services report in (webhook, heartbeat, metric), people and peers are told when they stop.
//!
//! Layers, each knowing only those before it: `domain` (rules, no I/O), `store` (SQLite), `engine` (one transaction per
//! use case), `notify` (one file per channel), `workers` (what runs by itself), `api` (HTTP).

pub mod api;
pub mod app;
pub mod config;
pub mod domain;
pub mod engine;
pub mod error;
pub mod feed;
pub mod http_client;
pub mod liveness;
pub mod notify;
pub mod run;
pub mod signals;
pub mod store;
pub mod workers;
