//! What the page hears live: committed facts as numbered frames. The last ones are kept for those who come back.

use crate::domain::Timestamp;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Frames kept for `Last-Event-ID`.
const KEPT: usize = 1_000;
/// Frames that a slow listener may be behind before it is told to read everything again.
const BUFFER: usize = 1_024;

/// One frame of an event stream, rendered: `id`, `event` and `data` lines.
pub type Frame = Arc<str>;

pub struct Feed {
    /// Tells the numbers of this run from those of an earlier one.
    epoch: String,
    kept: Mutex<Kept>,
    live: broadcast::Sender<Frame>,
}

#[derive(Default)]
struct Kept {
    /// Number of the newest frame.
    last: u64,
    frames: VecDeque<Frame>,
}

/// A listener's view: what it missed and what comes from now on, without a gap or a repetition.
pub struct Subscription {
    pub missed: Vec<Frame>,
    pub live: broadcast::Receiver<Frame>,
}

impl Default for Feed {
    fn default() -> Self {
        let epoch = format!("{:x}", Timestamp::now().micros());
        Self { epoch, kept: Mutex::default(), live: broadcast::channel(BUFFER).0 }
    }
}

impl Feed {
    /// Numbers a fact, keeps it and tells everybody.
    pub fn publish(&self, event: &str, data: &Value) {
        let mut kept = self.lock();
        kept.last += 1;
        let frame: Frame = format!("id: {}-{}\nevent: {event}\ndata: {data}\n\n", self.epoch, kept.last).into();
        if kept.frames.len() == KEPT {
            kept.frames.pop_front();
        }
        kept.frames.push_back(frame.clone());
        // Under the lock, so that no listener gets it twice or not at all. Nobody listening is not an error.
        drop(self.live.send(frame));
    }

    /// Tells those who listen now; nobody is told later. For facts that come often and are soon stale.
    pub fn mention(&self, event: &str, data: &Value) {
        drop(self.live.send(format!("event: {event}\ndata: {data}\n\n").into()));
    }

    /// `last_seen` is the id of the last frame that the listener got. If what followed is not known any more (another run,
    /// too long ago, nonsense), it gets a `reset`: read everything again.
    pub fn subscribe(&self, last_seen: Option<&str>) -> Subscription {
        let kept = self.lock();
        let missed = match last_seen {
            None => Vec::new(),
            Some(id) => self.after(&kept, id).unwrap_or_else(|| vec![reset(&self.epoch, kept.last)]),
        };
        Subscription { missed, live: self.live.subscribe() }
    }

    /// The frame for a listener that was too slow.
    pub fn reset(&self) -> Frame {
        reset(&self.epoch, self.lock().last)
    }

    pub fn listeners(&self) -> usize {
        self.live.receiver_count()
    }

    fn after(&self, kept: &Kept, id: &str) -> Option<Vec<Frame>> {
        let (epoch, number) = id.trim().split_once('-')?;
        let behind = kept.last.checked_sub(number.parse().ok()?)?;
        let behind = usize::try_from(behind).ok().filter(|&count| epoch == self.epoch && count <= kept.frames.len())?;
        Some(kept.frames.iter().skip(kept.frames.len() - behind).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reset(epoch: &str, last: u64) -> Frame {
    format!("id: {epoch}-{last}\nevent: reset\ndata: {{}}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(frame: &Frame) -> String {
        frame.lines().next().unwrap().trim_start_matches("id: ").to_owned()
    }

    #[test]
    fn who_comes_back_gets_exactly_what_was_missed() {
        let feed = Feed::default();
        let mut first = feed.subscribe(None);
        assert!(first.missed.is_empty());
        for n in 0..5 {
            feed.publish("state_change", &json!({ "n": n }));
        }
        let frames: Vec<Frame> = std::iter::from_fn(|| first.live.try_recv().ok()).collect();
        assert_eq!(frames.len(), 5);
        assert_eq!(feed.subscribe(Some(&id(&frames[2]))).missed, frames[3..]);
        assert!(feed.subscribe(Some(&id(&frames[4]))).missed.is_empty());
    }

    #[test]
    fn what_is_not_known_any_more_is_a_reset() {
        let feed = Feed::default();
        for n in 0..KEPT + 2 {
            feed.publish("x", &json!(n));
        }
        let odd = ["", "nonsense", "1-1", "-", &format!("{}-1", feed.epoch), &format!("{}-99999", feed.epoch)];
        for last in odd {
            let missed = feed.subscribe(Some(last)).missed;
            assert!(missed.len() == 1 && missed[0].contains("event: reset"), "{last}: {missed:?}");
            assert!(feed.subscribe(Some(&id(&missed[0]))).missed.is_empty(), "the reset is a new beginning");
        }
        assert_eq!(feed.subscribe(Some(&format!("{}-2", feed.epoch))).missed.len(), KEPT);
    }
}
