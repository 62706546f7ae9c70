//! Faults that the mock shows on request, for tests and demonstrations; none by default. Must not decide answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use mics_domain::policy::HookOp;
use serde::{Deserialize, Serialize};

/// What one operation does wrong. Applied in this order: delay, status, garbage, deny.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Waits this long before it answers.
    pub delay_ms: u64,
    /// Answers with this HTTP status and no body; 0 = off.
    pub status: u16,
    /// Answers 200 with a body that is no protobuf.
    pub garbage: bool,
    /// Answers "no", with the reason `denied by mock`.
    pub deny: bool,
}

/// The faults of each operation, keyed by its path without the slash (`auth`, `check-message`, ...).
#[derive(Debug, Default)]
pub struct Faults {
    by_op: Mutex<BTreeMap<String, Fault>>,
}

/// A body that parses as none of the hook responses.
pub const GARBAGE: &[u8] = b"\xff\xff not a protobuf";

impl Faults {
    /// Replaces all faults; an empty map ends them. Errs with the first name that is no operation, changing nothing.
    pub fn set(&self, faults: BTreeMap<String, Fault>) -> Result<(), String> {
        let known = |name: &str| HookOp::ALL.iter().any(|op| name_of(*op) == name);
        if let Some(name) = faults.keys().find(|name| !known(name)) {
            return Err(name.clone());
        }
        *self.by_op.lock().unwrap_or_else(PoisonError::into_inner) = faults;
        Ok(())
    }

    /// The operation's fault, all off when none is set.
    pub fn of(&self, op: HookOp) -> Fault {
        let faults = self.by_op.lock().unwrap_or_else(PoisonError::into_inner);
        faults.get(name_of(op)).cloned().unwrap_or_default()
    }
}

fn name_of(op: HookOp) -> &'static str {
    &crate::hooks::path(op)[1..]
}
