//! Calls to another node that are not forwards: one request, one answer, a deadline, one repetition.

use std::sync::Arc;
use std::time::Duration;

use mics_domain::delivery::Kept;
use mics_domain::ports::{LinkError, PeerAnswer, PeerCall};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::counts::Counters;
use super::peer::{CallPass, Client, PAUSE, Peer, link_error, may_pass};
use super::report;
use super::told::Buffered;
use super::wire::{self, CallRequest};

/// From here on a `Place` is large, and has [`LARGE_TIMES`] the time.
const LARGE_FRAMES: usize = 16;
const LARGE_BYTES: usize = 256 << 10;
const LARGE_TIMES: u32 = 4;
/// A `Place` that is larger travels in parts.
const PART_BYTES: usize = 1 << 20;
/// Ids, field numbers and lengths around a frame, at most.
const FRAMING: usize = 64;

/// Errors: the circuit is open, or too many calls wait already.
pub(super) fn start(
    peer: &Arc<Peer>,
    call: PeerCall,
    runtime: &Handle,
) -> Result<JoinHandle<Result<PeerAnswer, LinkError>>, LinkError> {
    let pass = CallPass::admit(peer)?;
    let Ok(permit) = peer.calls.clone().try_acquire_owned() else {
        return Err(peer.overflow("calls"));
    };
    Counters::add(&peer.counters.calls, 1);
    let peer = peer.clone();
    Ok(runtime.spawn(async move {
        let _permit = permit;
        let buffered = Buffered::of(&call);
        let answer = match call {
            PeerCall::Place { tenant, kept, view } => place(&peer, tenant, kept, view).await,
            call => within_deadline(&peer, call).await,
        };
        match &answer {
            Ok(_) => pass.success(),
            Err(status) if may_pass(status.code()) => pass.failure(status.code()),
            Err(_) => {}
        }
        answer.map_err(|status| {
            peer.counters.call_failures.add(status.code());
            if let Some(buffered) = buffered {
                buffered.failed(&peer, status.code());
            }
            link_error(&status)
        })
    }))
}

/// In parts that fit a message; each has a deadline of its own.
async fn place(peer: &Peer, tenant: Arc<str>, kept: Vec<Kept>, view: u64) -> Result<PeerAnswer, Status> {
    let mut all = Vec::with_capacity(kept.len());
    // The tenant's id has to fit as well.
    let max_bytes = PART_BYTES.min(peer.max_message_bytes.saturating_sub(tenant.len() + FRAMING));
    for kept in parts(kept, max_bytes) {
        match within_deadline(peer, PeerCall::Place { tenant: tenant.clone(), kept, view }).await? {
            PeerAnswer::Placed(placed) => all.extend(placed),
            no @ (PeerAnswer::Leaving | PeerAnswer::NotServed) => return Ok(no),
            _ => return Err(Status::internal("the peer answered another question")),
        }
    }
    Ok(PeerAnswer::Placed(all))
}

/// In the order given, each within `max_bytes` unless it is a single frame. At least one part.
fn parts(kept: Vec<Kept>, max_bytes: usize) -> Vec<Vec<Kept>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for kept in kept {
        let devices: usize = kept.devices.iter().map(|device| device.len() + FRAMING).sum();
        let more = kept.frame.len() + kept.user.len() + devices + FRAMING;
        if bytes + more > max_bytes && bytes > 0 {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += more;
        part.push(kept);
    }
    parts.push(part);
    parts
}

fn deadline(peer: &Peer, call: &PeerCall) -> Duration {
    let large = |kept: &[Kept]| {
        kept.len() > LARGE_FRAMES || kept.iter().map(|kept| kept.frame.len()).sum::<usize>() > LARGE_BYTES
    };
    match call {
        PeerCall::Place { kept, .. } if large(kept) => peer.deadline * LARGE_TIMES,
        _ => peer.deadline,
    }
}

async fn within_deadline(peer: &Peer, call: PeerCall) -> Result<PeerAnswer, Status> {
    let deadline = deadline(peer, &call);
    let started_us = peer.now_us();
    let (generation, _) = peer.client();
    match timeout(deadline, with_repetition(peer, wire::call_request(call))).await {
        Ok(answer) => answer,
        Err(_) => {
            if peer.silent_since(started_us) {
                peer.reconnect(generation);
            }
            Err(Status::deadline_exceeded("no answer in time"))
        }
    }
}

async fn with_repetition(peer: &Peer, request: CallRequest) -> Result<PeerAnswer, Status> {
    match attempt(peer, request.clone()).await {
        Err(status) if may_pass(status.code()) && status.code() != Code::DeadlineExceeded => {
            sleep(PAUSE).await;
            attempt(peer, request).await
        }
        answer => answer,
    }
}

async fn attempt(peer: &Peer, request: CallRequest) -> Result<PeerAnswer, Status> {
    let (generation, client) = peer.client();
    let answer = send(client, request).await;
    match &answer {
        Ok(_) => peer.heard(),
        Err(status) if may_pass(status.code()) => peer.reconnect(generation),
        Err(_) => {}
    }
    answer
}

async fn send(mut client: Client, request: CallRequest) -> Result<PeerAnswer, Status> {
    match request {
        CallRequest::Place(request) => {
            let frames = request.kept.len();
            let placed = match client.place(request).await {
                Err(status) if status.code() == Code::FailedPrecondition => return Ok(PeerAnswer::Leaving),
                Err(status) if status.code() == Code::NotFound => return Ok(PeerAnswer::NotServed),
                answer => answer?.into_inner().placed,
            };
            if placed.len() != frames {
                return Err(Status::data_loss("answer does not match the frames given"));
            }
            Ok(PeerAnswer::Placed(placed))
        }
        CallRequest::Lease(request) => {
            let mics_proto::node::LeaseResponse { kept: frames, held } = client.lease(request).await?.into_inner();
            let kept = frames.into_iter().map(wire::kept).collect::<Result<_, _>>()?;
            Ok(PeerAnswer::Leased { kept, held })
        }
        CallRequest::Settle(request) => client.settle(request).await.map(|_| PeerAnswer::Done),
        CallRequest::Nudge(request) => client.nudge(request).await.map(|_| PeerAnswer::Done),
        CallRequest::Replace(request) => client.replace(request).await.map(|_| PeerAnswer::Done),
        CallRequest::Kick(request) => Ok(PeerAnswer::Kicked(client.kick(request).await?.into_inner().closed)),
        CallRequest::Report(request) => {
            let report = report::read(client.report(request).await?.into_inner());
            Ok(PeerAnswer::Report(Box::new(report)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(sizes: &[usize]) -> Vec<Kept> {
        let frame = |(n, size): (usize, &usize)| Kept {
            user: "u".into(),
            id: n as u128,
            frame: vec![0; *size].into(),
            ttl_ms: 1,
            devices: vec!["d".into()],
        };
        sizes.iter().enumerate().map(frame).collect()
    }

    #[test]
    fn parts_keep_the_order_and_the_limit() {
        let table: [(&[usize], &[usize]); 5] = [
            (&[], &[0]),
            (&[10], &[1]),
            (&[300, 300, 300], &[2, 1]),
            (&[5_000, 10, 5_000], &[1, 1, 1]),
            (&[10; 9], &[7, 2]),
        ];
        for (sizes, expected) in table {
            let parts = parts(frames(sizes), 1_000);
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{sizes:?}");
            assert!(parts.iter().flatten().map(|kept| kept.id).eq(0..sizes.len() as u128));
        }
    }
}
