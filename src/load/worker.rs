//! One connection: opens it and judges every event that comes in. It sends nothing itself (see `pacer`).

use super::Run;
use super::pacer::user;
use super::payload;
use super::tracker::{Arrival, BitSet, Tracker};
use mics_client::{
    AckStatus, ConnectParams, Delivery, Event, EventStream, MessageAck, MicsClient, MicsClientOptions, MicsError,
};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// What one connection has to say at the end.
#[derive(Default)]
pub(crate) struct Seen {
    /// Its own messages that were acked SENT.
    pub acked: BitSet,
    /// What it received, by sender index.
    pub from: HashMap<u32, Tracker>,
}

/// The life of connection `index`.
pub(crate) async fn connection(run: Arc<Run>, index: usize) -> Seen {
    let mut seen = Seen::default();
    let Some(mut events) = open(&run, index).await else { return seen };
    while let Some(event) = events.next().await {
        match event {
            Event::Delivery(delivery) => on_delivery(&run, &mut seen, &delivery),
            Event::Ack(ack) => on_ack(&run, &mut seen, &ack),
            Event::ServerError(_) => {
                run.live.server_errors.fetch_add(1, Relaxed);
            }
            Event::Overflow { dropped } => {
                run.live.overflow.fetch_add(dropped, Relaxed);
            }
            Event::Closed { info, .. } if !run.live.stopping.load(Relaxed) => {
                run.live.closed.fetch_add(1, Relaxed);
                run.live.note_close(info.code);
            }
            _ => {}
        }
    }
    run.live.open.fetch_sub(1, Relaxed);
    seen
}

async fn open(run: &Run, index: usize) -> Option<EventStream> {
    let permit = run.connecting.acquire().await;
    let begin = Instant::now();
    let result = MicsClient::connect(params(run, index), client_options(run, index)).await;
    drop(permit);
    match result {
        Ok((client, events)) => {
            run.live.connect.record(begin.elapsed().as_micros() as u64);
            run.live.add_client(client.stats());
            run.set_client(index, client);
            run.live.open.fetch_add(1, Relaxed);
            run.live.ok.fetch_add(1, Relaxed);
            Some(events)
        }
        Err(error) => {
            match &error {
                MicsError::Closed(info) => run.live.note_close(info.code),
                other => run.live.note_error(&other.to_string()),
            }
            run.live.failed.fetch_add(1, Relaxed);
            None
        }
    }
}

fn params(run: &Run, index: usize) -> ConnectParams {
    let user = user(index);
    ConnectParams {
        url: run.options.url.clone(),
        tenant_id: run.options.tenant_id.clone(),
        token: format!("{}{user}", run.options.token_prefix).into(),
        device_id: format!("{}{user}", run.options.device_prefix),
    }
}

/// Nothing that would hide a failure: no reconnect, no second attempt, no de-duplication.
fn client_options(run: &Run, index: usize) -> MicsClientOptions {
    let addresses = run.options.source_addresses;
    let local = (addresses > 0).then(|| Ipv4Addr::new(127, 0, 0, 1 + (index % usize::from(addresses)) as u8).into());
    MicsClientOptions {
        auto_reconnect: false,
        max_send_attempts: 1,
        ack_timeout: Duration::from_secs(30),
        send_deadline: Duration::from_secs(60),
        heartbeat_interval: Duration::from_secs_f64(run.options.heartbeat_seconds),
        send_queue_capacity: 4096,
        max_in_flight: 1 << 16,
        event_capacity: 1 << 16,
        dedup_window: 0,
        local_address: local,
        ..Default::default()
    }
}

fn on_ack(run: &Run, seen: &mut Seen, ack: &MessageAck) {
    let Some(stamp) = payload::read_id(&ack.msg_id).filter(|s| s.run == run.id) else { return };
    if ack.status() != AckStatus::Sent {
        run.live.ack_fail.fetch_add(1, Relaxed);
        run.live.note_error(&format!("ack: {}", ack.reason));
        return;
    }
    seen.acked.insert(stamp.seq);
    if stamp.due_us >= run.live.measure_from_us.load(Relaxed) {
        run.live.ack.record(run.now_us().saturating_sub(stamp.due_us));
    }
    run.live.ack_ok.fetch_add(1, Relaxed);
}

fn on_delivery(run: &Run, seen: &mut Seen, delivery: &Delivery) {
    let live = &run.live;
    let Some(stamp) = payload::read(&delivery.message.msg_body).filter(|s| s.run == run.id) else {
        live.foreign.fetch_add(1, Relaxed);
        return;
    };
    live.deliveries.fetch_add(1, Relaxed);
    match seen.from.entry(stamp.sender).or_default().arrive(stamp.seq) {
        Arrival::Again => {
            live.duplicated.fetch_add(1, Relaxed);
            return;
        }
        Arrival::Late => {
            live.out_of_order.fetch_add(1, Relaxed);
        }
        Arrival::InOrder => {}
    }
    if stamp.due_us >= live.measure_from_us.load(Relaxed) {
        live.delivery.record(run.now_us().saturating_sub(stamp.due_us));
    }
    live.delivered.fetch_add(1, Relaxed);
}
