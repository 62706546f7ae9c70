"""Bytes that all SDKs agree on: proto/vectors."""

from __future__ import annotations

import pytest

from mics_client import AesGcmMessageCrypto, CryptoError, close_action
from mics_client._proto import mics_message_pb2 as pb

from .support import vectors

FRAMES = [v for v in vectors("frames.json")["vectors"] if v["type"] in ("ClientFrame", "ServerFrame")]
ENVELOPES = vectors("envelopes.json")


def fill(message: object, fields: dict[str, object]) -> None:
    """Sets the fields of a vector, whose bytes are in `<name>_hex` and whose enums are named."""
    for name, value in fields.items():
        if isinstance(value, dict):
            inner = getattr(message, name)
            inner.SetInParent()
            fill(inner, value)
        elif name.endswith("_hex"):
            setattr(message, name.removesuffix("_hex"), bytes.fromhex(str(value)))
        elif name in ("msg_type", "status"):
            setattr(message, name, getattr(pb, str(value)))
        else:
            setattr(message, name, value)


@pytest.mark.parametrize("vector", FRAMES, ids=lambda v: v["name"])
def test_frames_have_the_shared_bytes(vector: dict[str, object]) -> None:
    frame = getattr(pb, str(vector["type"]))()
    payload = getattr(frame, str(vector["payload"]))
    payload.SetInParent()
    fields = vector["fields"]
    assert isinstance(fields, dict)
    fill(payload, fields)
    assert frame.SerializeToString().hex() == vector["hex"]
    assert type(frame).FromString(bytes.fromhex(str(vector["hex"]))) == frame


@pytest.mark.parametrize("vector", ENVELOPES["vectors"], ids=lambda v: v["name"])
def test_envelopes_have_the_shared_bytes(vector: dict[str, str]) -> None:
    crypto = AesGcmMessageCrypto(bytes.fromhex(vector["key_hex"]))
    text, envelope = bytes.fromhex(vector["plaintext_hex"]), bytes.fromhex(vector["envelope_hex"])
    assert crypto.decrypt(envelope) == text
    if text:
        assert crypto._seal(bytes.fromhex(vector["nonce_hex"]), text) == envelope
    else:
        assert crypto.encrypt(text) == envelope


@pytest.mark.parametrize("vector", ENVELOPES["rejected"], ids=lambda v: v["name"])
def test_bad_envelopes_are_refused(vector: dict[str, str]) -> None:
    with pytest.raises(CryptoError):
        AesGcmMessageCrypto(bytes.fromhex(vector["key_hex"])).decrypt(bytes.fromhex(vector["envelope_hex"]))


def test_every_envelope_has_its_own_nonce() -> None:
    crypto = AesGcmMessageCrypto(bytes(32))
    a, b = crypto.encrypt(b"x"), crypto.encrypt(b"x")
    assert a[1:13] != b[1:13]
    assert crypto.decrypt(a) == crypto.decrypt(b) == b"x"


@pytest.mark.parametrize("size", [0, 15, 31, 33])
def test_keys_of_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(CryptoError):
        AesGcmMessageCrypto(bytes(size))


@pytest.mark.parametrize("entry", vectors("close-codes.json")["close"], ids=lambda e: f"{e['code']}-{e['name']}")
def test_close_codes_say_whether_to_come_back(entry: dict[str, object]) -> None:
    if entry["client"] is not None:
        code = entry["code"]
        assert isinstance(code, int)
        assert close_action(code).value == entry["client"]


def test_a_token_that_could_not_be_checked_may_be_tried_again() -> None:
    assert close_action(4001, "auth hook circuit open").value == "retry"
    assert close_action(4001, "bad token").value == "stop"
    assert close_action(4409, "canceled").value == "stop"
    assert close_action(4999).value == close_action(1006).value == "retry"
