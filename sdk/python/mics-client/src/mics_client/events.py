"""What the client tells the application, and the bounded queue in between.

The queue never blocks the connection: when the application doesn't read, events are dropped and the loss is told.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ._proto.mics_message_pb2 import MessageAck, MessageRequest, ServerError
from .errors import CloseInfo


class ConnectionState(enum.Enum):
    """Where the connection is in its life."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    #: `disconnect()` was called and the connection is being closed.
    DISPOSING = "disposing"


@dataclass(frozen=True, slots=True)
class MicsSession:
    """What `connect_ack` said; `trace_id` names the connection in the gateway's logs."""

    tenant_id: str
    user_id: str
    device_id: str
    node_id: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The connection came into this state."""

    state: ConnectionState


@dataclass(frozen=True, slots=True)
class Connected:
    """A session was opened: at the start and after every reconnect."""

    session: MicsSession


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message for this user. With `decrypt_failed` its body couldn't be decrypted and is handed over as it came."""

    message: MessageRequest
    decrypt_failed: bool = False


@dataclass(frozen=True, slots=True)
class AckReceived:
    """An outcome of a message: the gateway's, or local (`ack timeout`, `frame too large`)."""

    ack: MessageAck


@dataclass(frozen=True, slots=True)
class ServerErrorReceived:
    """An error frame (4400, 4401); the connection stays open."""

    error: ServerError


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection, or an attempt to reconnect for good, ended. `reconnecting`: the client comes back by itself."""

    info: CloseInfo
    reconnecting: bool


@dataclass(frozen=True, slots=True)
class Overflow:
    """This many events were dropped here because the application didn't read fast enough."""

    dropped: int


Event = StateChanged | Connected | Delivery | AckReceived | ServerErrorReceived | Closed | Overflow

#: Room above the capacity, so that a full queue of deliveries doesn't hide a lost connection.
_STATE_RESERVE = 64


class EventStream(AsyncIterator[Event]):
    """The events of a client in the order in which they happened; ends when the client is disconnected for good."""

    def __init__(self, capacity: int) -> None:
        self._events: deque[Event] = deque()
        self._capacity = capacity
        self._dropped = 0
        self._ended = False
        self._ready = asyncio.Event()
        #: Events lost since the start.
        self.dropped_total = 0

    def _push(self, event: Event) -> int:
        """Takes `event` in; gives how many were dropped, 0 or 1."""
        important = isinstance(event, (StateChanged, Connected, Closed))
        room = self._capacity + (_STATE_RESERVE if important else 0)
        if len(self._events) >= room:
            self._dropped += 1
            self.dropped_total += 1
            return 1
        self._tell_dropped()
        self._events.append(event)
        self._ready.set()
        return 0

    def _tell_dropped(self) -> None:
        """Tells a loss at the place in the order where it happened."""
        if self._dropped:
            self._events.append(Overflow(self._dropped))
            self._dropped = 0

    def _end(self) -> None:
        self._tell_dropped()
        self._ended = True
        self._ready.set()

    async def __anext__(self) -> Event:
        while not self._events:
            self._tell_dropped()
            if self._events:
                break
            if self._ended:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._events.popleft()
