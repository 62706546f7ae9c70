//! The live stream (server-sent events).

use super::Endpoint;

pub fn endpoints() -> Vec<Endpoint> {
    Vec::new()
}
