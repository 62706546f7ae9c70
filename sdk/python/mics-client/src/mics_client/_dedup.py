"""Remembers recent deliveries so that one repeated by the gateway reaches the application once. Bounded."""

from __future__ import annotations

from ._proto.mics_message_pb2 import MessageRequest


class Dedup:
    """The last `window` deliveries as fingerprints, oldest forgotten first."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._seen: dict[int, None] = {}

    def is_repeated(self, m: MessageRequest) -> bool:
        """True when this delivery was seen before.

        Sender, device and msg_id name a message; target and body are part of the fingerprint because some clients
        restart their ids from "1".
        """
        if self._window <= 0 or not m.msg_id:
            return False
        print_ = hash((m.user_id, m.device_id, m.msg_id, m.to_user_id, m.group_id, m.msg_body))
        if print_ in self._seen:
            return True
        self._seen[print_] = None
        if len(self._seen) > self._window:
            del self._seen[next(iter(self._seen))]
        return False
