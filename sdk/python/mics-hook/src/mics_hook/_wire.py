"""Cuts fields out of protobuf bytes and leaves the rest as it is: fields that we don't know were signed, too."""

from __future__ import annotations

from collections.abc import Iterator


class WireError(ValueError):
    """Bytes that are no protobuf message."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and the position behind it."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise WireError("bad varint")


def _fields(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Per field: its number, where it starts, where its content starts, where it ends."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        content = at
        if kind == 0:
            _, at = _varint(data, at)
        elif kind == 1:
            at += 8
        elif kind == 2:
            size, content = _varint(data, at)
            at = content + size
        elif kind == 5:
            at += 4
        else:
            raise WireError("group or unknown wire type")
        if number == 0 or at > len(data):
            raise WireError("bad field")
        yield number, start, content, at


def without_field(data: bytes, number: int) -> bytes:
    """`data` without the fields of this number."""
    return b"".join(data[start:end] for n, start, _, end in _fields(data) if n != number)


def without_meta_sign(request: bytes) -> bytes:
    """A hook request without the field `sign` (4) of its `meta` (1)."""
    out, metas = bytearray(), 0
    for number, start, content, end in _fields(request):
        if number != 1:
            out += request[start:end]
            continue
        metas += 1
        meta = without_field(request[content:end], 4)
        out += b"\x0a" + _varint_bytes(len(meta)) + meta
    if metas > 1:
        # A parser would merge them; what was signed then is anyone's guess.
        raise WireError("more than one meta")
    return bytes(out)


def _varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
