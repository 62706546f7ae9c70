//! The way of a message, in reading order: admit, check beside locate, deliver, event, ack.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use futures_util::future::{Either, MaybeDone, maybe_done, select};
use mics_domain::codes::Refusal;
use mics_domain::dedup::{Claim, Key, RESEND_MS, fingerprint};
use mics_domain::event::EventType;
use mics_domain::message::{Ack, Kind, Message};
use mics_domain::policy::{self, HookOp, check_verdict};
use mics_domain::ports::Route;
use mics_domain::rate::RateExceeded;
use mics_domain::trace::{SpanKind, TraceParent, Traced};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::encode;
use crate::fanout::{self, Outcome};
use crate::node::clock_ms;
use crate::roster::Roster;
use crate::router::Freshness;
use crate::sender::Sender;
use crate::session::Turn;
use crate::tenant::{Guards, Question, Unanswered};

/// Carries one message from its sender's frame to its recipients, and returns its ack. Messages of one session run beside
/// each other up to their turn; from there on in the order received.
pub async fn carry(from: &Rc<Sender>, message: Message, turn: &mut Turn, trace: Option<TraceParent>) -> Ack {
    let started = Instant::now();
    let guards = from.tenant.guards();
    let claimed = match admit(from, &guards, &message).await {
        Admitted::Yes(claimed) => claimed,
        Admitted::Answered(ack) => return ack,
        Admitted::Joined(first) => return joined(first, message).await,
    };
    let message = Arc::new(message);

    let mut located = pin!(maybe_done(locate(from, &guards, &message, trace)));
    let verdict = beside(check(from, &guards, &message, trace), located.as_mut()).await;
    if let Verdict::Denied(reason) = verdict {
        return claimed.settle(Ack::failed(&message.msg_id, reason));
    }
    located.as_mut().await;
    let located = located.as_mut().take_output().unwrap_or(Located::Nobody(Refusal::Internal.reason()));

    turn.wait().await;
    let request = encode::request_bytes(&message);
    let outcome = fanout::deliver(from, &message, &request, located, trace).await;
    from.node
        .metrics
        .local_delivery_ms
        .with_label_values(&[&from.tenant.id])
        .observe(started.elapsed().as_secs_f64() * 1e3);
    if outcome.attempted {
        let kind = if message.kind == Kind::Group { EventType::GroupChatMsg } else { EventType::SingleChatMsg };
        let _ = from.node.emit(from.message_event(kind, &message, &message.to_user, request, trace));
    }
    let ack = answer(&message, outcome);
    if ack.sent {
        remember(from, &claimed).await;
    }
    claimed.settle(ack)
}

fn answer(message: &Message, outcome: Outcome) -> Ack {
    let Outcome { refused, cut, notified, buffered, skipped, .. } = outcome;
    let ack = match (refused, cut) {
        (Some(reason), _) => Ack::failed(&message.msg_id, reason),
        (None, Some(reason)) => Ack { reason: reason.into(), cut_short: true, ..Ack::sent(&message.msg_id) },
        (None, None) => Ack::sent(&message.msg_id),
    };
    match message.kind {
        Kind::Group => Ack { notified, buffered, skipped, ..ack },
        _ => ack,
    }
}

enum Admitted {
    Yes(Claimed),
    Answered(Ack),
    /// A repetition of a message that is under way: it gets the same answer.
    Joined(oneshot::Receiver<Ack>),
}

async fn joined(first: oneshot::Receiver<Ack>, message: Message) -> Ack {
    match first.await {
        Ok(ack) => ack,
        // The first attempt was dropped without an outcome.
        Err(_) => Ack::failed(message.msg_id, Refusal::Internal.reason()),
    }
}

/// The order of checks before the hook: form, repetition, rate.
async fn admit(from: &Sender, guards: &Arc<Guards>, message: &Message) -> Admitted {
    let (metrics, tenant) = (&from.node.metrics, &*from.tenant.id);
    if let Err(refusal) = message.validate(from.node.settings.max_message_bytes) {
        metrics.messages_rejected_total.with_label_values(&[tenant, refusal.reason()]).inc();
        return Admitted::Answered(Ack::failed(&message.msg_id, refusal.reason()));
    }
    metrics.messages_in_total.with_label_values(&[tenant, message.kind.label()]).inc();

    let key = Key::of(&message.user, &message.device, &message.msg_id);
    let kind = i32::from(message.kind == Kind::Group);
    let print = fingerprint(kind, &message.to_user, &message.group, &message.body);
    let tracked = match claim(from, guards, key, print) {
        Claimable::Fresh { tracked } => tracked,
        Claimable::Duplicate => return Admitted::Answered(Ack::duplicate(&message.msg_id)),
        Claimable::Joined(first) => return Admitted::Joined(first),
    };
    let claimed = Claimed { guards: guards.clone(), key, print, open: tracked };
    if from.node.settings.dedup_shared && was_sent_elsewhere(from, key, print).await {
        metrics.dedup_hits_total.with_label_values(&[tenant]).inc();
        return Admitted::Answered(claimed.settle(Ack::duplicate(&message.msg_id)));
    }
    match rate(from, guards).await {
        Ok(()) => Admitted::Yes(claimed),
        Err(refusal) => Admitted::Answered(claimed.settle(Ack::failed(&message.msg_id, refusal.reason()))),
    }
}

/// A resend after a reconnect to another node. A directory that can't be asked knows of none.
async fn was_sent_elsewhere(from: &Sender, key: Key, print: u64) -> bool {
    let known = from.node.directory.recall(&from.tenant.id, key.as_u128()).await;
    known.is_ok_and(|known| known == Some(key.seal(print)))
}

/// Where nodes share what was sent, they must know before the client does.
async fn remember(from: &Sender, claimed: &Claimed) {
    if from.node.settings.dedup_shared {
        let (key, seal) = (claimed.key.as_u128(), claimed.key.seal(claimed.print));
        let _ = from.node.directory.remember(&from.tenant.id, key, seal, RESEND_MS).await;
    }
}

enum Claimable {
    Fresh { tracked: bool },
    Duplicate,
    Joined(oneshot::Receiver<Ack>),
}

fn claim(from: &Sender, guards: &Guards, key: Key, print: u64) -> Claimable {
    let mut dedup = guards.dedup.lock().unwrap_or_else(PoisonError::into_inner);
    let repeated = match dedup.claim(key, print, from.connection, clock_ms()) {
        Claim::Fresh => return Claimable::Fresh { tracked: true },
        Claim::FreshUntracked => return Claimable::Fresh { tracked: false },
        Claim::Duplicate => Claimable::Duplicate,
        Claim::InProgress => {
            let (waiter, first) = oneshot::channel();
            dedup.join(key, waiter);
            Claimable::Joined(first)
        }
    };
    from.node.metrics.dedup_hits_total.with_label_values(&[&from.tenant.id]).inc();
    repeated
}

/// The tenant's messages per second, over all nodes; this node's own while the directory is away.
async fn rate(from: &Sender, guards: &Guards) -> Result<(), Refusal> {
    let (node, tenant, max) = (&from.node, &from.tenant.id, from.config.tenant_max_message_qps);
    if max == 0 {
        return Ok(());
    }
    let second = (node.cluster_ms() / 1000) as u64;
    let admitted = match node.directory.standalone() {
        true => own_rate(guards, second, max),
        false => shared_rate(from, guards, second, max).await,
    };
    admitted.map_err(|exceeded| {
        node.metrics.rate_limited_total.with_label_values(&[&**tenant, "message_qps"]).inc();
        node.limit_reached(tenant, "message_qps", exceeded.max, exceeded.current);
        Refusal::TenantQpsLimited
    })
}

fn own_rate(guards: &Guards, second: u64, max: u32) -> Result<(), RateExceeded> {
    guards.qps.lock().unwrap_or_else(PoisonError::into_inner).admit(second, max)
}

async fn shared_rate(from: &Sender, guards: &Guards, second: u64, max: u32) -> Result<(), RateExceeded> {
    let tenant = &from.tenant.id;
    let ask = |question: Question| {
        let (node, tenant) = (from.node.clone(), tenant.clone());
        actix_rt::spawn(async move {
            if let Ok(granted) = node.directory.take_budget(&tenant, question.want(), max).await {
                question.answer(granted);
            }
        });
    };
    match guards.shared_qps.spend(second, max, ask).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(RateExceeded { current: max, max }),
        Err(Unanswered) => {
            from.node.metrics.redis_fallback_total.with_label_values(&[&**tenant, "rate_limit"]).inc();
            own_rate(guards, second, max)
        }
    }
}

/// A message id that is being worked on. Unsettled, it is forgotten, so that a retry is a fresh attempt.
struct Claimed {
    guards: Arc<Guards>,
    key: Key,
    print: u64,
    /// It is in the table, and not settled.
    open: bool,
}

impl Claimed {
    /// Remembers a success, forgets a failure, and answers those who joined.
    fn settle(mut self, ack: Ack) -> Ack {
        if !std::mem::take(&mut self.open) {
            return ack;
        }
        let mut dedup = self.guards.dedup.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = if ack.sent { dedup.succeed(self.key, clock_ms()) } else { dedup.fail(self.key) };
        drop(dedup);
        for waiter in joined {
            let _ = waiter.send(ack.clone());
        }
        ack
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.open {
            // Dropping the waiters tells them that there is no outcome.
            drop(self.guards.dedup.lock().unwrap_or_else(PoisonError::into_inner).fail(self.key));
        }
    }
}

/// Where a message goes, as far as others must be asked.
pub enum Located {
    /// The recipient, and its routes on other nodes.
    Single(Arc<str>, Arc<[Route]>),
    /// A group's members, their first page at hand.
    Members(Box<Roster>),
    /// The members could not be learned; the reason of the ack.
    Nobody(&'static str),
}

enum Verdict {
    Pass,
    /// With the reason of the ack.
    Denied(String),
}

async fn check(from: &Rc<Sender>, guards: &Guards, message: &Message, trace: Option<TraceParent>) -> Verdict {
    let (node, tenant) = (&from.node, &from.tenant);
    let mut traced = Traced::child(&*node.tracer, "check_message", SpanKind::Client, trace);
    let (mut target, policy) = tenant.hook_target(&from.config, node, &from.trace_id);
    target.trace = traced.place();
    let call = node.hooks.check_message(&target, message);
    let answer = guards.gate(HookOp::CheckMessage).call(&node.metrics, &policy, &target, call).await;
    let (verdict, label) = match answer {
        Ok(answer) if answer.allow => (Verdict::Pass, "allow"),
        Ok(answer) => (Verdict::Denied(answer.reason), "deny"),
        Err(failure) => {
            traced.fail(failure.label());
            node.metrics.hook_degraded_total.with_label_values(&[&*tenant.id, "CheckMessage"]).inc();
            match check_verdict(&failure, tenant.settings().deny_when_degraded) {
                policy::Verdict::Deny(reason) => (Verdict::Denied(reason.into()), "deny"),
                policy::Verdict::AllowDegraded => (Verdict::Pass, "degraded"),
            }
        }
    };
    node.metrics.hook_check_message_total.with_label_values(&[&*tenant.id, label]).inc();
    verdict
}

async fn locate(from: &Rc<Sender>, guards: &Arc<Guards>, message: &Message, trace: Option<TraceParent>) -> Located {
    let traced = Traced::child(&*from.node.tracer, "locate", SpanKind::Internal, trace);
    match message.kind {
        Kind::Group => match Roster::open(from, guards, &message.group, traced.place()).await {
            Ok(roster) => Located::Members(Box::new(roster)),
            Err(reason) => Located::Nobody(reason),
        },
        _ => {
            let to = [Arc::from(message.to_user.as_str())];
            let routes = from.node.router().elsewhere(&from.tenant.id, &to, Freshness::Cached).await;
            let [to] = to;
            Located::Single(to, routes.and_then(|routes| routes.into_iter().next()).unwrap_or_else(|| [].into()))
        }
    }
}

/// Drives both; ready with the first. A denied message does not wait for its route.
async fn beside<A, B: Future>(first: A, second: Pin<&mut MaybeDone<B>>) -> A::Output
where
    A: Future,
{
    match select(pin!(first), second).await {
        Either::Left((output, _)) => output,
        Either::Right(((), first)) => first.await,
    }
}
