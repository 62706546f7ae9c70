//! The ports' in-memory implementations: shipped, the default of `mics dev`, and what cluster tests run on.
//! Nothing here may touch a network or a disk, or know an actor.

mod memory_directory;
mod memory_events;
mod memory_link;
mod memory_nodes;

pub use memory_directory::MemoryDirectory;
pub use memory_events::{EventsOff, MemoryEvents};
pub use memory_link::{LinkRegistration, MemoryLink, PeerNode};
