//! Between the wire's protobuf and the domain's words, for client frames. The only file of the runtime that knows
//! protobuf field numbers.

use bytes::{BufMut, Bytes, BytesMut};
use mics_domain::codes::FrameError;
use mics_domain::message::{Ack, Kind, Message};
use mics_proto::message::{
    self as pb, ClientFrame, ConnectAck, HeartbeatPong, MessageAck, MessageRequest, ServerError, ServerFrame,
    client_frame, server_frame,
};
use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::frame;

/// A decoded client frame.
#[derive(Debug)]
pub enum FromClient {
    Message {
        request: Box<MessageRequest>,
        unknown_fields: Bytes,
    },
    Ping,
    /// Empty, or a payload from the future.
    Nothing,
}

/// Decodes one binary message. Unknown fields of a chat message are kept as they came.
pub fn client_frame(bytes: &[u8]) -> Result<FromClient, FrameError> {
    let frame = ClientFrame::decode(bytes).map_err(|_| FrameError::InvalidProtobuf)?;
    Ok(match frame.payload {
        Some(client_frame::Payload::Message(request)) => {
            let unknown_fields = nested(bytes, 1).map(unknown_fields).unwrap_or_default();
            FromClient::Message { request: Box::new(request), unknown_fields }
        }
        Some(client_frame::Payload::HeartbeatPing(_)) => FromClient::Ping,
        None => FromClient::Nothing,
    })
}

/// The bytes of the last field `number` of wire type 2.
fn nested(mut bytes: &[u8], number: u32) -> Option<&[u8]> {
    let mut found = None;
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes).ok()?;
        let before = bytes;
        let len = skip(&mut bytes, wire_type)?;
        if tag == number && wire_type == WireType::LengthDelimited {
            let consumed = before.len() - bytes.len();
            found = Some(&before[consumed - len..consumed]);
        }
    }
    found
}

/// Steps over a field's value; returns the length of its content.
fn skip(bytes: &mut &[u8], wire_type: WireType) -> Option<usize> {
    let len = match wire_type {
        WireType::Varint => {
            decode_varint(bytes).ok()?;
            return Some(0);
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(bytes).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    *bytes = bytes.get(len..)?;
    Some(len)
}

/// Everything in a MessageRequest whose number is not 1 to 9.
fn unknown_fields(mut bytes: &[u8]) -> Bytes {
    let mut kept = BytesMut::new();
    while !bytes.is_empty() {
        let start = bytes;
        let Ok((tag, wire_type)) = decode_key(&mut bytes) else { break };
        if skip(&mut bytes, wire_type).is_none() {
            break;
        }
        if tag > 9 {
            kept.put_slice(&start[..start.len() - bytes.len()]);
        }
    }
    kept.freeze()
}

pub fn kind(number: i32) -> Kind {
    match pb::MessageType::try_from(number) {
        Ok(pb::MessageType::SingleChat) => Kind::Single,
        Ok(pb::MessageType::GroupChat) => Kind::Group,
        Err(_) => Kind::Unknown(number),
    }
}

fn kind_number(kind: Kind) -> i32 {
    match kind {
        Kind::Single => pb::MessageType::SingleChat as i32,
        Kind::Group => pb::MessageType::GroupChat as i32,
        Kind::Unknown(number) => number,
    }
}

/// The message as a protobuf, known fields only.
pub fn request(message: &Message) -> MessageRequest {
    MessageRequest {
        tenant_id: message.tenant.to_string(),
        user_id: message.user.to_string(),
        device_id: message.device.to_string(),
        msg_id: message.msg_id.clone(),
        msg_type: kind_number(message.kind),
        to_user_id: message.to_user.clone(),
        group_id: message.group.clone(),
        msg_body: message.body.clone(),
        timestamp_ms: message.timestamp_ms,
    }
}

/// The normalised message as bytes, unknown fields included.
pub fn request_bytes(message: &Message) -> Bytes {
    let request = request(message);
    let mut out = BytesMut::with_capacity(request.encoded_len() + message.unknown_fields.len());
    // Encoding into a growing buffer can't fail.
    let _ = request.encode(&mut out);
    out.put_slice(&message.unknown_fields);
    out.freeze()
}

/// A delivery of ready MessageRequest bytes as a ready WebSocket frame: `ServerFrame{delivery{message}}`.
pub fn delivery_of(request: &[u8]) -> Bytes {
    let message = key_len(1) + encoded_len_varint(request.len() as u64) + request.len();
    let len = key_len(2) + encoded_len_varint(message as u64) + message;
    frame::binary_with(len, |out| {
        encode_key(2, WireType::LengthDelimited, out);
        encode_varint(message as u64, out);
        encode_key(1, WireType::LengthDelimited, out);
        encode_varint(request.len() as u64, out);
        out.put_slice(request);
    })
}

fn server(payload: server_frame::Payload) -> Bytes {
    let server = ServerFrame { payload: Some(payload) };
    frame::binary_with(server.encoded_len(), |out| {
        let _ = server.encode(out);
    })
}

pub fn ack(ack: &Ack, now_ms: i64) -> Bytes {
    server(server_frame::Payload::Ack(MessageAck {
        msg_id: ack.msg_id.clone(),
        status: if ack.sent { pb::AckStatus::Sent } else { pb::AckStatus::Failed } as i32,
        timestamp_ms: now_ms,
        reason: ack.reason.clone(),
        partial_delivery: ack.skipped > 0 || ack.cut_short,
        offline_notified_users: ack.notified,
        offline_buffered_users: ack.buffered,
        offline_skipped_users: ack.skipped,
    }))
}

pub fn pong(now_ms: i64) -> Bytes {
    server(server_frame::Payload::HeartbeatPong(HeartbeatPong { timestamp_ms: now_ms }))
}

pub fn error(error: FrameError) -> Bytes {
    server(server_frame::Payload::Error(ServerError { code: error.code(), message: error.message().into() }))
}

pub fn connect_ack(ack: ConnectAck) -> Bytes {
    server(server_frame::Payload::ConnectAck(ack))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_of_a_message_survive() {
        let mut request = MessageRequest { msg_id: "m".into(), ..Default::default() }.encode_to_vec();
        let future = [0x9a, 0x06, 0x02, 0xAA, 0xBB];
        request.extend(future);
        let mut frame = vec![0x0a, request.len() as u8];
        frame.extend(&request);
        let Ok(FromClient::Message { request, unknown_fields }) = client_frame(&frame) else { panic!() };
        assert_eq!(request.msg_id, "m");
        assert_eq!(&unknown_fields[..], future);
    }

    #[test]
    fn garbage_is_refused_and_emptiness_is_nothing() {
        assert!(matches!(client_frame(&[]), Ok(FromClient::Nothing)));
        for garbage in [&[0xFFu8, 0xFF, 0xFF][..], &[0x0a, 0x7f, 1], &[0x0b, 0x0c]] {
            assert!(client_frame(garbage).is_err(), "{garbage:?}");
        }
    }
}
