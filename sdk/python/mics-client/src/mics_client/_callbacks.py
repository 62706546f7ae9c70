"""The callback form of the events: settable attributes, called one after the other in the order of events."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from ._proto.mics_message_pb2 import MessageAck, ServerError
from .events import (
    AckReceived,
    Closed,
    Connected,
    ConnectionState,
    Delivery,
    Event,
    EventStream,
    MicsSession,
    Overflow,
    ServerErrorReceived,
    StateChanged,
)
from .options import MicsClientOptions

_Result = Awaitable[None] | None


class Callbacks:
    """Plain or async functions. While one runs, later events wait in the bounded queue; what it raises is logged."""

    _options: MicsClientOptions

    def __init__(self) -> None:
        self.on_state_changed: Callable[[ConnectionState], _Result] | None = None
        self.on_connected: Callable[[MicsSession], _Result] | None = None
        self.on_delivery_received: Callable[[Delivery], _Result] | None = None
        self.on_ack_received: Callable[[MessageAck], _Result] | None = None
        self.on_server_error_received: Callable[[ServerError], _Result] | None = None
        #: A connection ended: code, reason, and whether the client comes back by itself.
        self.on_closed: Callable[[Closed], _Result] | None = None
        #: The number of events that were lost because the callbacks were too slow.
        self.on_overflow: Callable[[int], _Result] | None = None
        self._dispatcher: asyncio.Task[None] | None = None

    def _start_callbacks(self, stream: EventStream) -> None:
        self._dispatcher = asyncio.create_task(self._dispatch(stream), name="mics-client-callbacks")

    async def _dispatch(self, stream: EventStream) -> None:
        async for event in stream:
            try:
                result = self._call(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                logger: logging.Logger = self._options.logger
                logger.exception("callback for %s failed", type(event).__name__)

    def _call(self, event: Event) -> _Result:  # noqa: PLR0911 - one line per event
        match event:
            case StateChanged(state) if self.on_state_changed:
                return self.on_state_changed(state)
            case Connected(session) if self.on_connected:
                return self.on_connected(session)
            case Delivery() if self.on_delivery_received:
                return self.on_delivery_received(event)
            case AckReceived(ack) if self.on_ack_received:
                return self.on_ack_received(ack)
            case ServerErrorReceived(error) if self.on_server_error_received:
                return self.on_server_error_received(error)
            case Closed() if self.on_closed:
                return self.on_closed(event)
            case Overflow(dropped) if self.on_overflow:
                return self.on_overflow(dropped)
        return None
