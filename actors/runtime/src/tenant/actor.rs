//! The shell of a tenant's supervisor.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use mics_domain::breaker::BreakerState;
use mics_domain::codes::Close;
use mics_domain::damping::Damping;
use mics_domain::policy::HookOp;
use serde_json::json;

use super::{Guards, Tenant, TenantMsg};
use crate::link::Linked;
use crate::mailbox::{In, Mailbox, MailboxStats};
use crate::node::{Node, clock_ms};

const CAPACITY: usize = 4096;
const TICK: Duration = Duration::from_secs(1);
/// Without sessions, buffered messages or requests for this long, the supervisor stops.
const IDLE_TICKS: u32 = 600;
const DAMPED_DEVICES: usize = 10_000;

struct TenantSupervisor {
    node: Arc<Node>,
    tenant: Arc<Tenant>,
    guards: Arc<Guards>,
    stats: Arc<MailboxStats>,
    damping: Damping,
    admitted: u64,
    ended: u64,
    crashed: u64,
    idle_ticks: u32,
    _linked: Box<dyn std::any::Any>,
}

impl Actor for TenantSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(CAPACITY);
        ctx.run_interval(TICK, Self::tick);
    }
}

impl TenantSupervisor {
    fn tick(&mut self, ctx: &mut Context<Self>) {
        let records = {
            let mut dedup = self.guards.dedup.lock().unwrap_or_else(PoisonError::into_inner);
            dedup.expire(clock_ms());
            dedup.len()
        };
        let metrics = &self.node.metrics;
        metrics.dedup_records.with_label_values(&[&self.tenant.id]).set(records as i64);
        if let Some(config) = self.guards.latest() {
            for (limit, value) in [
                ("tenant_max_connections", config.tenant_max_connections),
                ("user_max_connections", config.user_max_connections),
                ("tenant_max_message_qps", config.tenant_max_message_qps),
            ] {
                metrics.tenant_limit.with_label_values(&[&*self.tenant.id, limit]).set(i64::from(value));
            }
        }
        for op in HookOp::ALL {
            let state = match self.guards.gate(op).state() {
                BreakerState::Closed => 0,
                BreakerState::HalfOpen => 1,
                BreakerState::Open => 2,
            };
            metrics.hook_breaker_state.with_label_values(&[&*self.tenant.id, op.label()]).set(state);
        }
        let idle = records == 0 && self.tenant.sessions.users() == 0 && self.tenant.offline.is_empty();
        self.idle_ticks = if idle { self.idle_ticks + 1 } else { 0 };
        if self.idle_ticks >= IDLE_TICKS {
            ctx.stop();
        }
    }

    fn admit(&mut self, user: &str, device: &str, replaces: bool) -> Result<(), Close> {
        self.idle_ticks = 0;
        if replaces {
            // The separator can't occur in either part.
            let key = format!("{user}\u{0}{device}");
            self.damping.replaced(&key, clock_ms()).map_err(|_| Close::DuplicateDevice)?;
        }
        self.admitted += 1;
        Ok(())
    }

    fn observe(&self) -> serde_json::Value {
        let hooks = HookOp::ALL.map(|op| {
            let gate = self.guards.gate(op);
            json!({
                "op": op.label(), "breaker": format!("{:?}", gate.state()), "openings": gate.openings(),
                "in_flight": gate.in_flight(),
            })
        });
        json!({
            "users": self.tenant.sessions.users(), "sessions": self.tenant.sessions.count(),
            "admitted": self.admitted, "ended": self.ended, "crashed": self.crashed,
            "dedup": self.guards.dedup.lock().unwrap_or_else(PoisonError::into_inner).len(), "hooks": hooks,
        })
    }
}

impl Handler<In<TenantMsg>> for TenantSupervisor {
    type Result = ();

    fn handle(&mut self, message: In<TenantMsg>, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.handle(message, |message| match message {
            TenantMsg::Admit { user, device, replaces, reply } => {
                let _ = reply.send(self.admit(&user, &device, replaces));
            }
            TenantMsg::Ended { panicked } => {
                self.ended += 1;
                self.crashed += u64::from(panicked);
            }
            TenantMsg::Observe(reply) => {
                let _ = reply.send(self.observe());
            }
            TenantMsg::Stop => ctx.stop(),
            TenantMsg::Crash => panic!("tenant supervisor crashed on request"),
        });
    }
}

/// Starts a supervisor on the control thread.
pub(super) fn start(
    node: &Arc<Node>,
    tenant: Arc<Tenant>,
    incarnation: u64,
    guards: Arc<Guards>,
) -> Mailbox<TenantMsg> {
    let stats = node.metrics.mailbox("tenant_supervisor", &tenant.id, CAPACITY);
    let (actor_node, actor_stats, watched) = (node.clone(), stats.clone(), tenant.id.to_string());
    let address = TenantSupervisor::start_in_arbiter(&node.control(), move |_| {
        let (ended, end_node, end_stats) = (tenant.clone(), actor_node.clone(), actor_stats.clone());
        let linked = Linked::new(move |panicked| {
            ended.supervisor_ended(incarnation);
            if panicked {
                end_stats.restarted();
                end_node.metrics.actor_restarts_total.with_label_values(&["tenant_supervisor", &*ended.id]).inc();
                tracing::error!(tenant = %ended.id, "actor_panicked kind=tenant_supervisor");
            }
        });
        TenantSupervisor {
            node: actor_node,
            tenant,
            guards,
            stats: actor_stats,
            damping: Damping::new(DAMPED_DEVICES),
            admitted: 0,
            ended: 0,
            crashed: 0,
            idle_ticks: 0,
            _linked: Box::new(linked),
        }
    });
    node.attach("tenant_supervisor", &watched, Mailbox::new(address.recipient(), stats), TenantMsg::Observe)
}
