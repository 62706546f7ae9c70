//! Tests of the real binary on a real SQLite file.

mod support;

mod health;
mod notify;
