//! Tests of the real binary on a real SQLite file.

mod support;

mod auth;
mod health;
mod notify;
mod services;
