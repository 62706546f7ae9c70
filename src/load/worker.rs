//! One connection: opens it, again if asked to, and judges every event that comes in. It sends nothing itself (see
//! `pacer`).

use super::Run;
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
use tokio::time::{Instant, sleep};

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
    loop {
        listen(&run, &mut seen, &mut events).await;
        run.live.open.fetch_sub(1, Relaxed);
        if run.options.reconnect_url.is_empty() {
            return seen;
        }
        let Some(next) = reopen(&run, index).await else { return seen };
        events = next;
    }
}

/// Until the connection ends.
async fn listen(run: &Run, seen: &mut Seen, events: &mut EventStream) {
    while let Some(event) = events.next().await {
        match event {
            Event::Delivery(delivery) => on_delivery(run, seen, &delivery),
            Event::Ack(ack) => on_ack(run, seen, &ack),
            Event::ServerError(_) => {
                run.live.server_errors.fetch_add(1, Relaxed);
            }
            Event::Overflow { dropped } => {
                run.live.overflow.fetch_add(dropped, Relaxed);
            }
            Event::Closed { info, .. } if !run.live.stopping.load(Relaxed) => {
                run.live.note_lost(run.now_us());
                run.live.note_close(info.code);
            }
            _ => {}
        }
    }
}

async fn open(run: &Run, index: usize) -> Option<EventStream> {
    let permit = run.connecting.acquire().await;
    let begin = Instant::now();
    let result = connect(run, index, run.options.url(index)).await;
    drop(permit);
    match result {
        Ok((_, events)) => {
            run.live.connect.record(begin.elapsed().as_micros() as u64);
            run.live.ok.fetch_add(1, Relaxed);
            Some(events)
        }
        Err(_) => {
            run.live.failed.fetch_add(1, Relaxed);
            None
        }
    }
}

/// As the SDK comes back by itself, but to another address: any pause up to a ceiling that doubles. None once the run
/// ends, which it does not wait for.
async fn reopen(run: &Run, index: usize) -> Option<EventStream> {
    let usual = MicsClientOptions::default();
    let lost_us = run.now_us();
    let mut ceiling = usual.reconnect_min_delay;
    while !run.live.stopping.load(Relaxed) {
        sleep(ceiling.mul_f64(rand::random())).await;
        ceiling = (ceiling * 2).min(usual.reconnect_max_delay);
        let Ok((client, events)) = connect(run, index, &run.options.reconnect_url).await else { continue };
        // The run may have ended after it looked for clients to disconnect, and then misses this one.
        if run.live.stopping.load(Relaxed) {
            client.disconnect().await;
        } else {
            run.live.note_back(lost_us, run.now_us());
        }
        return Some(events);
    }
    None
}

/// Connects and keeps the client for the run; a failure is noted.
async fn connect(run: &Run, index: usize, url: &str) -> Result<(MicsClient, EventStream), MicsError> {
    match MicsClient::connect(params(run, index, url), client_options(run, index)).await {
        Ok((client, events)) => {
            run.live.add_client(client.stats());
            run.set_client(index, client.clone());
            run.live.open.fetch_add(1, Relaxed);
            Ok((client, events))
        }
        Err(error) => {
            match &error {
                MicsError::Closed(info) => run.live.note_close(info.code),
                other => run.live.note_error(&other.to_string()),
            }
            Err(error)
        }
    }
}

fn params(run: &Run, index: usize, url: &str) -> ConnectParams {
    let user = run.options.user(index);
    ConnectParams {
        url: url.to_owned(),
        tenant_id: run.options.tenant_id.clone(),
        token: format!("{}{user}", run.options.token_prefix).into(),
        device_id: format!("{}{user}", run.options.device_prefix),
    }
}

/// Nothing that would hide a failure: no reconnect by the SDK, no second attempt, no de-duplication.
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
        tls: run.tls.clone(),
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
