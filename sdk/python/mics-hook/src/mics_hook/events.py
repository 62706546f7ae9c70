"""Events of the tenant's Kafka topics: names, decoding, verification."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ._proto.mics_hook_pb2 import (
    CONNECT_OFFLINE,
    CONNECT_ONLINE,
    GROUP_CHAT_MSG,
    OFFLINE_MESSAGE,
    SINGLE_CHAT_MSG,
    MqEvent,
)
from ._proto.mics_message_pb2 import ConnectAck, MessageRequest
from .signing import verify_mq_event_value

_CHAT = (SINGLE_CHAT_MSG, GROUP_CHAT_MSG, OFFLINE_MESSAGE)
_CONNECTION = (CONNECT_ONLINE, CONNECT_OFFLINE)


def event_topic_name(tenant_id: str) -> str:
    """The topic of a tenant's events."""
    return f"im-mics-{tenant_id}-event"


def dlq_topic_name(tenant_id: str) -> str:
    """The topic of a tenant's dead letters."""
    return f"im-mics-{tenant_id}-event-dlq"


def decode_mq_event(value: bytes) -> MqEvent | None:
    """The event in a record's value; None when it is none."""
    try:
        return MqEvent.FromString(value)
    except DecodeError:
        return None


@dataclass(frozen=True, slots=True)
class MqVerifyResult:
    """`reason` is empty when `ok`, else `invalid protobuf` or `invalid sign`; `event` is what could be decoded."""

    ok: bool
    reason: str
    event: MqEvent | None


def decode_and_verify_mq_event(value: bytes, tenant_secret: str, require_sign: bool = True) -> MqVerifyResult:
    """Decodes a record's value and checks its signature over the bytes as received.

    Without `require_sign` an unsigned event passes; a signature that is there must be right.
    """
    event = decode_mq_event(value)
    if event is None:
        return MqVerifyResult(False, "invalid protobuf", None)
    if not event.sign and not require_sign:
        return MqVerifyResult(True, "", event)
    ok = bool(event.sign) and bool(tenant_secret) and verify_mq_event_value(tenant_secret, value, event.sign)
    return MqVerifyResult(ok, "" if ok else "invalid sign", event)


def decode_event_message(event: MqEvent) -> MessageRequest | None:
    """The chat message of SINGLE_CHAT_MSG, GROUP_CHAT_MSG and OFFLINE_MESSAGE; None for other types or bad data."""
    if event.event_type not in _CHAT:
        return None
    try:
        return MessageRequest.FromString(event.event_data)
    except DecodeError:
        return None


def decode_event_connect_ack(event: MqEvent) -> ConnectAck | None:
    """What CONNECT_ONLINE and CONNECT_OFFLINE carry; None for other types or bad data."""
    if event.event_type not in _CONNECTION:
        return None
    try:
        return ConnectAck.FromString(event.event_data)
    except DecodeError:
        return None


def event_key(event: MqEvent) -> tuple[str, ...]:
    """What names an event: one that Kafka has twice is the same byte for byte, so it has the same key.

    The time is part of it because some clients start their message ids over, and theirs must not pass for repeated.
    """
    kind = str(event.event_type)
    if event.event_type in _CONNECTION:
        return (event.tenant_id, kind, event.trace_id)
    sender = (event.user_id, event.device_id, event.msg_id)
    return (event.tenant_id, kind, *sender, event.to_user_id, str(event.timestamp))
