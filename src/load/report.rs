//! What a run says: a line every second, the final block or JSON object, and the verdict. It changes nothing.

use super::Run;
use super::histogram::Histogram;
use super::options::{Mode, Options};
use super::pacer::peer;
use super::worker::Seen;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Latency {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
    count: u64,
}

impl Latency {
    fn of(histogram: &Histogram) -> Self {
        let [p50, p90, p99, p999] = histogram.percentiles([0.5, 0.9, 0.99, 0.999]);
        Self { p50, p90, p99, p999, max: histogram.max(), count: histogram.count() }
    }

    fn line(&self, name: &str) -> String {
        let ms = |us: u64| us as f64 / 1000.0;
        format!(
            "{name}_p50={:.3}ms {name}_p90={:.3}ms {name}_p99={:.3}ms {name}_p999={:.3}ms {name}_max={:.3}ms",
            ms(self.p50),
            ms(self.p90),
            ms(self.p99),
            ms(self.p999),
            ms(self.max)
        )
    }

    fn json(&self) -> Value {
        json!({ "count": self.count, "p50_us": self.p50, "p90_us": self.p90, "p99_us": self.p99,
                "p999_us": self.p999, "max_us": self.max })
    }
}

/// The result of one run.
pub(crate) struct Report {
    options: Options,
    ok: u64,
    failed: u64,
    closed: u64,
    /// Lost connections that did not come back.
    gone: u64,
    all_back_us: u64,
    send_ok: u64,
    send_fail: u64,
    ack_ok: u64,
    ack_fail: u64,
    deliveries: u64,
    duplicated: u64,
    out_of_order: u64,
    lost: u64,
    foreign: u64,
    overflow: u64,
    server_errors: u64,
    heartbeats: u64,
    connect: Latency,
    ack: Latency,
    delivery: Latency,
    back: Latency,
    close_codes: Vec<(u16, u64)>,
    errors: Vec<(String, u64)>,
}

impl Report {
    /// Reads the counters after all connections have ended; `seen` by connection index.
    pub fn new(run: &Run, seen: &[Seen]) -> Self {
        let live = &run.live;
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Self {
            ok: get(&live.ok),
            failed: get(&live.failed),
            closed: get(&live.closed),
            gone: get(&live.closed).saturating_sub(live.back.count()),
            all_back_us: live.all_back_us(),
            send_ok: get(&live.send_ok),
            send_fail: get(&live.send_fail),
            ack_ok: get(&live.ack_ok),
            ack_fail: get(&live.ack_fail),
            deliveries: get(&live.deliveries),
            duplicated: get(&live.duplicated),
            out_of_order: get(&live.out_of_order),
            lost: lost(&run.options, seen),
            foreign: get(&live.foreign),
            overflow: get(&live.overflow),
            server_errors: get(&live.server_errors),
            heartbeats: live.heartbeats(),
            connect: Latency::of(&live.connect),
            ack: Latency::of(&live.ack),
            delivery: Latency::of(&live.delivery),
            back: Latency::of(&live.back),
            close_codes: live.close_codes(),
            errors: live.errors(),
            options: run.options.clone(),
        }
    }

    /// Everything that was meant to happen did, and nothing else.
    pub fn passed(&self) -> bool {
        let wrong = [
            self.failed,
            self.gone,
            self.send_fail,
            self.ack_fail,
            self.duplicated,
            self.out_of_order,
            self.lost,
            self.overflow,
            self.server_errors,
        ];
        let carried = !self.options.mode.sends() || (self.send_ok > 0 && self.deliveries > 0);
        self.ok == self.options.connections as u64 && wrong.iter().all(|n| *n == 0) && carried
    }

    /// The final block, or with `--json` one object on one line.
    pub fn render(&self) -> String {
        if self.options.json { format!("{}\n", self.json()) } else { self.text() }
    }

    fn text(&self) -> String {
        let mut out = String::from("---- final ----\n");
        let _ = writeln!(
            out,
            "connections_ok={} connections_failed={} connections_closed={}\n\
             send_ok={} send_fail={} ack_ok={} ack_fail={} deliveries={} server_errors={}\n\
             lost={} duplicated={} out_of_order={} foreign={} overflow={} heartbeats={}\n{}\n{}\n{}",
            self.ok,
            self.failed,
            self.closed,
            self.send_ok,
            self.send_fail,
            self.ack_ok,
            self.ack_fail,
            self.deliveries,
            self.server_errors,
            self.lost,
            self.duplicated,
            self.out_of_order,
            self.foreign,
            self.overflow,
            self.heartbeats,
            self.connect.line("connect"),
            self.ack.line("ack"),
            self.delivery.line("delivery"),
        );
        if !self.options.reconnect_url.is_empty() {
            let (back, all) = (&self.back, self.all_back_us as f64 / 1000.0);
            let _ =
                writeln!(out, "back={} not_back={} all_back={all:.3}ms\n{}", back.count, self.gone, back.line("back"));
        }
        if !self.close_codes.is_empty() {
            out.push_str("close_codes:\n");
            for (code, n) in &self.close_codes {
                let _ = writeln!(out, "  {code}={n}");
            }
        }
        if !self.errors.is_empty() {
            out.push_str("errors:\n");
            for (text, n) in &self.errors {
                let _ = writeln!(out, "  {text}={n}");
            }
        }
        let _ = writeln!(out, "result={}", if self.passed() { "passed" } else { "failed" });
        out
    }

    fn json(&self) -> Value {
        let o = &self.options;
        let codes: serde_json::Map<_, _> = self.close_codes.iter().map(|(c, n)| (c.to_string(), json!(n))).collect();
        let errors: serde_json::Map<_, _> = self.errors.iter().map(|(e, n)| (e.clone(), json!(n))).collect();
        json!({
            "passed": self.passed(),
            "mode": o.mode.name(),
            "connections": o.connections,
            "duration_seconds": o.duration_seconds,
            "warmup_seconds": o.warmup_seconds,
            "send_qps_per_conn": o.rate,
            "payload_bytes": o.payload_bytes,
            "connections_ok": self.ok,
            "connections_failed": self.failed,
            "connections_closed": self.closed,
            "connections_not_back": self.gone,
            "all_back_us": self.all_back_us,
            "send_ok": self.send_ok,
            "send_fail": self.send_fail,
            "ack_ok": self.ack_ok,
            "ack_fail": self.ack_fail,
            "deliveries": self.deliveries,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "out_of_order": self.out_of_order,
            "foreign": self.foreign,
            "overflow": self.overflow,
            "server_errors": self.server_errors,
            "heartbeats": self.heartbeats,
            "connect": self.connect.json(),
            "ack": self.ack.json(),
            "delivery": self.delivery.json(),
            "back": self.back.json(),
            "close_codes": codes,
            "errors": errors,
        })
    }
}

/// Messages that were acked SENT and did not arrive at a receiver that should have got them.
fn lost(options: &Options, seen: &[Seen]) -> u64 {
    if !options.mode.sends() {
        return 0;
    }
    let nothing = Default::default();
    let missing = |sender: usize, receiver: usize| {
        let got = seen[receiver].from.get(&(sender as u32)).map_or(&nothing, |tracker| &tracker.seen);
        seen[sender].acked.missing_in(got)
    };
    (0..seen.len())
        .map(|sender| match options.mode {
            Mode::GroupChat => receivers(options, seen).map(|receiver| missing(sender, receiver)).sum(),
            _ => missing(sender, peer(sender, seen.len())),
        })
        .sum()
}

/// Members of the group: the first `group_members` connections, or whoever received anything.
fn receivers<'a>(options: &Options, seen: &'a [Seen]) -> impl Iterator<Item = usize> + use<'a> {
    let known = options.group_members;
    (0..seen.len()).filter(move |i| if known > 0 { *i < known } else { !seen[*i].from.is_empty() })
}

/// Prints the line of the last second, every second, until aborted. With `--json` on stderr.
pub(crate) async fn print_progress(run: Arc<Run>) {
    let second = Duration::from_secs(1);
    let mut ticks = interval_at(Instant::now() + second, second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut at) = ([0; 4], run.epoch);
    loop {
        let now = ticks.tick().await;
        let live = &run.live;
        let acks = live.ack_ok.load(Relaxed) + live.ack_fail.load(Relaxed);
        let counts = [live.heartbeats(), live.send_ok.load(Relaxed), acks, live.deliveries.load(Relaxed)];
        let passed = now.duration_since(at).as_secs_f64().max(0.001);
        let [beats, sends, acks, deliveries] = std::array::from_fn(|i| (counts[i] - last[i]) as f64 / passed);
        let [p50, p90, p99] = live.delivery.percentiles([0.5, 0.9, 0.99]).map(|us| us as f64 / 1000.0);
        let line = format!(
            "open={} ok={} fail={} mode={} hbQps={beats:.0} sendQps={sends:.0} ackQps={acks:.0} \
             deliveryQps={deliveries:.0} p50={p50:.3}ms p90={p90:.3}ms p99={p99:.3}ms",
            live.open.load(Relaxed),
            live.ok.load(Relaxed),
            live.failed.load(Relaxed),
            run.options.mode.name(),
        );
        if run.options.json {
            eprintln!("{line}")
        } else {
            println!("{line}")
        }
        (last, at) = (counts, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(acked: &[u64], from: &[(u32, &[u64])]) -> Seen {
        let mut seen = Seen::default();
        for n in acked {
            seen.acked.insert(*n);
        }
        for (sender, n) in from.iter().flat_map(|(sender, numbers)| numbers.iter().map(move |n| (*sender, *n))) {
            seen.from.entry(sender).or_default().arrive(n);
        }
        seen
    }

    #[test]
    fn lost_is_what_was_acked_and_did_not_reach_its_receiver() {
        let single = Options { mode: Mode::SingleChat, ..Default::default() };
        // 0 -> 1 misses number 2; 1 -> 0 has one delivered and not acked, which is no loss.
        let pair = [seen(&[0, 1, 2], &[(1, &[0, 1])]), seen(&[0], &[(0, &[0, 1])])];
        assert_eq!(lost(&single, &pair), 1);
        assert_eq!(lost(&Options::default(), &pair), 0);
    }

    #[test]
    fn group_losses_count_per_member() {
        let group = |members| Options { mode: Mode::GroupChat, group_members: members, ..Default::default() };
        let all = [seen(&[0, 1], &[(0, &[0, 1])]), seen(&[], &[(0, &[0])]), seen(&[], &[])];
        assert_eq!(lost(&group(0), &all), 1, "the third received nothing and counts as no member");
        assert_eq!(lost(&group(3), &all), 3);
    }
}
