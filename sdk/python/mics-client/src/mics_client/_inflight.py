"""Messages taken over from the application and not yet acked: order, attempts, time-outs. Touches no socket."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

from ._proto.mics_message_pb2 import MessageAck, MessageRequest
from .errors import DuplicateIdError, MicsError, SendDeadlineError


class Entry:
    """One message on its way."""

    __slots__ = ("ack_timer", "attempts", "outcome", "request", "written")

    def __init__(self, request: MessageRequest, outcome: asyncio.Future[MessageAck]) -> None:
        self.request = request
        self.outcome = outcome
        self.attempts = 0
        #: On the wire and waiting for its ack; false while queued for writing.
        self.written = False
        self.ack_timer: asyncio.TimerHandle | None = None

    def stop_timer(self) -> None:
        """Forgets the ack time-out."""
        if self.ack_timer is not None:
            self.ack_timer.cancel()
            self.ack_timer = None


class InFlight:
    """The unacked messages by id, in the order in which they were taken up."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def add(self, request: MessageRequest) -> Entry:
        """Takes a message up; `DuplicateIdError` when its id is in flight."""
        if request.msg_id in self._entries:
            raise DuplicateIdError(f"message id {request.msg_id} is already in flight")
        entry = Entry(request, asyncio.get_running_loop().create_future())
        self._entries[request.msg_id] = entry
        return entry

    def holds(self, entry: Entry) -> bool:
        """False once the message has its outcome."""
        return self._entries.get(entry.request.msg_id) is entry

    def mark_written(self, entry: Entry, ack_timeout: float, on_silent: Callable[[Entry], None]) -> None:
        """Counts an attempt; `on_silent` is called when no ack came within `ack_timeout` seconds."""
        entry.attempts += 1
        entry.written = True
        entry.stop_timer()
        entry.ack_timer = asyncio.get_running_loop().call_later(ack_timeout, on_silent, entry)

    def rewind(self) -> list[Entry]:
        """The connection is gone: everything is to be written again, in order.

        An attempt that the connection cut short doesn't count.
        """
        for entry in self._entries.values():
            entry.stop_timer()
            if entry.written:
                entry.written = False
                entry.attempts -= 1
        return list(self._entries.values())

    def finish(self, msg_id: str, ack: MessageAck) -> bool:
        """Ends a message with its ack; false for a late or unknown one."""
        entry = self._entries.pop(msg_id, None)
        if entry is None:
            return False
        entry.stop_timer()
        if not entry.outcome.done():
            entry.outcome.set_result(ack)
        return True

    def largest_written(self) -> Entry | None:
        """The message that a `frame too large` means: the error names none."""
        written = [e for e in self._entries.values() if e.written]
        return max(written, key=lambda e: len(e.request.msg_body), default=None)

    def discard(self, entry: Entry) -> None:
        """Forgets a message that nobody waits for any more."""
        entry.stop_timer()
        if self.holds(entry):
            del self._entries[entry.request.msg_id]

    def fail_all(self, error: Callable[[], MicsError]) -> None:
        """Ends every message with an error."""
        for entry in self:
            self.discard(entry)
            if not entry.outcome.done():
                entry.outcome.set_exception(error())


async def outcome_within(entry: Entry, seconds: float) -> MessageAck:
    """Waits for the outcome; `SendDeadlineError` when it takes longer."""
    await asyncio.wait({entry.outcome}, timeout=max(seconds, 0))
    if not entry.outcome.done():
        raise SendDeadlineError("send deadline passed")
    return entry.outcome.result()


class Outbox:
    """What is to be written, in order. It outlives connections: a new one starts with all that has no ack yet."""

    def __init__(self, flight: InFlight, encode: Callable[[Entry], bytes]) -> None:
        self._flight = flight
        self._encode = encode
        self._queue: deque[Entry] = deque()
        self._filled = asyncio.Event()

    def push(self, entry: Entry) -> None:
        """Lets a message be written next."""
        self._queue.append(entry)
        self._filled.set()

    def restart(self) -> None:
        """Begins again with all messages in flight."""
        self._queue = deque(self._flight.rewind())
        self._filled.set()

    async def next_frame(self) -> bytes:
        """The next frame to write; waits until there is one."""
        while True:
            while self._queue:
                entry = self._queue.popleft()
                if self._flight.holds(entry):
                    return self._encode(entry)
            self._filled.clear()
            await self._filled.wait()
