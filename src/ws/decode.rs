//! Client frames to whole messages (RFC 6455): fragments joined, control frames between them, text checked for UTF-8,
//! messages beyond the limit passed over without being kept. Single frames are parsed by actix-http.

use actix_http::ws::{OpCode, Parser};
use bytes::{Buf, BytesMut};
use mics_actors::wire::Incoming;
use mics_domain::codes::Close;

/// A message whose last fragment has not come yet.
struct Fragments {
    text: bool,
    data: BytesMut,
    too_large: bool,
}

pub struct Decoder {
    limit: usize,
    /// Bytes of an oversized frame still to be passed over.
    skip: u64,
    /// The frame being passed over is the last of its message.
    skip_ends_message: bool,
    fragments: Option<Box<Fragments>>,
    broken: bool,
}

/// What a data frame's header says.
struct Header {
    fin: bool,
    opcode: u8,
    masked: bool,
    length: u64,
    /// Bytes of the header, mask included.
    size: usize,
}

fn header(buffer: &[u8]) -> Option<Header> {
    let (first, second) = (*buffer.first()?, *buffer.get(1)?);
    let (length, extended) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?)), 2),
        127 => (u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?), 8),
        short => (u64::from(short), 0),
    };
    let masked = second & 0x80 != 0;
    let size = 2 + extended + if masked { 4 } else { 0 };
    Some(Header { fin: first & 0x80 != 0, opcode: first & 0x7F, masked, length, size })
}

impl Decoder {
    /// `limit`: most bytes of one message.
    pub fn new(limit: usize) -> Self {
        Decoder { limit, skip: 0, skip_ends_message: false, fragments: None, broken: false }
    }

    /// The next message, if the buffer holds one whole. After `Broken` everything is passed over.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Option<Incoming> {
        loop {
            if self.broken {
                buffer.clear();
                return None;
            }
            if self.skip > 0 {
                let passed = self.skip.min(buffer.len() as u64);
                buffer.advance(passed as usize);
                self.skip -= passed;
                if self.skip > 0 {
                    return None;
                }
                if std::mem::take(&mut self.skip_ends_message) {
                    return Some(Incoming::TooLarge);
                }
            }
            let head = header(buffer)?;
            if !head.masked {
                return Some(self.fail(Close::ProtocolError));
            }
            let is_data = matches!(head.opcode, 0..=2);
            if is_data && self.oversized(head.length) {
                if let Some(failed) = self.pass_over(&head, buffer) {
                    return Some(failed);
                }
                continue;
            }
            match Parser::parse(buffer, true, self.limit.max(125)) {
                Ok(None) => return None,
                Err(_) => return Some(self.fail(Close::ProtocolError)),
                Ok(Some((fin, opcode, payload))) => {
                    if let Some(incoming) = self.frame(fin, opcode, payload.unwrap_or_default()) {
                        return Some(incoming);
                    }
                }
            }
        }
    }

    fn oversized(&self, length: u64) -> bool {
        let before = self.fragments.as_ref().map_or(0, |fragments| fragments.data.len());
        let doomed = self.fragments.as_ref().is_some_and(|fragments| fragments.too_large);
        doomed || length > (self.limit - before.min(self.limit)) as u64
    }

    /// Starts to skip a frame; `Some` when the frame is illegal anyway.
    fn pass_over(&mut self, head: &Header, buffer: &mut BytesMut) -> Option<Incoming> {
        let continues = head.opcode == 0;
        if continues != self.fragments.is_some() || head.length > i64::MAX as u64 {
            return Some(self.fail(Close::ProtocolError));
        }
        if buffer.len() < head.size {
            // The mask has not come yet: no need to wait for it, it is passed over as well.
            self.skip = (head.size - buffer.len()) as u64 + head.length;
            buffer.clear();
        } else {
            buffer.advance(head.size);
            self.skip = head.length;
        }
        if head.fin {
            self.fragments = None;
            self.skip_ends_message = true;
            if self.skip == 0 {
                self.skip_ends_message = false;
                return Some(Incoming::TooLarge);
            }
        } else {
            let text = head.opcode == 1;
            self.fragments = Some(Box::new(Fragments { text, data: BytesMut::new(), too_large: true }));
        }
        None
    }

    fn fail(&mut self, close: Close) -> Incoming {
        self.broken = true;
        self.fragments = None;
        Incoming::Broken(close)
    }

    fn frame(&mut self, fin: bool, opcode: OpCode, payload: BytesMut) -> Option<Incoming> {
        match opcode {
            OpCode::Text | OpCode::Binary => {
                if self.fragments.is_some() {
                    return Some(self.fail(Close::ProtocolError));
                }
                let text = opcode == OpCode::Text;
                if fin {
                    return Some(self.message(text, payload));
                }
                self.fragments = Some(Box::new(Fragments { text, data: payload, too_large: false }));
                None
            }
            OpCode::Continue => {
                let Some(mut fragments) = self.fragments.take() else { return Some(self.fail(Close::ProtocolError)) };
                fragments.data.extend_from_slice(&payload);
                if fin {
                    return Some(self.message(fragments.text, fragments.data));
                }
                self.fragments = Some(fragments);
                None
            }
            _ if !fin => Some(self.fail(Close::ProtocolError)),
            OpCode::Ping => Some(Incoming::Ping(payload.freeze())),
            OpCode::Pong => Some(Incoming::Pong),
            OpCode::Close => Some(self.close(&payload)),
            OpCode::Bad => Some(self.fail(Close::ProtocolError)),
        }
    }

    fn message(&mut self, text: bool, data: BytesMut) -> Incoming {
        match text {
            false => Incoming::Binary(data.freeze()),
            true if std::str::from_utf8(&data).is_ok() => Incoming::Text(data.freeze()),
            true => self.fail(Close::InvalidUtf8),
        }
    }

    fn close(&mut self, payload: &[u8]) -> Incoming {
        if payload.len() > 2 && std::str::from_utf8(&payload[2..]).is_err() {
            return self.fail(Close::InvalidUtf8);
        }
        match Parser::try_parse_close_payload(payload) {
            Ok(_) => {
                self.broken = true;
                let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                Incoming::Close(code)
            }
            Err(_) => self.fail(Close::ProtocolError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![opcode | if fin { 0x80 } else { 0 }];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len @ 126..=0xFFFF => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        frame.extend(mask);
        frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
        frame
    }

    /// All messages of a byte stream that arrives in pieces of `step`.
    fn decode(bytes: &[u8], step: usize, limit: usize) -> Vec<String> {
        let (mut decoder, mut buffer, mut seen) = (Decoder::new(limit), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(incoming) = decoder.next(&mut buffer) {
                seen.push(match incoming {
                    Incoming::Binary(data) => format!("binary {}", data.len()),
                    other => format!("{other:?}"),
                });
            }
        }
        seen
    }

    #[test]
    fn messages_arrive_whole_however_the_bytes_are_cut() {
        let mut bytes = client(2, true, &[9; 300]);
        bytes.extend(client(2, false, &[1; 10]));
        bytes.extend(client(9, true, b"hi"));
        bytes.extend(client(0, true, &[2; 70_000]));
        bytes.extend(client(8, true, &4000u16.to_be_bytes()));
        for step in [1, 2, 7, 1000, 1_000_000] {
            let expected = ["binary 300", "Ping(b\"hi\")", "binary 70010", "Close(Some(4000))"];
            assert_eq!(decode(&bytes, step, 100_000), expected, "step {step}");
        }
    }

    #[test]
    fn oversized_messages_are_passed_over_and_the_next_one_is_read() {
        let mut bytes = client(2, true, &[0; 500]);
        bytes.extend(client(2, true, &[0; 5]));
        bytes.extend(client(2, false, &[0; 80]));
        bytes.extend(client(0, false, &[0; 80]));
        bytes.extend(client(10, true, b""));
        bytes.extend(client(0, true, &[0; 1]));
        bytes.extend(client(2, true, &[0; 100]));
        for step in [1, 3, 64, 10_000] {
            assert_eq!(decode(&bytes, step, 100), ["TooLarge", "binary 5", "Pong", "TooLarge", "binary 100"], "{step}");
        }
    }

    #[test]
    fn broken_protocol_ends_with_its_code() {
        let unmasked = vec![0x82, 0x01, 0x00];
        let reserved = client(0x42, true, b"x");
        let lonely = client(0, true, b"x");
        let long_ping = client(9, true, &[0; 126]);
        let split_ping = client(9, false, b"");
        let bad_close = client(8, true, &1005u16.to_be_bytes());
        for bytes in [unmasked, reserved, lonely, long_ping, split_ping, bad_close] {
            assert_eq!(decode(&bytes, 1000, 100), ["Broken(ProtocolError)"], "{bytes:?}");
        }
        assert_eq!(decode(&client(1, true, &[0xFF]), 1000, 100), ["Broken(InvalidUtf8)"]);
    }
}
