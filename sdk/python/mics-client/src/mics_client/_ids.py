"""Message ids: UUIDv7 (RFC 9562), unique everywhere and ordered by time."""

from __future__ import annotations

import os
import time
import uuid


def new_msg_id() -> str:
    """32 lower-case hex digits: 48 bits of Unix milliseconds, then 74 random bits beside version and variant."""
    value = int.from_bytes(os.urandom(16), "big")
    value = (value & ((1 << 80) - 1)) | ((time.time_ns() // 1_000_000) << 80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value).hex
