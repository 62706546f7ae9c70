//! The thread that owns the lanes and the client: takes events and reports from an inbox, and sends. Must not be waited for
//! by anyone who offers an event.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::{Client, Report};
use super::lanes::{Item, Lanes};

pub enum Input {
    Offer(Item),
    Report(Report),
    /// Give up what is not settled and end; answers how many events that was.
    End(oneshot::Sender<u64>),
}

/// What the pump has not seen yet.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    inputs: Vec<Input>,
    closed: bool,
}

impl Inbox {
    /// False: the pump has ended, nothing was put.
    pub fn put(&self, input: Input) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.inputs.push(input);
        if state.inputs.len() == 1 {
            self.bell.notify_one();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) -> Vec<Input> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.inputs)
    }

    /// Everything there is, in order; waits for it, at most until `wake`.
    fn take(&self, wake: Option<Instant>) -> Vec<Input> {
        let mut state = self.lock();
        while state.inputs.is_empty() {
            let Some(wake) = wake else {
                state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let wait = wake.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            state = self.bell.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut state.inputs)
    }
}

pub fn start(inbox: Arc<Inbox>, lanes: Lanes, client: Client) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("mics-events".into()).spawn(move || run(&inbox, lanes, client))
}

fn run(inbox: &Inbox, mut lanes: Lanes, mut client: Client) {
    loop {
        let inputs = inbox.take(lanes.next_wake());
        let now = Instant::now();
        let mut end = None;
        for input in inputs {
            match input {
                Input::Offer(item) => lanes.push(item),
                Input::Report(Report::Outcome(ticket, outcome)) => lanes.outcome(&ticket, outcome, now),
                Input::Report(Report::Down) => lanes.brokers_down(now),
                // The outcomes of what it had are in the inbox afterwards.
                Input::End(answer) => end = Some(answer),
            }
        }
        if let Some(answer) = end {
            for input in inbox.close() {
                if let Input::Offer(item) = input {
                    lanes.push(item);
                }
            }
            let _ = answer.send(lanes.clear(now));
            return;
        }
        lanes.dispatch(now, &mut client);
    }
}
