//! A session's footprint on the node. Dropping it removes every trace, once, after a close, a crash or a panic alike.

use std::rc::Rc;

use mics_domain::event::EventType;

use super::Live;
use crate::hub::Hub;
use crate::keep;
use crate::tenant::TenantMsg;

pub struct Presence {
    pub live: Rc<Live>,
    pub hub: Rc<Hub>,
}

impl Presence {
    /// Books a session that was let in.
    pub fn new(live: Rc<Live>, hub: Rc<Hub>) -> Self {
        let (metrics, tenant, node) = (&live.node.metrics, &*live.tenant.id, &*live.node.id);
        metrics.ws_connected_total.with_label_values(&[tenant, node]).inc();
        metrics.ws_connections_events_total.with_label_values(&[tenant, node, "inc"]).inc();
        metrics.ws_tenant_connections.with_label_values(&[tenant, node]).inc();
        Presence { live, hub }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let live = &self.live;
        live.tenant.sessions.remove(&live.user, live.connection);
        keep::put_back(live, live.outbox.finish());
        self.hub.remove(live.outbox.slot, live.connection);
        live.node.router().withdraw(live.lease());
        let _ = live.node.emit(live.connection_event(EventType::ConnectOffline));
        let _ = live.tenant.supervisor().send(TenantMsg::Ended { panicked: std::thread::panicking() });
        let (metrics, tenant, node) = (&live.node.metrics, &*live.tenant.id, &*live.node.id);
        metrics.ws_disconnected_total.with_label_values(&[tenant, node]).inc();
        metrics.ws_connections_events_total.with_label_values(&[tenant, node, "dec"]).inc();
        metrics.ws_tenant_connections.with_label_values(&[tenant, node]).dec();
        let code = live.closed_code.get().unwrap_or(1006);
        metrics.ws_closed_total.with_label_values(&[tenant, &code.to_string()]).inc();
        tracing::info!(
            tenant = %tenant, node = %node, trace_id = %live.trace_id, user = %live.user, device = %live.device, code,
            "ws_disconnected"
        );
    }
}
