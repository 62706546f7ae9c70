//! Decides which event is sent when, and what follows a failure. Time and the client library come from outside; must not
//! wait, lock or start anything.
//!
//! Each tenant has three lanes, one after the other: its event topic, its dead-letter topic, the second queue (the same
//! topic again). Lanes take turns, and each has so many events in flight at most: what one topic refuses or leaves hanging
//! delays no other. In a lane the events of one user form a row. A row is sent in *runs*: a run is handed over at once,
//! and nothing more of the row before all of the run is settled. So a failed event goes first again, in its place. If
//! events behind it in its run were stored all the same, its place is gone: it becomes a dead letter.

mod seam;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mics_domain::ports::EventRefused;
use tokio::time::Instant;

pub use self::seam::{Failure, Item, LaneId, NotTaken, Outcome, Policy, Producer, Stage, Ticket};
use super::settings::{dead_letter_topic, event_topic};
use super::tally::Tally;

/// Events of one lane in flight, at most.
pub const WINDOW: usize = 1024;
/// Events of one user in flight, at most; also what a lane may send in one turn.
pub const RUN: usize = 64;
/// While no broker answers, one event is tried this often.
pub const PROBE_EVERY: Duration = Duration::from_millis(500);
/// The library had no room: pause before it is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How long a lane that saw failures is kept apart from the others.
pub const APART: Duration = Duration::from_secs(30);

enum Place {
    Sent(Item),
    Stored,
    Failed(Item, Failure),
}

/// The events of one user in one lane.
#[derive(Default)]
struct Row {
    waiting: VecDeque<Item>,
    run: Vec<Place>,
    run_number: u64,
    /// Places of the run without an outcome.
    open: usize,
}

struct Lane {
    topic: String,
    rows: HashMap<Arc<str>, Row>,
    /// Rows that may send.
    ready: VecDeque<Arc<str>>,
    in_flight: usize,
    /// Several were in flight together, so that a batch may have had more than one event.
    crowded: bool,
    /// How many suspects there are; until they are through, events are sent one by one.
    suspects: usize,
    /// In the list of turns.
    has_turn: bool,
    apart_until: Option<Instant>,
}

impl Lane {
    fn new(id: &LaneId) -> Lane {
        let topic = if id.stage == Stage::Event { event_topic(&id.tenant) } else { dead_letter_topic(&id.tenant) };
        let rows = HashMap::new();
        let (ready, apart_until) = (VecDeque::new(), None);
        Lane { topic, rows, ready, in_flight: 0, crowded: false, suspects: 0, has_turn: false, apart_until }
    }

    fn window(&self) -> usize {
        if self.suspects > 0 { 1 } else { WINDOW }
    }

    fn may_send(&self) -> bool {
        !self.ready.is_empty() && self.in_flight < self.window()
    }
}

/// The library has lost all brokers. It also says so of connections that were closed for idleness.
struct Down {
    next_probe: Instant,
    /// An event has found the same.
    confirmed: bool,
}

/// Where a failed event goes.
enum Next {
    Back,
    Onward,
    /// No topic will take it.
    Nowhere,
}

pub struct Lanes {
    policy: Policy,
    pub tally: Tally,
    lanes: HashMap<LaneId, Lane>,
    turns: VecDeque<LaneId>,
    rests: BTreeMap<(Instant, u64), (LaneId, Arc<str>)>,
    /// Numbers rests and runs.
    counter: u64,
    in_flight: usize,
    /// No broker answers.
    down: Option<Down>,
    busy_until: Option<Instant>,
}

impl Lanes {
    pub fn new(policy: Policy, tally: Tally) -> Self {
        let (lanes, turns, rests) = (HashMap::new(), VecDeque::new(), BTreeMap::new());
        Lanes { policy, tally, lanes, turns, rests, counter: 0, in_flight: 0, down: None, busy_until: None }
    }

    /// A new event, behind all earlier ones of its user.
    pub fn push(&mut self, item: Item) {
        self.push_into(Stage::Event, item);
    }

    fn push_into(&mut self, stage: Stage, item: Item) {
        let id = LaneId { tenant: item.tenant.clone(), stage };
        let lane = self.lanes.entry(id.clone()).or_insert_with(|| Lane::new(&id));
        let user = item.user.clone();
        let row = lane.rows.entry(user.clone()).or_default();
        row.waiting.push_back(item);
        // A row that rests has something waiting.
        if row.waiting.len() == 1 && row.open == 0 {
            lane.ready.push_back(user);
        }
        give_turn(&mut self.turns, lane, id);
    }

    /// The library says that no broker is connected.
    pub fn brokers_down(&mut self, now: Instant) {
        self.down.get_or_insert(Down { next_probe: now, confirmed: false });
    }

    /// An event's outcome tells of the brokers too.
    fn learn(&mut self, answered: bool, now: Instant) {
        match &mut self.down {
            Some(down) if !answered => {
                down.next_probe = now + PROBE_EVERY;
                if !std::mem::replace(&mut down.confirmed, true) {
                    tracing::warn!("kafka_down: no broker answers, events wait");
                }
            }
            Some(down) => {
                if down.confirmed {
                    tracing::info!("kafka_up");
                }
                self.down = None;
            }
            None => {}
        }
    }

    /// When [`Lanes::dispatch`] has something to do again, without news from outside.
    pub fn next_wake(&self) -> Option<Instant> {
        let rest = self.rests.keys().next().map(|key| key.0);
        let probe = self.down.as_ref().filter(|_| self.in_flight == 0 && !self.turns.is_empty());
        let probe = probe.map(|down| down.next_probe);
        let busy = self.busy_until.filter(|_| !self.turns.is_empty());
        [rest, probe, busy].into_iter().flatten().min()
    }

    /// Sends what may be sent.
    pub fn dispatch(&mut self, now: Instant, producer: &mut impl Producer) {
        self.end_rests(now);
        if self.busy_until.is_some_and(|until| now < until) {
            return;
        }
        self.busy_until = None;
        while self.busy_until.is_none() {
            let budget = match &self.down {
                None => RUN,
                Some(down) if self.in_flight == 0 && now >= down.next_probe => 1,
                Some(_) => return,
            };
            let Some(id) = self.turns.pop_front() else { return };
            self.turn(&id, budget, now, producer);
        }
    }

    fn end_rests(&mut self, now: Instant) {
        while let Some(entry) = self.rests.first_entry().filter(|entry| entry.key().0 <= now) {
            let (id, user) = entry.remove();
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.ready.push_back(user);
            give_turn(&mut self.turns, lane, id);
        }
    }

    /// One lane's turn: at most `budget` events, of as many users as that takes.
    fn turn(&mut self, id: &LaneId, mut budget: usize, now: Instant, producer: &mut impl Producer) {
        let mut too_large = Vec::new();
        let mut failed = Vec::new();
        let Some(lane) = self.lanes.get_mut(id) else { return };
        lane.has_turn = false;
        if lane.apart_until.is_some_and(|until| now >= until) {
            lane.apart_until = None;
        }
        let apart = id.stage != Stage::Event || lane.apart_until.is_some();
        while budget > 0 && self.busy_until.is_none() && lane.may_send() {
            let Some(user) = lane.ready.pop_front() else { break };
            let room = budget.min(lane.window() - lane.in_flight);
            let Some(row) = lane.rows.get_mut(&user) else { continue };
            self.counter += 1;
            row.run_number = self.counter;
            while row.run.len() < room {
                let Some(item) = row.waiting.pop_front() else { break };
                let place = row.run.len();
                let ticket = Ticket { lane: id.clone(), user: user.clone(), run: row.run_number, place };
                match producer.send(&lane.topic, &item, ticket.clone(), apart) {
                    Ok(()) => {}
                    Err(NotTaken::Busy) => {
                        row.waiting.push_front(item);
                        self.busy_until = Some(now + BUSY_PAUSE);
                        break;
                    }
                    Err(NotTaken::TooLarge) => {
                        too_large.push(item);
                        continue;
                    }
                    Err(NotTaken::Failed(failure)) => failed.push((ticket, failure)),
                }
                row.run.push(Place::Sent(item));
                row.open += 1;
                lane.in_flight += 1;
                self.in_flight += 1;
                budget -= 1;
            }
            lane.crowded |= lane.in_flight > 1;
            if row.open == 0 {
                row.run.clear();
                match row.waiting.is_empty() {
                    true => drop(lane.rows.remove(&user)),
                    false => lane.ready.push_front(user),
                }
            }
        }
        self.settle_lane(id);
        for item in too_large {
            self.tally.failed(id.stage, &item.tenant, item.kind);
            let next = if id.stage == Stage::Event { Next::Onward } else { Next::Nowhere };
            self.place(id, item, next, now);
        }
        for (ticket, failure) in failed {
            self.outcome(&ticket, Err(failure), now);
        }
    }

    /// Gives the lane another turn if it has something to send, and forgets it if it has nothing at all.
    fn settle_lane(&mut self, id: &LaneId) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        if lane.in_flight == 0 {
            lane.crowded = false;
        }
        if lane.rows.is_empty() && lane.apart_until.is_none() {
            self.lanes.remove(id);
        } else {
            give_turn(&mut self.turns, lane, id.clone());
        }
    }

    /// What became of a sent event. Outcomes of tickets that nobody waits for any more are ignored.
    pub fn outcome(&mut self, ticket: &Ticket, outcome: Outcome, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&ticket.lane) else { return };
        let Some(row) = lane.rows.get_mut(&ticket.user).filter(|row| row.run_number == ticket.run) else { return };
        let Some(place) = row.run.get_mut(ticket.place) else { return };
        let Place::Sent(mut item) = std::mem::replace(place, Place::Stored) else { return };
        lane.suspects -= usize::from(std::mem::take(&mut item.suspect));
        let stage = ticket.lane.stage;
        let mut answered = true;
        match outcome {
            Ok(()) => self.tally.stored(stage, &item.tenant, item.kind),
            Err(failure) => {
                answered = matches!(failure, Failure::Refused | Failure::TooLarge);
                self.tally.failed(stage, &item.tenant, item.kind);
                if failure != Failure::Abandoned && self.down.is_none() {
                    lane.apart_until = Some(now + APART);
                }
                *place = Place::Failed(item, failure);
            }
        }
        row.open -= 1;
        lane.in_flight -= 1;
        self.in_flight -= 1;
        let over = row.open == 0;
        if over {
            self.settle_row(&ticket.lane, &ticket.user, now);
        }
        self.settle_lane(&ticket.lane);
        self.learn(answered, now);
    }

    /// All of a row's run is settled: what failed goes back, onward or nowhere.
    fn settle_row(&mut self, id: &LaneId, user: &Arc<str>, now: Instant) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let Some(row) = lane.rows.get_mut(user) else { return };
        let run = std::mem::take(&mut row.run);
        let last_stored = run.iter().rposition(|place| matches!(place, Place::Stored));
        let alone = !lane.crowded;
        let (mut back, mut moved) = (Vec::new(), Vec::new());
        for (at, place) in run.into_iter().enumerate() {
            let Place::Failed(mut item, failure) = place else { continue };
            let overtaken = last_stored.is_some_and(|last| at < last);
            match self.judge(id.stage, &mut item, failure, overtaken, alone) {
                Next::Back => back.push((item, failure)),
                next => moved.push((item, next)),
            }
        }
        self.send_back(id, user, back, now);
        for (item, next) in moved {
            self.place(id, item, next, now);
        }
    }

    fn judge(&self, stage: Stage, item: &mut Item, failure: Failure, overtaken: bool, alone: bool) -> Next {
        let onward = match stage {
            Stage::Event => Next::Onward,
            _ if failure == Failure::TooLarge => Next::Nowhere,
            _ => Next::Onward,
        };
        match failure {
            Failure::TooLarge if alone => return onward,
            Failure::Refused if stage != Stage::Second => return Next::Onward,
            // The batch was too large: once more, alone.
            Failure::TooLarge | Failure::Abandoned => {}
            Failure::Passing | Failure::Refused if self.down.is_none() => item.tries += 1,
            Failure::Passing | Failure::Refused => {}
        }
        let exhausted = item.tries >= self.policy.of_stage(stage).tries;
        if exhausted || overtaken && stage == Stage::Event { Next::Onward } else { Next::Back }
    }

    /// To the front of the row, which then rests.
    fn send_back(&mut self, id: &LaneId, user: &Arc<str>, back: Vec<(Item, Failure)>, now: Instant) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let Some(row) = lane.rows.get_mut(user) else { return };
        let tries = back.iter().map(|(item, _)| item.tries).max().unwrap_or(0);
        let pause = self.policy.of_stage(id.stage).pause(tries);
        let rests = !back.is_empty();
        for (mut item, failure) in back.into_iter().rev() {
            self.tally.retried(id.stage, &item.tenant, item.kind);
            item.suspect = failure == Failure::TooLarge;
            lane.suspects += usize::from(item.suspect);
            row.waiting.push_front(item);
        }
        if rests {
            self.counter += 1;
            self.rests.insert((now + pause, self.counter), (id.clone(), user.clone()));
        } else if row.waiting.is_empty() {
            lane.rows.remove(user);
        } else {
            lane.ready.push_back(user.clone());
        }
    }

    /// Into the next lane, or out.
    fn place(&mut self, id: &LaneId, mut item: Item, next: Next, now: Instant) {
        item.tries = 0;
        match (id.stage, next) {
            (Stage::Event, _) => self.push_into(Stage::DeadLetter, item),
            (Stage::DeadLetter, Next::Nowhere) => self.tally.lost(&id.tenant, "dlq_failed", now),
            (Stage::DeadLetter, _) => match item.slot.move_to_second() {
                Ok(()) => {
                    self.tally.kept_second(&item.tenant, item.kind);
                    self.push_into(Stage::Second, item);
                }
                Err(refused) => self.give_up(&item, refused, now),
            },
            (Stage::Second, _) => self.tally.lost(&id.tenant, "dlq_fallback_giveup", now),
        }
    }

    fn give_up(&mut self, item: &Item, refused: EventRefused, now: Instant) {
        self.tally.refused_second(&item.tenant, refused);
        self.tally.lost(&item.tenant, "dlq_failed", now);
    }

    /// Gives up everything that is not settled; answers how many events that was.
    pub fn clear(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        for (id, lane) in std::mem::take(&mut self.lanes) {
            let unsettled = |place: &&Place| !matches!(place, Place::Stored);
            for row in lane.rows.values() {
                let events = row.waiting.len() + row.run.iter().filter(unsettled).count();
                (0..events).for_each(|_| self.tally.lost(&id.tenant, "shutdown", now));
                lost += events as u64;
            }
        }
        self.turns.clear();
        self.rests.clear();
        self.in_flight = 0;
        self.tally.tell_rest();
        lost
    }
}

fn give_turn(turns: &mut VecDeque<LaneId>, lane: &mut Lane, id: LaneId) {
    if !lane.has_turn && lane.may_send() {
        lane.has_turn = true;
        turns.push_back(id);
    }
}
