//! Token endpoints: webhook, heartbeat, metric.

use super::Endpoint;

pub fn endpoints() -> Vec<Endpoint> {
    Vec::new()
}
