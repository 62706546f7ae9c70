//! Tests of the real binary on a real SQLite file.

mod support;

mod alertmanager;
mod auth;
mod engine;
mod events;
mod health;
mod importers;
mod metrics;
mod notify;
mod page;
mod peers;
mod services;
mod start;
mod store;
mod stream;
