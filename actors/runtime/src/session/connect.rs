//! From an upgraded socket to a live session: authenticate, admit, register, announce. Every refusal is a close code.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use mics_domain::codes::Close;
use mics_domain::event::EventType;
use mics_domain::ids;
use mics_domain::policy::{HookOp, auth_reason};
use mics_domain::ports::{AuthAnswer, ConnectionLimits, Registered, Route};
use mics_domain::tenant::TenantConfig;
use mics_domain::trace::{SpanKind, Traced};

use super::presence::Presence;
use super::{Hello, Live, Pipeline, SessionMsg};
use crate::backlog;
use crate::encode;
use crate::hub::Hub;
use crate::keep;
use crate::mailbox::Mailbox;
use crate::node::{Node, clock_ms, fresh_id};
use crate::outbox::Outbox;
use crate::router;
use crate::sender::Sender;
use crate::tenant::{Outrun, SessionRef, Tenant};
use crate::wire::{Incoming, Wire};

/// Lets a client in or says why not. The result's drop undoes everything.
pub async fn connect(
    node: Arc<Node>,
    hello: Hello,
    wire: Rc<dyn Wire>,
    mailbox: Mailbox<SessionMsg>,
) -> Result<Presence, Close> {
    let tenant = node.tenants().get(&hello.tenant).ok_or(Close::InvalidTenant)?;
    let _turn = tokio::select! {
        biased;
        // Those who went while they waited must not use up turns and /auth of those who come.
        () = poll_fn(|cx| wire.poll_leaving(cx)) => return Err(answer_to_leaving(&*wire)),
        turn = tenant.enter_in_turn(&node) => turn?,
    };
    // The wait may have been long.
    if node.draining() {
        return Err(Close::Draining);
    }
    if !node.tenants().serves(&tenant) {
        return Err(Close::InvalidTenant);
    }
    let trace_id = format!("{:032x}", fresh_id());
    ids::check_id(&hello.device).map_err(|_| Close::AuthRefused("invalid deviceId".into()))?;
    let mut traced = Traced::root(&*node.tracer, "connect", SpanKind::Server);
    traced.set("mics.tenant", &tenant.id);
    traced.set("mics.trace_id", &trace_id);
    let (user, config) = authenticate(&node, &tenant, &hello, &trace_id, &mut traced).await?;
    let device: Arc<str> = hello.device.as_str().into();
    let replaces = tenant.sessions.device_online(&user, &device);
    tenant.admit(&user, &device, replaces).await?;

    let route =
        Route { device, at: node.members.me().clone(), connection: fresh_id(), online_at_ms: node.cluster_ms() };
    let replaced = register(&node, &tenant, &user, &route, &config).await?;
    let presence = insert(node, tenant, user, &route, config, trace_id, wire, mailbox);
    announce(&presence.live);
    if let Some(old) = replaced.filter(|_| presence.live.outbox.is_open()) {
        let live = presence.live.clone();
        actix_rt::spawn(async move { router::replace(&live.node, &live.tenant.id, &live.user, &old).await });
    }
    if presence.live.node.draining() {
        // The node began to leave while this client came in: those who were in have been asked to go already.
        presence.live.close(&Close::Draining);
    } else if !presence.live.node.tenants().serves(&presence.live.tenant) {
        // Likewise with its tenant.
        presence.live.close(&Close::InvalidTenant);
    } else {
        actix_rt::spawn(backlog::welcome(presence.live.clone()));
    }
    Ok(presence)
}

/// Of its close frame, when that is what came and it is here completely.
fn answer_to_leaving(wire: &dyn Wire) -> Close {
    match poll_fn(|cx| wire.poll_incoming(cx)).now_or_never() {
        Some(Some(Incoming::Close(code))) => Close::Echo(code),
        _ => Close::Echo(None),
    }
}

async fn authenticate(
    node: &Arc<Node>,
    tenant: &Arc<Tenant>,
    hello: &Hello,
    trace_id: &str,
    traced: &mut Traced,
) -> Result<(Arc<str>, Arc<TenantConfig>), Close> {
    let guards = tenant.guards();
    let (mut target, policy) = tenant.auth_target(&guards, node, trace_id);
    target.trace = traced.place();
    let call = node.hooks.auth(&target, &hello.token, &hello.device);
    let answer = guards.gate(HookOp::Auth).call(&node.metrics, &policy, &target, call).await;
    match answer {
        Err(failure) => {
            traced.fail(failure.label());
            Err(Close::AuthRefused(auth_reason(&failure).into()))
        }
        Ok(AuthAnswer::Refused(reason)) => Err(Close::AuthRefused(reason)),
        Ok(AuthAnswer::Accepted(identity)) => {
            ids::check_id(&identity.user).map_err(|_| Close::AuthRefused("invalid user id".into()))?;
            Ok((identity.user.as_str().into(), guards.learn(identity.config)))
        }
    }
}

/// Returns the connection of the same device that this one replaces, if there is one.
async fn register(
    node: &Arc<Node>,
    tenant: &Arc<Tenant>,
    user: &str,
    route: &Route,
    config: &TenantConfig,
) -> Result<Option<Box<Route>>, Close> {
    let limits = ConnectionLimits {
        tenant: config.tenant_max_connections,
        user: config.user_max_connections,
        lease_ms: config.lease_ms(),
        again: false,
    };
    let (kind, threshold, current) = match node.directory.register(&tenant.id, user, route, limits).await {
        Ok(Registered::New | Registered::Newer) => return Ok(None),
        Ok(Registered::Replaced(old)) => return Ok(Some(old)),
        Ok(Registered::TenantFull { current }) => ("tenant_max_connections", limits.tenant, current),
        Ok(Registered::UserFull { current }) => ("user_max_connections", limits.user, current),
        // Without the directory the node goes on with what it knows: its own sessions.
        Err(_) => match over_own_limits(tenant, user, &route.device, limits) {
            None => return Ok(None),
            Some(over) => over,
        },
    };
    node.metrics.rate_limited_total.with_label_values(&[&*tenant.id, "connection_limit"]).inc();
    node.limit_reached(&tenant.id, kind, threshold, current);
    Err(Close::RateLimited)
}

/// The limit that one more session would pass on this node alone.
fn over_own_limits(
    tenant: &Tenant,
    user: &str,
    device: &str,
    limits: ConnectionLimits,
) -> Option<(&'static str, u32, u32)> {
    if tenant.sessions.device_online(user, device) {
        return None;
    }
    let over =
        |kind, max: u32, current: usize| (max > 0 && current >= max as usize).then_some((kind, max, current as u32));
    over("user_max_connections", limits.user, tenant.sessions.of(user).len())
        .or_else(|| over("tenant_max_connections", limits.tenant, tenant.sessions.count()))
}

/// Makes the session visible. No await in here: from the registration on it is either fully there or not at all.
#[expect(clippy::too_many_arguments)]
fn insert(
    node: Arc<Node>,
    tenant: Arc<Tenant>,
    user: Arc<str>,
    route: &Route,
    config: Arc<TenantConfig>,
    trace_id: String,
    wire: Rc<dyn Wire>,
    mailbox: Mailbox<SessionMsg>,
) -> Presence {
    let (device, connection) = (route.device.clone(), route.connection);
    let lease_ms = config.lease_ms();
    let hub = Hub::current(&node);
    let ids = (tenant.id.clone(), user.clone(), device.clone());
    let limit = node.settings.outbox_max_bytes;
    let received_bytes = node.metrics.ws_received_bytes_total.with_label_values(&[&tenant.id]);
    let sent_bytes = node.metrics.ws_sent_bytes_total.with_label_values(&[&tenant.id]);
    let outbox = Outbox::new(ids, connection, hub.next_slot(), hub.handle.clone(), limit, sent_bytes);
    let pipeline = Pipeline::new(node.settings.pipeline_window);
    let live = Rc::new(Live {
        sender: Rc::new(Sender { node, tenant, user, device, connection, trace_id, config }),
        outbox: outbox.clone(),
        pipeline,
        received_bytes,
        fetching: Cell::new(true),
        looking_again: Cell::new(false),
        looks: Cell::new(0),
        last_activity_ms: Cell::new(clock_ms()),
        closed_code: Cell::new(None),
    });
    hub.add(wire, live.clone(), mailbox.clone());
    let presence = Presence::new(live.clone(), hub);
    // First in the queue, before anybody can find the session.
    outbox.control(encode::connect_ack(live.welcome()));
    let online_at_ms = route.online_at_ms;
    match live.tenant.sessions.insert(SessionRef { outbox: outbox.clone(), mailbox, lease_ms, online_at_ms }) {
        Ok(None) => {}
        Ok(Some(old)) => {
            // What the old connection has not been sent is the first thing that the new one fetches.
            keep::put_back(&live, old.outbox.begin_close(&Close::Replaced, false));
            old.close(Close::Replaced);
        }
        Err(Outrun) => live.close(&Close::Replaced),
    }
    presence
}

fn announce(live: &Live) {
    let _ = live.node.emit(live.connection_event(EventType::ConnectOnline));
    tracing::info!(
        tenant = %live.tenant.id, node = %live.node.id, trace_id = %live.trace_id, user = %live.user,
        device = %live.device, "ws_connected"
    );
}
