"""Signatures of hook requests and events: HMAC-SHA256, standard base64 with padding."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct

from ._proto.mics_hook_pb2 import HookMeta
from ._wire import WireError, without_field, without_meta_sign

_EVENT_SIGN = 11


def compute_hook_sign_base64(secret: str, meta: HookMeta, payload: bytes) -> str:
    """The signature of a hook request; `payload` are its bytes with `meta.sign` cleared."""
    suffix = meta.request_id.encode() + struct.pack("<q", meta.timestamp_ms)
    return _sign(secret, payload + suffix)


def verify_hook_sign(secret: str, meta: HookMeta, payload: bytes, sign: str) -> bool:
    """True when `sign` is the signature of `payload` (the request with `meta.sign` cleared)."""
    return _same(compute_hook_sign_base64(secret, meta, payload), sign)


def verify_hook_body(secret: str, meta: HookMeta, body: bytes) -> bool:
    """True when the request `body`, as received, carries its own valid signature in `meta.sign`.

    The signature is cut out of the received bytes, so fields that this SDK doesn't know don't matter.
    """
    try:
        return verify_hook_sign(secret, meta, without_meta_sign(body), meta.sign)
    except WireError:
        return False


def compute_mq_event_sign_base64(secret: str, payload: bytes) -> str:
    """The signature of an event; `payload` are its bytes without field 11 (`sign`)."""
    return _sign(secret, payload)


def verify_mq_event_sign(secret: str, payload: bytes, sign: str) -> bool:
    """True when `sign` is the signature of `payload` (the event without `sign`)."""
    return _same(compute_mq_event_sign_base64(secret, payload), sign)


def verify_mq_event_value(secret: str, value: bytes, sign: str) -> bool:
    """True when the Kafka record `value`, as received, is signed by `sign`."""
    try:
        return verify_mq_event_sign(secret, without_field(value, _EVENT_SIGN), sign)
    except WireError:
        return False


def _sign(secret: str, data: bytes) -> str:
    return base64.b64encode(hmac.new(secret.encode(), data, hashlib.sha256).digest()).decode()


def _same(expected: str, given: str) -> bool:
    # Comparing the texts refuses every spelling of base64 but the canonical one.
    return hmac.compare_digest(expected.encode(), given.encode())
