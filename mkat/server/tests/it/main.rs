//! Tests of the real binary on a real SQLite file.

mod support;

mod auth;
mod engine;
mod health;
mod importers;
mod metrics;
mod notify;
mod page;
mod services;
mod start;
mod store;
