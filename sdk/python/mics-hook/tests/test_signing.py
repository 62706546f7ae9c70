"""Signatures against proto/vectors, and over bytes that we don't fully understand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mics_hook as hook
from mics_hook._wire import WireError, without_field, without_meta_sign

VECTORS = Path(__file__).parents[4] / "proto" / "vectors"
HOOKS: list[dict[str, Any]] = json.loads((VECTORS / "hook-signatures.json").read_text())["vectors"]
EVENTS: list[dict[str, Any]] = json.loads((VECTORS / "event-signatures.json").read_text())["vectors"]
FRAMES: list[dict[str, Any]] = json.loads((VECTORS / "frames.json").read_text())["vectors"]


@pytest.mark.parametrize("v", HOOKS, ids=lambda v: v["name"])
def test_hook_requests_have_the_shared_signatures(v: dict[str, Any]) -> None:
    cleared = bytes.fromhex(v["cleared_hex"])
    request = getattr(hook, v["type"]).FromString(cleared)
    request.meta.sign = v["sign"]
    sent = request.SerializeToString()
    assert sent.hex() == v.get("sent_hex", sent.hex())
    assert without_meta_sign(sent) == cleared
    assert hook.compute_hook_sign_base64(v["key"], request.meta, cleared) == v["sign"] == request.meta.sign
    assert hook.verify_hook_body(v["key"], request.meta, sent)
    assert not hook.verify_hook_body("another", request.meta, sent)


@pytest.mark.parametrize("v", HOOKS[:2], ids=lambda v: v["name"])
def test_every_changed_byte_of_a_hook_request_is_noticed(v: dict[str, Any]) -> None:
    sent = bytes.fromhex(v["sent_hex"])
    for i in range(len(sent)):
        changed = sent[:i] + bytes([sent[i] ^ 1]) + sent[i + 1 :]
        decoded = hook.AuthRequest()
        try:
            decoded = getattr(hook, v["type"]).FromString(changed)
        except Exception:  # noqa: S112 - not even a message
            continue
        assert not hook.verify_hook_body(v["key"], decoded.meta, changed), i


@pytest.mark.parametrize("v", HOOKS, ids=lambda v: v["name"])
def test_unknown_fields_are_harmless(v: dict[str, Any]) -> None:
    """A newer gateway may send fields that we don't know, in the request and in its meta; they are signed with it."""
    request = getattr(hook, v["type"]).FromString(bytes.fromhex(v["cleared_hex"]))
    meta = request.meta.SerializeToString() + b"\xf2\x3f\x03new"  # field 1022, bytes
    rest = without_field(bytes.fromhex(v["cleared_hex"]), 1)

    def body(meta_bytes: bytes) -> bytes:
        assert len(meta_bytes) < 0x4000
        size = bytes([len(meta_bytes) & 0x7F | 0x80, len(meta_bytes) >> 7])
        return (
            b"\x0a"
            + (size if len(meta_bytes) > 0x7F else bytes([len(meta_bytes)]))
            + meta_bytes
            + rest
            + b"\xf8\x3f\x07"
        )

    sign = hook.compute_hook_sign_base64(v["key"], request.meta, body(meta))
    received = body(meta + b"\x22" + bytes([len(sign)]) + sign.encode())
    decoded = getattr(hook, v["type"]).FromString(received)
    assert hook.verify_hook_body(v["key"], decoded.meta, received)
    assert not hook.verify_hook_body(v["key"], decoded.meta, received[:-1] + b"\x08")


@pytest.mark.parametrize("v", EVENTS, ids=lambda v: v["name"])
def test_events_have_the_shared_signatures(v: dict[str, Any]) -> None:
    sent, signed = bytes.fromhex(v["sent_hex"]), bytes.fromhex(v["signed_hex"])
    assert without_field(sent, 11) == signed
    assert hook.compute_mq_event_sign_base64(v["key"], signed) == v["sign"]
    result = hook.decode_and_verify_mq_event(sent, v["key"])
    assert result.ok
    assert result.event is not None
    assert result.event.SerializeToString() == sent
    # A field of the future, signed along.
    extended = signed + b"\xf8\x3f\x07"
    sign = hook.compute_mq_event_sign_base64(v["key"], extended).encode()
    assert hook.decode_and_verify_mq_event(extended + b"\x5a" + bytes([len(sign)]) + sign, v["key"]).ok


def test_event_results_say_why() -> None:
    v = EVENTS[0]
    sent, signed = bytes.fromhex(v["sent_hex"]), bytes.fromhex(v["signed_hex"])
    assert hook.decode_and_verify_mq_event(sent, "another").reason == "invalid sign"
    assert hook.decode_and_verify_mq_event(sent, "another", require_sign=False).reason == "invalid sign"
    assert hook.decode_and_verify_mq_event(signed, v["key"]).reason == "invalid sign"
    assert hook.decode_and_verify_mq_event(signed, v["key"], require_sign=False).ok
    assert hook.decode_and_verify_mq_event(b"\xff", v["key"]).reason == "invalid protobuf"
    assert not hook.decode_and_verify_mq_event(sent, "").ok


def test_offline_messages_decode_like_the_other_chat_events() -> None:
    by_type = {v["fields"]["event_type"]: hook.decode_mq_event(bytes.fromhex(v["sent_hex"])) for v in EVENTS}
    for kind, event in by_type.items():
        assert event is not None
        is_chat = not kind.startswith("CONNECT")
        assert (hook.decode_event_message(event) is not None) == is_chat
        assert (hook.decode_event_connect_ack(event) is not None) != is_chat
    offline = by_type["OFFLINE_MESSAGE"]
    assert offline is not None
    message = hook.decode_event_message(offline)
    assert message is not None
    assert message.msg_id == offline.msg_id


def test_topic_names() -> None:
    assert hook.event_topic_name("t1") == "im-mics-t1-event"
    assert hook.dlq_topic_name("t1") == "im-mics-t1-event-dlq"


@pytest.mark.parametrize("v", [f for f in FRAMES if hasattr(hook, f["type"])], ids=lambda v: v["name"])
def test_messages_have_the_shared_bytes(v: dict[str, Any]) -> None:
    assert getattr(hook, v["type"]).FromString(bytes.fromhex(v["hex"])).SerializeToString().hex() == v["hex"]


@pytest.mark.parametrize(
    "bad", [b"\x0a", b"\x0a\x05a", b"\x00\x00", b"\x0b", b"\x80" * 11, b"\x0d\x00", b"\x0a\x00\x0a\x00"]
)
def test_bytes_that_are_no_request_are_refused(bad: bytes) -> None:
    with pytest.raises(WireError):
        without_meta_sign(bad)
