//! Everything a session can be asked.

use mics_domain::codes::Close;

#[derive(Debug)]
pub enum SessionMsg {
    /// End, with this code.
    Close(Close),
    /// Frames are kept for you: fetch them.
    Backlog,
}
