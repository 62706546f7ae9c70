//! A tenant's back end to try the gateway with: the mock tenant's rules, served over HTTP (`mics hookmock`) or called
//! directly (`mics dev`). Must not know the gateway.

pub mod embedded;
pub mod faults;
pub mod rules;
pub mod server;

pub use embedded::EmbeddedHooks;
pub use rules::{MockPolicy, MockSettings, MockTenant};
pub use server::run;
