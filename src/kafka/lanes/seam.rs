//! What lanes and the client library say to each other: events, tickets, outcomes. Must not decide anything.

use std::sync::Arc;
use std::time::Duration;

use mics_domain::event::EventType;
use mics_domain::trace::TraceParent;

use crate::kafka::quota::Slot;
use crate::kafka::settings::{KafkaConfig, Retries};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Event,
    DeadLetter,
    /// The second queue: dead letters whose topic refused them.
    Second,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaneId {
    pub tenant: Arc<str>,
    pub stage: Stage,
}

/// An event as it is sent.
pub struct Item {
    pub tenant: Arc<str>,
    pub user: Arc<str>,
    pub kind: EventType,
    pub value: Vec<u8>,
    pub trace: Option<TraceParent>,
    pub slot: Slot,
    /// Failed tries in this lane.
    pub tries: u32,
    /// Was in a batch that was too large, and must show alone whether it's the cause.
    pub suspect: bool,
}

/// Names one sent event; comes back with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub lane: LaneId,
    pub user: Arc<str>,
    pub(super) run: u64,
    pub(super) place: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// May pass: time-outs, unknown topics.
    Passing,
    /// The topic takes nothing, e.g. its name is not valid or it may not be written.
    Refused,
    /// The broker found the batch too large.
    TooLarge,
    /// The client was thrown away. Says nothing about the event.
    Abandoned,
}

pub type Outcome = Result<(), Failure>;

/// Why the library did not take an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// No room, or no client at the moment.
    Busy,
    /// The event is larger than any broker may be given.
    TooLarge,
    Failed(Failure),
}

/// The client library, as lanes see it.
pub trait Producer {
    /// Takes the event and answers later with its ticket. `apart`: by the client for lanes in trouble, because a refused
    /// batch makes a client stop and renumber everything that it has in flight.
    fn send(&mut self, topic: &str, item: &Item, ticket: Ticket, apart: bool) -> Result<(), NotTaken>;
}

/// Tries and pauses.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub events: Retries,
    pub second: Retries,
}

impl Policy {
    pub fn of(config: &KafkaConfig) -> Policy {
        Policy { events: config.retries, second: config.second_retries }
    }

    pub(super) fn of_stage(&self, stage: Stage) -> Retries {
        match stage {
            Stage::Event => self.events,
            Stage::DeadLetter => Retries { tries: 1, backoff: Duration::ZERO },
            Stage::Second => self.second,
        }
    }
}
