//! The rules of MICS: words, limits, decisions, and the ports through which the rest of the world is reached.
//!
//! What must never be here: I/O, clocks, threads, frameworks, wire formats. Time comes in as milliseconds,
//! randomness as arguments, and the outside world as the traits of [`ports`].

pub mod breaker;
pub mod codes;
pub mod damping;
pub mod dedup;
pub mod delivery;
pub mod event;
pub mod ids;
pub mod message;
pub mod offline;
pub mod permits;
pub mod policy;
pub mod ports;
pub mod rate;
pub mod recent;
pub mod rendezvous;
pub mod report;
pub mod roster;
pub mod tenant;
pub mod trace;
