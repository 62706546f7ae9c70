//! What every implementation of a port must keep, as async functions over a factory: embedded ones run them under
//! paused time, real ones in the live tests. A broken promise panics. Must not know any implementation.

pub mod directory;
pub mod events;
pub mod link;
