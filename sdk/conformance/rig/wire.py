"""As much protobuf and signing as the rig needs to speak for itself, independent of every SDK.

A message is written as a sequence of (number, value) in ascending order; ints, str, bytes and nested sequences are
values, and default values are left out, as canonical proto3 wants it.
"""

import base64
import hashlib
import hmac
import struct


def varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(*fields):
    """Bytes of a message. A nested message is given as bytes made by this function."""
    out = b""
    for number, value in fields:
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, bytes):
            if value:
                out += varint(number << 3 | 2) + varint(len(value)) + value
        elif value:
            out += varint(number << 3) + varint(int(value))
    return out


def _read_varint(data, at):
    shift = result = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7


def fields(data):
    """Number -> list of values (int or bytes) of a message; ValueError or IndexError when it's none."""
    found, at = {}, 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _read_varint(data, at)
        elif kind == 2:
            length, at = _read_varint(data, at)
            value, at = data[at:at + length], at + length
            if len(value) != length:
                raise ValueError("cut short")
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            value, at = data[at:at + length], at + length
        else:
            raise ValueError(f"wire type {kind}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def number(found, key):
    return found.get(key, [0])[-1]


def text(found, key):
    return found.get(key, [b""])[-1].decode()


def sub(found, key):
    return fields(found.get(key, [b""])[-1])


def chat(msg_id, body, to="", group=""):
    """A ClientFrame with a chat message."""
    return message((1, message((4, msg_id), (5, 1 if group else 0), (6, to), (7, group), (8, body))))


def hook_request(secret, tenant, request_id, at_ms, rest, meta_extra=b"", sign=None):
    """Body of a hook request. `rest`: the fields after meta, as bytes. `sign`: None computes it, "" leaves it out."""
    def meta(signature):
        fields_before = [(1, tenant), (2, request_id), (3, at_ms)]
        return message(*fields_before, (4, signature)) + message((5, "trace")) + meta_extra

    if sign is None:
        cleared = message((1, meta(""))) + rest
        signed = cleared + request_id.encode() + struct.pack("<q", at_ms)
        sign = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
    return message((1, meta(sign))) + rest
