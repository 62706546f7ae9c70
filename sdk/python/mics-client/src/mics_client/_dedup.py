"""Remembers recent deliveries so that one repeated by the gateway reaches the application once. Bounded."""

from __future__ import annotations

from ._proto.mics_message_pb2 import MessageRequest


class Dedup:
    """The last `window` deliveries as fingerprints, oldest forgotten first."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._seen: dict[int, None] = {}

    def fingerprint(self, m: MessageRequest) -> int | None:
        """Names a delivery; None when it can't be recognised (blank id, or switched off).

        Sender, device and msg_id name a message; target and body are part of the fingerprint because some clients
        restart their ids from "1".
        """
        if self._window <= 0 or not m.msg_id:
            return None
        return hash((m.user_id, m.device_id, m.msg_id, m.to_user_id, m.group_id, m.msg_body))

    def knows(self, fingerprint: int | None) -> bool:
        """True when this delivery was handed over before."""
        return fingerprint in self._seen

    def remember(self, fingerprint: int | None) -> None:
        """Tells that it was handed over."""
        if fingerprint is None:
            return
        self._seen[fingerprint] = None
        if len(self._seen) > self._window:
            del self._seen[next(iter(self._seen))]
