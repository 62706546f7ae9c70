//! The mock tenant as a `Hooks` port in this process, for `mics dev` and cluster tests: same rules, same signatures,
//! same faults as the server, no socket. Must not open one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mics_domain::policy::{HookFailure, HookOp};
use mics_domain::ports::HookTarget;

use super::faults::{Faults, GARBAGE};
use super::rules::MockTenant;
use crate::hooks::client::status_failure;
use crate::hooks::{HOOK_BUDGET, HookPort, Transport};

/// Hands requests to the mock tenant, whatever their base URL.
#[derive(Debug, Default)]
pub struct InProcess {
    mock: MockTenant,
    faults: Arc<Faults>,
}

/// The `Hooks` port onto a mock tenant in this process.
pub type EmbeddedHooks = HookPort<InProcess>;

impl EmbeddedHooks {
    /// `faults` may be shared, to switch them while the mock answers.
    pub fn new(mock: MockTenant, faults: Arc<Faults>) -> Self {
        HookPort::over(InProcess { mock, faults }, HOOK_BUDGET)
    }
}

impl Transport for InProcess {
    async fn exchange(&self, op: HookOp, _: &HookTarget, body: Vec<u8>) -> Result<Bytes, HookFailure> {
        let fault = self.faults.of(op);
        if fault.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        }
        if fault.status != 0 {
            return status_failure(fault.status).map(|()| Bytes::new());
        }
        if fault.garbage {
            return Ok(Bytes::from_static(GARBAGE));
        }
        Ok(self.mock.answer(op, &body, fault.deny).into())
    }
}
