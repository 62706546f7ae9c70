//! WebSocket frames as a server writes them: unmasked, unfragmented, header included, ready to be shared by every
//! recipient. Must not know sockets.

use bytes::{BufMut, Bytes, BytesMut};
use mics_domain::codes::Close;

const FIN: u8 = 0x80;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PONG: u8 = 0xA;

/// Space for the header of a payload of `len` bytes.
pub fn header_len(len: usize) -> usize {
    match len {
        0..126 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

fn put_header(out: &mut BytesMut, opcode: u8, len: usize) {
    out.put_u8(FIN | opcode);
    match len {
        0..126 => out.put_u8(len as u8),
        126..=0xFFFF => {
            out.put_u8(126);
            out.put_u16(len as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(len as u64);
        }
    }
}

/// A binary frame whose payload is written by `fill` and is exactly `len` bytes long.
pub fn binary_with(len: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(header_len(len) + len);
    put_header(&mut out, BINARY, len);
    fill(&mut out);
    out.freeze()
}

/// A binary frame around ready bytes.
pub fn binary(payload: &[u8]) -> Bytes {
    binary_with(payload.len(), |out| out.put_slice(payload))
}

/// The payload of a frame made here.
pub fn payload(frame: &Bytes) -> Bytes {
    let header = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    frame.slice(header.min(frame.len())..)
}

/// A pong; `payload` at most 125 bytes.
pub fn pong(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(2 + payload.len());
    put_header(&mut out, PONG, payload.len());
    out.put_slice(payload);
    out.freeze()
}

/// A close frame with the code and reason of `close`.
pub fn close(close: &Close) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    match close.code() {
        None => put_header(&mut out, CLOSE, 0),
        Some(code) => {
            let reason = close.reason().as_bytes();
            put_header(&mut out, CLOSE, 2 + reason.len());
            out.put_u16(code);
            out.put_slice(reason);
        }
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_class_gets_its_header_and_gives_its_payload_back() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let body = vec![7u8; len];
            let frame = binary(&body);
            assert_eq!(frame.len(), header_len(len) + len);
            assert_eq!(frame[0], 0x82);
            assert_eq!(payload(&frame), body);
        }
    }

    #[test]
    fn close_frames_carry_code_and_reason() {
        assert_eq!(&close(&Close::Replaced)[..], b"\x88\x0a\x11\x39replaced");
        assert_eq!(&close(&Close::Echo(None))[..], b"\x88\x00");
    }
}
