//! Sends on schedule, from a thread of its own: the runtime's timers step in milliseconds, which would end up in
//! every latency. Never waits for an ack.

use super::Run;
use super::options::Mode;
use super::payload::{self, Stamp};
use mics_client::MicsClient;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Sends for `traffic`, beginning at `begin_us` of the run. The connections take turns, evenly spread over the
/// interval; a message that is late is sent at once and keeps its due time.
pub(crate) fn send_on_schedule(run: &Run, clients: &[Option<MicsClient>], begin_us: u64, traffic: Duration) {
    let step = run.options.sender_step();
    let senders = (clients.len() / step) as u64;
    let step_us = 1e6 / (run.options.rate * senders as f64);
    let peers: Vec<String> = (0..clients.len()).map(|i| run.options.user(peer(i, clients.len()))).collect();
    for slot in 0u64.. {
        let offset_us = (slot as f64 * step_us) as u64;
        if u128::from(offset_us) >= traffic.as_micros() {
            return;
        }
        let due_us = begin_us + offset_us;
        wait_until(run, due_us);
        let sender = (slot % senders) as usize * step;
        // A connection that was never opened is counted as failed already.
        let Some(client) = &clients[sender] else { continue };
        let stamp = Stamp { run: run.id, sender: sender as u32, seq: slot / senders, due_us };
        let (body, id) = (payload::body(stamp, run.options.payload_bytes), Some(payload::msg_id(stamp)));
        let sent = match run.options.mode {
            Mode::GroupChat => client.submit_group_chat(&run.options.group_id, body, id),
            _ => client.submit_single_chat(&peers[sender], body, id),
        };
        match sent {
            Ok(()) => run.live.send_ok.fetch_add(1, Relaxed),
            Err(_) => run.live.send_fail.fetch_add(1, Relaxed),
        };
    }
}

fn wait_until(run: &Run, due_us: u64) {
    loop {
        let now = run.now_us();
        if now >= due_us {
            return;
        }
        std::thread::sleep(Duration::from_micros(due_us - now));
    }
}

/// To whom connection `index` sends: the next in the ring.
pub(crate) fn peer(index: usize, connections: usize) -> usize {
    (index + 1) % connections
}
