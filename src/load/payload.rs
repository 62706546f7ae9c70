//! The first bytes of every test message: who sent it, its number, and when it was due. Big endian:
//! run (8) | sender index (4) | sequence number (8) | due, microseconds since the run's epoch (8); then filling.

use bytes::Bytes;

const HEADER: usize = 28;
/// Smallest body of a sending mode.
pub(crate) const MIN_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub run: u64,
    pub sender: u32,
    pub seq: u64,
    pub due_us: u64,
}

/// A body of `size` bytes (at least `MIN_BYTES`); the filling is the low byte of the sender's index.
pub(crate) fn body(stamp: Stamp, size: usize) -> Bytes {
    let mut out = Vec::with_capacity(size.max(MIN_BYTES));
    out.extend_from_slice(&stamp.run.to_be_bytes());
    out.extend_from_slice(&stamp.sender.to_be_bytes());
    out.extend_from_slice(&stamp.seq.to_be_bytes());
    out.extend_from_slice(&stamp.due_us.to_be_bytes());
    out.resize(size.max(MIN_BYTES), stamp.sender as u8);
    out.into()
}

/// None when the body is too short to be ours.
pub(crate) fn read(body: &[u8]) -> Option<Stamp> {
    let u64_at = |at: usize| Some(u64::from_be_bytes(body.get(at..at + 8)?.try_into().ok()?));
    if body.len() < HEADER {
        return None;
    }
    let sender = u32::from_be_bytes(body[8..12].try_into().ok()?);
    Some(Stamp { run: u64_at(0)?, sender, seq: u64_at(12)?, due_us: u64_at(20)? })
}

/// A message id that no other message of any run has; it carries what the ack is measured by.
pub(crate) fn msg_id(stamp: Stamp) -> String {
    format!("{:016x}-{:x}-{:x}-{:x}", stamp.run, stamp.sender, stamp.seq, stamp.due_us)
}

/// Reads an id made by `msg_id`.
pub(crate) fn read_id(id: &str) -> Option<Stamp> {
    let mut parts = id.split('-').map(|part| u64::from_str_radix(part, 16).ok());
    let mut part = || parts.next().flatten();
    Some(Stamp { run: part()?, sender: u32::try_from(part()?).ok()?, seq: part()?, due_us: part()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_and_ids_carry_the_stamp() {
        let stamp = Stamp { run: u64::MAX - 1, sender: 513, seq: 1 << 40, due_us: 123_456_789 };
        let bytes = body(stamp, 100);
        assert_eq!((bytes.len(), bytes[99]), (100, 1));
        assert_eq!(body(stamp, 0).len(), MIN_BYTES);
        assert_eq!(read(&bytes), Some(stamp));
        assert_eq!(read(&bytes[..27]), None);
        assert_eq!(read_id(&msg_id(stamp)), Some(stamp));
        assert_eq!(read_id("m-1"), None);
    }
}
