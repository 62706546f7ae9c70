//! The few bytes of WebSocket and protobuf that a measurement needs. Must not grow into a client.

/// Length of the whole frame that starts with `bytes`; `None` = not a binary frame of a server, or cut off in its header.
pub fn length(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [0x82, len @ 0..126, ..] => Some(2 + usize::from(len)),
        [0x82, 126, high, low, ..] => Some(4 + usize::from(u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

/// An unmasked binary frame of `length` bytes in all (at least 130, so that its header has four).
pub fn of_length(length: usize) -> Vec<u8> {
    let mut frame = vec![0x82, 126];
    frame.extend(((length - 4) as u16).to_be_bytes());
    frame.resize(length, b'.');
    frame
}

/// A masked binary frame.
fn masked(payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x82];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7F {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

/// `ClientFrame{message}`: a group message with a body of `body` bytes.
pub fn group_message(msg_id: &str, group: &str, body: usize) -> Vec<u8> {
    let mut request = Vec::new();
    field(4, msg_id.as_bytes(), &mut request);
    request.extend([5 << 3, 1]);
    field(7, group.as_bytes(), &mut request);
    field(8, &vec![b'.'; body], &mut request);
    let mut client = Vec::new();
    field(1, &request, &mut client);
    masked(&client)
}

/// `ClientFrame{heartbeat_ping}`.
pub fn ping() -> Vec<u8> {
    let mut client = Vec::new();
    field(2, &[], &mut client);
    masked(&client)
}
