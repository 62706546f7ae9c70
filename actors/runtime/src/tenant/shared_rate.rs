//! A node's part of a rate that all nodes share. One question to the directory is under way at a time, begun before the rest
//! is spent, so that few messages wait for Redis; those who do live on one answer together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mics_domain::rate::{Budget, Slice, Spend};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

#[derive(Default)]
pub struct SharedRate {
    state: Mutex<State>,
    answered: Notify,
}

#[derive(Default)]
struct State {
    budget: Budget,
    asking: bool,
    /// Questions that got no answer.
    failures: u64,
}

/// The directory could not be asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Unanswered;

/// A slice to be taken from the common limit. Dropped without an answer, those who wait for it are told that there is none.
pub struct Question {
    rate: Arc<SharedRate>,
    slice: Slice,
    answered: bool,
}

enum Step<'a> {
    Done(Result<bool, Unanswered>),
    Wait { answered: Notified<'a>, failures: u64 },
}

impl SharedRate {
    /// Whether one more message of `unix_second` may go, at `max` per second in the cluster. `ask` begins to ask the common
    /// limit and does not wait.
    pub async fn spend(
        self: &Arc<Self>,
        unix_second: u64,
        max: u32,
        ask: impl Fn(Question),
    ) -> Result<bool, Unanswered> {
        let mut waited = None;
        loop {
            let (step, slice) = self.step(unix_second, max, waited);
            if let Some(slice) = slice {
                ask(Question { rate: self.clone(), slice, answered: false });
            }
            match step {
                Step::Done(passed) => return passed,
                Step::Wait { answered, failures } => {
                    waited = Some(failures);
                    answered.await;
                }
            }
        }
    }

    /// `waited`: how many questions had failed when this message began to wait. The slice, if any, is to be asked for.
    fn step(&self, unix_second: u64, max: u32, waited: Option<u64>) -> (Step<'_>, Option<Slice>) {
        let mut state = self.lock();
        let spent = state.budget.spend(unix_second);
        let failed = waited.is_some_and(|failures| failures != state.failures);
        if spent == Spend::Empty && failed {
            return (Step::Done(Err(Unanswered)), None);
        }
        let slice = if state.asking { None } else { state.budget.wanted(max) };
        state.asking |= slice.is_some();
        let step = match spent {
            Spend::Granted => Step::Done(Ok(true)),
            Spend::Exhausted => Step::Done(Ok(false)),
            // Made under the lock, it can't miss the answer.
            Spend::Empty => Step::Wait { answered: self.answered.notified(), failures: state.failures },
        };
        (step, slice)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// How many messages to ask for.
    pub fn want(&self) -> u32 {
        self.slice.want
    }

    pub fn answer(mut self, granted: u32) {
        self.rate.lock().budget.grant(self.slice, granted);
        self.answered = true;
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut state = self.rate.lock();
        state.asking = false;
        state.failures += u64::from(!self.answered);
        drop(state);
        self.rate.answered.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::cell::{Cell, RefCell};

    /// 25 messages at once, 10 to a slice, and a common limit of so many; none = it can't be asked.
    async fn offer(rate: &Arc<SharedRate>, common: Option<u32>) -> (Vec<Result<bool, Unanswered>>, u32) {
        let (left, asked, open) = (Cell::new(common), Cell::new(0), RefCell::new(Vec::new()));
        let ask = |question| {
            asked.set(asked.get() + 1);
            open.borrow_mut().push(question);
        };
        let messages = join_all((0..25).map(|_| rate.spend(1, 320, ask)));
        let answers = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
                let questions = open.take();
                assert!(questions.len() <= 1, "one at a time");
                for question in questions {
                    let Some(common) = left.get() else { continue };
                    let granted = question.want().min(common);
                    left.set(Some(common - granted));
                    question.answer(granted);
                }
            }
        };
        let (passed, ()) = tokio::join!(messages, answers);
        (passed, asked.get())
    }

    #[tokio::test]
    async fn those_who_come_during_a_question_share_its_answer() {
        let (passed, asked) = offer(&Arc::default(), Some(1_000)).await;
        assert!(passed.iter().all(|passed| *passed == Ok(true)));
        assert!((3..=4).contains(&asked), "{asked}");
    }

    #[tokio::test]
    async fn a_limit_that_is_used_up_refuses_all_who_wait() {
        let (passed, _) = offer(&Arc::default(), Some(12)).await;
        assert_eq!(passed.iter().filter(|passed| **passed == Ok(true)).count(), 12);
        assert_eq!(passed.iter().filter(|passed| **passed == Ok(false)).count(), 13);
    }

    #[tokio::test]
    async fn one_failure_is_told_to_all_who_wait_for_it_and_the_next_one_asks_again() {
        let rate = Arc::default();
        let (passed, asked) = offer(&rate, None).await;
        assert!(passed.iter().all(|passed| *passed == Err(Unanswered)));
        assert_eq!(asked, 1);
        let (passed, _) = offer(&rate, Some(1_000)).await;
        assert!(passed.iter().all(|passed| *passed == Ok(true)));
    }
}
