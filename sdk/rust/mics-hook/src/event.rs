//! Events of the topic: names, verification, typed content.

use mics_proto::hook::{EventType, MqEvent};
use mics_proto::message::{ConnectAck, MessageRequest};
use mics_proto::prost::Message;

use crate::sign;

/// The topic with the events of a tenant.
pub fn event_topic(tenant: &str) -> String {
    format!("im-mics-{tenant}-event")
}

/// The topic for what could not be published or handled; same keys and values.
pub fn dead_letter_topic(tenant: &str) -> String {
    format!("{}-dlq", event_topic(tenant))
}

/// What an event tells.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventData {
    Online(ConnectAck),
    Offline(ConnectAck),
    /// A message to one user or to a group was taken over; it may have failed afterwards.
    Chat(MessageRequest),
    /// `to_user_id` of the event was nowhere: keep the message for it.
    OfflineMessage(MessageRequest),
    /// A kind of event that this version does not know.
    Unknown(i32),
}

/// Why a record is no event of its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error("invalid protobuf")]
    Protobuf,
    #[error("event of another tenant")]
    Tenant,
    #[error("invalid sign")]
    Sign,
}

/// Reads and checks the value of a record from the topic of `tenant`. With a secret the signature must be right; an
/// unsigned event passes unless `require_sign`.
pub fn verify(
    tenant: &str,
    secret: Option<&str>,
    require_sign: bool,
    value: &[u8],
) -> Result<(MqEvent, EventData), EventError> {
    let event = MqEvent::decode(value).map_err(|_| EventError::Protobuf)?;
    if event.tenant_id != tenant {
        return Err(EventError::Tenant);
    }
    let fine = match (event.sign.is_empty(), secret) {
        (true, _) => !require_sign,
        (false, Some(secret)) => sign::verify_event(secret, value, &event.sign),
        (false, None) => false,
    };
    if !fine {
        return Err(EventError::Sign);
    }
    let data = content(&event)?;
    Ok((event, data))
}

fn content(event: &MqEvent) -> Result<EventData, EventError> {
    let data = event.event_data.clone();
    let chat = |data| MessageRequest::decode(data).map_err(|_| EventError::Protobuf);
    let session = |data| ConnectAck::decode(data).map_err(|_| EventError::Protobuf);
    Ok(match EventType::try_from(event.event_type) {
        Ok(EventType::ConnectOnline) => EventData::Online(session(data)?),
        Ok(EventType::ConnectOffline) => EventData::Offline(session(data)?),
        Ok(EventType::SingleChatMsg | EventType::GroupChatMsg) => EventData::Chat(chat(data)?),
        Ok(EventType::OfflineMessage) => EventData::OfflineMessage(chat(data)?),
        Err(_) => EventData::Unknown(event.event_type),
    })
}

/// Names an event, also when it comes a second time: messages by sender, id and recipient, connections by their trace.
pub fn identity(event: &MqEvent) -> String {
    let parts: [&str; 4] = match EventType::try_from(event.event_type) {
        Ok(EventType::ConnectOnline | EventType::ConnectOffline) => [&event.trace_id, "", "", ""],
        _ => [&event.user_id, &event.device_id, &event.msg_id, &event.to_user_id],
    };
    // Lengths in front keep ids with separators apart.
    let named: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
    format!("{}/{}/{named}", event.tenant_id, event.event_type)
}
