//! The promises of [`PeerLink`]. The far end is a [`Recorder`], which remembers what arrived.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;
use mics_domain::breaker::BreakerState;
use mics_domain::delivery::{Delivery, Kept};
use mics_domain::ports::{LinkError, PeerAnswer, PeerCall, PeerLink};
use mics_domain::report::{HookReport, LimitsReport, NodeReport, NodeState, TenantReport};
use mics_domain::trace::TraceParent;

use crate::ports::PeerNode;

/// A node where a user has as many sessions as the user's name has bytes, except that `nobody` has none; whose buffer is
/// full for the user `full`; and where the same two frames wait for everybody.
#[derive(Default)]
pub struct Recorder {
    deliveries: Mutex<Vec<(Delivery, Vec<Arc<str>>)>>,
    calls: Mutex<Vec<PeerCall>>,
}

impl Recorder {
    /// What was delivered and to whom, in the order it came.
    pub fn deliveries(&self) -> Vec<(Delivery, Vec<Arc<str>>)> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What else was asked, in the order it came.
    pub fn calls(&self) -> Vec<PeerCall> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PeerNode for Recorder {
    fn deliver(&self, delivery: &Delivery, users: &[Arc<str>]) -> Vec<u32> {
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        deliveries.push((delivery.clone(), users.to_vec()));
        users.iter().map(|user| sessions(user)).collect()
    }

    fn answer(&self, call: PeerCall) -> PeerAnswer {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
        match call {
            PeerCall::Place { tenant, .. } if &*tenant == "nobody's" => PeerAnswer::NotServed,
            PeerCall::Place { kept, .. } => PeerAnswer::Placed(kept.iter().map(|kept| &*kept.user != "full").collect()),
            PeerCall::Lease { user, .. } => PeerAnswer::Leased { kept: waiting(&user), held: true },
            PeerCall::Kick { user, .. } => PeerAnswer::Kicked(sessions(&user)),
            PeerCall::Report { tenants } => PeerAnswer::Report(Box::new(report(tenants))),
            _ => PeerAnswer::Done,
        }
    }
}

/// Sessions of a user at the [`Recorder`].
pub fn sessions(user: &str) -> u32 {
    if user == "nobody" { 0 } else { u32::try_from(user.len()).unwrap_or(u32::MAX) }
}

fn kept(user: &str, id: u128, devices: &[&str]) -> Kept {
    Kept {
        user: user.into(),
        id,
        frame: crate::frame::binary(format!("frame {id}").as_bytes()),
        ttl_ms: 300_000,
        devices: devices.iter().map(|device| (*device).into()).collect(),
    }
}

/// What waits for a user at the [`Recorder`].
pub fn waiting(user: &str) -> Vec<Kept> {
    vec![kept(user, 1, &[]), kept(user, u128::MAX, &["phone", "desk"])]
}

/// What the [`Recorder`] tells of itself, each figure another one.
pub fn report(tenants: Vec<Arc<str>>) -> NodeReport {
    let hook = |number: u64| HookReport {
        breaker: [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open][number as usize % 3],
        openings: number,
        in_flight: number + 1,
        calls: number + 2,
        sum_us: number + 3,
        buckets: (0..16).map(|bucket| bucket * number).collect(),
        max_concurrency: number + 5,
        queue_timeout_ms: number + 6,
        failure_threshold: number + 7,
        open_ms: number + 8,
    };
    let limits = LimitsReport {
        tenant_max_connections: 1,
        user_max_connections: 2,
        tenant_max_message_qps: 3,
        heartbeat_timeout_ms: 4,
        offline_ttl_ms: 5,
        group_cache_ttl_ms: 6,
        group_page_size: 7,
        offline_use_hook_pull: true,
        hook_sign_required: false,
    };
    let tenant = |(number, tenant): (usize, Arc<str>)| TenantReport {
        tenant,
        connections: 10,
        users: 11,
        messages_in: 12,
        deliveries: 13,
        rate_limited: 14,
        hook_degraded: 15,
        buffer_users: 16,
        buffer_messages: 17,
        buffer_bytes: u64::MAX,
        events_waiting: 18,
        letters_waiting: 19,
        events_dropped: 20,
        hooks: (0..4).map(hook).collect(),
        limits: (number == 0).then_some(limits),
    };
    NodeReport {
        node: "n2".into(),
        boot: 1_770_000_000_000,
        state: NodeState::Draining,
        version: "1.2.3".into(),
        connections: 21,
        handshakes: 22,
        max_connections: 23,
        tenants_served: 24,
        tenants: tenants.into_iter().enumerate().map(tenant).collect(),
    }
}

/// A delivery whose other fields follow from its number.
pub fn delivery(number: u128) -> Delivery {
    Delivery {
        tenant: "t1".into(),
        id: number << 64 | 7,
        request: Bytes::from(format!("request {number}")),
        shared: false,
        trace: None,
    }
}

pub fn users(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

/// A link with a node at its far end.
pub struct Linked<L> {
    pub link: L,
    pub endpoint: String,
    /// Keeps the far end reachable.
    pub held: Box<dyn std::any::Any>,
}

/// Runs every check, each on what `make` gives for a fresh node. Deadlines must be long enough for a busy machine.
pub async fn run_all<L, F, Fut>(make: F)
where
    L: PeerLink,
    F: Fn(Arc<dyn PeerNode>) -> Fut,
    Fut: Future<Output = Linked<L>>,
{
    let node = Arc::<Recorder>::default();
    a_delivery_arrives_whole(&make(node.clone()).await, &node).await;
    let node = Arc::<Recorder>::default();
    answers_come_per_user_in_the_order_asked(&make(node.clone()).await, &node).await;
    let node = Arc::<Recorder>::default();
    forwards_of_one_caller_arrive_in_the_order_started(&make(node.clone()).await, &node).await;
    let node = Arc::<Recorder>::default();
    every_call_arrives_whole_and_has_its_answer(&make(node.clone()).await, &node).await;
    let node = Arc::<Recorder>::default();
    large_messages_and_many_users_fit(&make(node.clone()).await, &node).await;
    nobody_at_the_endpoint_is_an_error(&make(node).await.link).await;
}

pub async fn a_delivery_arrives_whole<L: PeerLink>(to: &Linked<L>, node: &Recorder) {
    let sent = Delivery {
        tenant: "t.1".into(),
        id: u128::MAX - 1,
        request: Bytes::from_static(b"\x00\xffany bytes"),
        shared: true,
        trace: TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    };
    assert_eq!(to.link.forward(&to.endpoint, &sent, &users(&["张三"])).await, Ok(vec![6]));
    let seen = node.deliveries();
    assert_eq!(seen.len(), 1);
    let (got, to_users) = &seen[0];
    assert_eq!((&got.tenant, got.id, &got.request, got.shared), (&sent.tenant, sent.id, &sent.request, sent.shared));
    assert_eq!(got.trace, sent.trace);
    assert_eq!(to_users, &users(&["张三"]));
}

pub async fn answers_come_per_user_in_the_order_asked<L: PeerLink>(to: &Linked<L>, node: &Recorder) {
    let asked = users(&["bob", "nobody", "carol", "bob"]);
    assert_eq!(to.link.forward(&to.endpoint, &delivery(1), &asked).await, Ok(vec![3, 0, 5, 3]));
    assert_eq!(to.link.forward(&to.endpoint, &delivery(2), &users(&["nobody"])).await, Ok(vec![0]));
    assert_eq!(to.link.forward(&to.endpoint, &delivery(3), &[]).await, Ok(Vec::new()), "nobody asked, nobody reached");
    assert_eq!(node.deliveries()[0].1, asked);
}

pub async fn forwards_of_one_caller_arrive_in_the_order_started<L: PeerLink>(to: &Linked<L>, node: &Recorder) {
    let (callers, each) = (4_u128, 200);
    let bob = &users(&["bob"]);
    // All at once, the callers' forwards interleaved.
    let answers = join_all((0..each * callers).map(|n| async move {
        let delivery = delivery(n);
        to.link.forward(&to.endpoint, &delivery, bob).await
    }))
    .await;
    assert!(answers.iter().all(|answer| *answer == Ok(vec![3])), "{:?}", answers.iter().find(|answer| answer.is_err()));
    let seen: Vec<u128> = node.deliveries().iter().map(|(delivery, _)| delivery.id >> 64).collect();
    assert_eq!(seen.len(), (each * callers) as usize, "nothing is lost or doubled");
    for caller in 0..callers {
        let of_caller: Vec<u128> = seen.iter().copied().filter(|n| n % callers == caller).collect();
        assert!(of_caller.is_sorted(), "caller {caller}: {of_caller:?}");
    }
}

pub async fn every_call_arrives_whole_and_has_its_answer<L: PeerLink>(to: &Linked<L>, node: &Recorder) {
    let (tenant, user): (Arc<str>, Arc<str>) = ("t1".into(), "bob".into());
    let frames = vec![kept("bob", 5, &[]), kept("full", 6, &["phone"]), kept("carol", 7, &["a", "b"])];
    let (device, lease): (Arc<str>, Arc<str>) = ("phone".into(), user.clone());
    let table = [
        (
            PeerCall::Place { tenant: tenant.clone(), kept: frames, view: u64::MAX },
            PeerAnswer::Placed(vec![true, false, true]),
        ),
        (PeerCall::Place { tenant: tenant.clone(), kept: Vec::new(), view: 0 }, PeerAnswer::Placed(Vec::new())),
        (
            PeerCall::Place { tenant: "nobody's".into(), kept: vec![kept("bob", 5, &[])], view: 0 },
            PeerAnswer::NotServed,
        ),
        (
            PeerCall::Lease {
                tenant: tenant.clone(),
                user: lease,
                device: device.clone(),
                holder: 1 << 100,
                hold_ms: 5_000,
            },
            PeerAnswer::Leased { kept: waiting("bob"), held: true },
        ),
        (
            PeerCall::Settle {
                tenant: tenant.clone(),
                user: user.clone(),
                device: "phone".into(),
                taken: vec![1, 2],
                released: vec![u128::MAX],
            },
            PeerAnswer::Done,
        ),
        (PeerCall::Nudge { tenant: tenant.clone(), users: users(&["bob", "carol"]) }, PeerAnswer::Done),
        (
            PeerCall::Kick { tenant: tenant.clone(), user: user.clone(), device: device.clone() },
            PeerAnswer::Kicked(sessions("bob")),
        ),
        (PeerCall::Kick { tenant: tenant.clone(), user: "nobody".into(), device: "".into() }, PeerAnswer::Kicked(0)),
        (PeerCall::Report { tenants: Vec::new() }, PeerAnswer::Report(Box::new(report(Vec::new())))),
        (
            PeerCall::Report { tenants: users(&["t1", "t2"]) },
            PeerAnswer::Report(Box::new(report(users(&["t1", "t2"])))),
        ),
        (PeerCall::Replace { tenant, user, device, connection: 1 << 127 | 3 }, PeerAnswer::Done),
    ];
    for (call, answer) in &table {
        assert_eq!(to.link.call(&to.endpoint, call.clone()).await, Ok(answer.clone()), "{call:?}");
    }
    let asked: Vec<PeerCall> = table.into_iter().map(|(call, _)| call).collect();
    assert_eq!(node.calls(), asked);
}

pub async fn large_messages_and_many_users_fit<L: PeerLink>(to: &Linked<L>, node: &Recorder) {
    let request = Bytes::from(vec![7; 1 << 20]);
    let large = Delivery { tenant: "t1".into(), id: 1, request: request.clone(), shared: false, trace: None };
    let names: Vec<Arc<str>> = (0..10_000).map(|n| format!("user-{n:05}").into()).collect();
    assert_eq!(to.link.forward(&to.endpoint, &large, &names).await, Ok(vec![10; 10_000]));
    assert!(node.deliveries()[0].0.request == request);
    let frame = crate::frame::binary(&request);
    let kept = vec![Kept { user: "bob".into(), id: 1, frame, ttl_ms: 1, devices: Vec::new() }; 3];
    let place = PeerCall::Place { tenant: "t1".into(), kept, view: 1 };
    assert_eq!(to.link.call(&to.endpoint, place).await, Ok(PeerAnswer::Placed(vec![true; 3])));
}

pub async fn nobody_at_the_endpoint_is_an_error(link: &impl PeerLink) {
    // Nothing listens on the port for TCP multiplexing.
    let nowhere = "http://127.0.0.1:1";
    let answer = link.forward(nowhere, &delivery(1), &users(&["bob"])).await;
    assert!(matches!(answer, Err(LinkError::Unavailable(_))), "{answer:?}");
    let nudge = PeerCall::Nudge { tenant: "t1".into(), users: users(&["bob"]) };
    let answer = link.call(nowhere, nudge).await;
    assert!(matches!(answer, Err(LinkError::Unavailable(_))), "{answer:?}");
}
