"""The client an application holds: it connects, sends, tells events, and stays connected until told otherwise.

One task (`_run`) owns the connection's life; how one connection is used is in `_serving`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType

from . import _link
from ._backoff import Backoff
from ._callbacks import Callbacks
from ._dedup import Dedup
from ._ids import new_msg_id
from ._inflight import Entry, InFlight, Outbox, outcome_within
from ._link import ConnectParams, Link
from ._proto.mics_message_pb2 import (
    FAILED,
    GROUP_CHAT,
    SINGLE_CHAT,
    ClientFrame,
    MessageAck,
    MessageRequest,
    ServerFrame,
)
from ._serving import Serving, now_ms
from ._within import within
from .errors import (
    CloseAction,
    ClosedError,
    CloseInfo,
    DisconnectedError,
    InvalidArgumentError,
    InvalidStateError,
    MicsError,
    SendDeadlineError,
    SendQueueFullError,
)
from .events import (
    AckReceived,
    Closed,
    Connected,
    ConnectionState,
    Delivery,
    Event,
    EventStream,
    MicsSession,
    ServerErrorReceived,
    StateChanged,
)
from .options import MicsClientOptions, TokenProvider
from .stats import ClientStats

_FRAME_TOO_LARGE = 4401


class MicsClient(Callbacks):
    """One device of one user. Use it from one event loop; all methods may be called at any time."""

    def __init__(self, options: MicsClientOptions | None = None) -> None:
        super().__init__()
        self._options = options or MicsClientOptions()
        self._log = self._options.logger
        self._state = ConnectionState.DISCONNECTED
        self._session: MicsSession | None = None
        self._streams: list[EventStream] = []
        self._task: asyncio.Task[None] | None = None
        self._ended_by: CloseInfo | None = None
        self._flight = InFlight()
        self._outbox = Outbox(self._flight, self._encode)
        self._slots = asyncio.Semaphore(self._options.max_in_flight)
        self._waiting = 0
        self._dedup = Dedup(self._options.dedup_window)
        #: Counters since the client was made.
        self.stats = ClientStats()

    # ---- for the application

    @property
    def state(self) -> ConnectionState:
        """Where the connection is in its life."""
        return self._state

    @property
    def session(self) -> MicsSession | None:
        """The session of the present connection, or of the last one."""
        return self._session

    async def connect(self, url: str, tenant_id: str, token: TokenProvider, device_id: str) -> MicsSession:
        """Connects and waits for the gateway's `connect_ack`.

        `url` is the gateway's `ws://` or `wss://` address. `token` is a string or a function asked before every
        attempt. A refusal raises (`ClosedError`, `HttpRefusedError`, `ConnectTimeoutError`, ...) and nothing goes on
        in the background; after success the client reconnects by itself. `InvalidStateError` unless disconnected.
        """
        if self._state is not ConnectionState.DISCONNECTED:
            raise InvalidStateError(f"connect: the client is {self._state.value}")
        self._start_callbacks(self.events())
        self._set_state(ConnectionState.CONNECTING)
        first: asyncio.Future[MicsSession] = asyncio.get_running_loop().create_future()
        params = ConnectParams(url, tenant_id, token, device_id)
        self._ended_by = None
        self._task = asyncio.create_task(self._run(params, first), name="mics-client")
        self._task.add_done_callback(lambda _: self._finish(first))
        try:
            return await asyncio.shield(first)
        except asyncio.CancelledError:
            first.cancel()
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        """Closes the connection (code 1000) and stays disconnected; returns after about a second at most.

        Sends without an outcome raise `DisconnectedError`.
        """
        task = self._task
        if task is None or task.done():
            return
        if self._state is not ConnectionState.DISPOSING:
            self._set_state(ConnectionState.DISPOSING)
            task.cancel()
        await asyncio.wait({task})

    def events(self) -> EventStream:
        """A stream of everything that happens from now on; call it before `connect()` to miss nothing.

        Each stream has its own bounded queue. It ends when the client is disconnected for good.
        """
        stream = EventStream(self._options.event_capacity)
        self._streams.append(stream)
        return stream

    async def send_single_chat(self, to_user_id: str, msg_body: bytes, msg_id: str | None = None) -> MessageAck:
        """Sends to one user and waits for the outcome.

        That is the gateway's ack (FAILED is an outcome, not an error), the local ack `ack timeout` after all
        attempts, or an exception. Without `msg_id` a UUIDv7 is used. Repeating a call with the same id within a
        minute is safe: the gateway delivers once.
        """
        if not to_user_id.strip():
            raise InvalidArgumentError("to_user_id is blank")
        return await self._send(MessageRequest(msg_type=SINGLE_CHAT, to_user_id=to_user_id), msg_body, msg_id)

    async def send_group_chat(self, group_id: str, msg_body: bytes, msg_id: str | None = None) -> MessageAck:
        """Sends to all members of a group; otherwise as `send_single_chat`."""
        if not group_id.strip():
            raise InvalidArgumentError("group_id is blank")
        return await self._send(MessageRequest(msg_type=GROUP_CHAT, group_id=group_id), msg_body, msg_id)

    async def __aenter__(self) -> MicsClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.disconnect()

    # ---- sending

    async def _send(self, request: MessageRequest, body: bytes, msg_id: str | None) -> MessageAck:
        if msg_id is not None and not msg_id.strip():
            raise InvalidArgumentError("msg_id is blank")
        self._must_be_alive()
        deadline = asyncio.get_running_loop().time() + self._options.send_deadline
        request.msg_id = new_msg_id() if msg_id is None else msg_id
        crypto = self._options.message_crypto
        # Encrypted once: every attempt sends the same bytes.
        request.msg_body = crypto.encrypt(body) if crypto and body else body
        await self._take_slot(deadline)
        try:
            self._must_be_alive()
            entry = self._flight.add(request)
            self._outbox.push(entry)
            try:
                return await outcome_within(entry, deadline - asyncio.get_running_loop().time())
            finally:
                self._flight.discard(entry)
        finally:
            self._slots.release()

    def _must_be_alive(self) -> None:
        if self._state not in (ConnectionState.CONNECTED, ConnectionState.RECONNECTING):
            raise DisconnectedError("client is not connected")

    async def _take_slot(self, deadline: float) -> None:
        """Waits, first come first served, until another message may be in flight."""
        if not self._slots.locked():
            await self._slots.acquire()
            return
        if self._waiting >= self._options.send_queue_capacity:
            raise SendQueueFullError("send queue is full")
        self._waiting += 1
        try:
            left = deadline - asyncio.get_running_loop().time()
            await within(left, self._slots.acquire(), lambda _: self._slots.release())
        except asyncio.TimeoutError:
            raise SendDeadlineError("send deadline passed") from None
        finally:
            self._waiting -= 1

    # ---- the life of the connection

    async def _run(self, params: ConnectParams, first: asyncio.Future[MicsSession]) -> None:
        with suppress(asyncio.CancelledError):  # disconnect()
            try:
                link = await _link.establish(params, self._options)
            except MicsError as e:
                if not first.done():
                    first.set_exception(e)
                return
            self._enter(link)
            if not first.done():
                first.set_result(link.session)
            self._ended_by = await self._live(params, link)

    async def _live(self, params: ConnectParams, link: Link) -> CloseInfo:
        """Serves connections until one ends for good; gives its end."""
        backoff = Backoff(self._options)
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            info = await self._serve(link)
            again = self._options.auto_reconnect and info.action is not CloseAction.STOP
            self._log.info("connection lost: code=%d reason=%s reconnect=%s", info.code, info.reason, again)
            self._publish(Closed(info, again))
            if not again:
                return info
            # A connection that ends at once must not start the pauses over.
            if loop.time() - since >= self._options.reconnect_max_delay:
                backoff.reset()
            self._set_state(ConnectionState.RECONNECTING)
            try:
                link = await self._reconnect(params, backoff, info.action)
            except MicsError as e:
                self._log.warning("gave up reconnecting: %s", e)
                self._publish(Closed(e.close_info, False))
                return e.close_info
            self.stats.reconnects += 1
            self._enter(link)

    async def _reconnect(self, params: ConnectParams, backoff: Backoff, action: CloseAction) -> Link:
        while True:
            pause = backoff.next(action)
            await asyncio.sleep(pause)
            try:
                return await _link.establish(params, self._options)
            except MicsError as e:
                if e.action is CloseAction.STOP:
                    raise
                self._log.info("reconnect attempt failed: %s (after a pause of %d ms)", e, pause * 1000)
                action = e.action

    def _enter(self, link: Link) -> None:
        self._session = link.session
        self._log.info("connected: node=%s trace=%s", link.session.node_id, link.session.trace_id)
        self._set_state(ConnectionState.CONNECTED)
        self._publish(Connected(link.session))

    async def _serve(self, link: Link) -> CloseInfo:
        """Uses one connection until it ends."""
        self._outbox.restart()
        for frame in link.early:
            self._on_frame(frame)
        try:
            return await Serving(link.ws, self._options, self.stats, self._outbox, self._on_frame).run()
        finally:
            self._flight.rewind()  # stops the ack time-outs

    def _encode(self, entry: Entry) -> bytes:
        request, session = entry.request, self._session
        if session is not None:
            request.tenant_id, request.user_id, request.device_id = (
                session.tenant_id,
                session.user_id,
                session.device_id,
            )
        request.timestamp_ms = now_ms()
        self._flight.mark_written(entry, self._options.ack_timeout, self._on_silence)
        return ClientFrame(message=request).SerializeToString()

    # ---- what comes in

    def _on_frame(self, frame: ServerFrame) -> None:
        kind = frame.WhichOneof("payload")
        if kind == "delivery":
            self._on_delivery(frame.delivery.message)
        elif kind == "ack":
            self._settle(frame.ack)
        elif kind == "error":
            largest = self._flight.largest_written() if frame.error.code == _FRAME_TOO_LARGE else None
            if largest is not None:
                self._settle(_local_ack(largest.request.msg_id, "frame too large"))
            self._publish(ServerErrorReceived(frame.error))

    def _on_delivery(self, message: MessageRequest) -> None:
        name = self._dedup.fingerprint(message)
        if self._dedup.knows(name):
            self.stats.duplicates_dropped += 1
            return
        crypto, failed = self._options.message_crypto, False
        if crypto and message.msg_body:
            try:
                message.msg_body = crypto.decrypt(message.msg_body)
            except Exception as e:  # whatever an application's own crypto raises
                self._log.info("delivery could not be decrypted: %s", type(e).__name__)
                failed = True
        # One that was dropped may come again.
        if not self._publish(Delivery(message, failed)):
            self._dedup.remember(name)

    def _on_silence(self, entry: Entry) -> None:
        """No ack came in time."""
        if not self._flight.holds(entry):
            return
        if entry.attempts >= self._options.max_send_attempts:
            self._settle(_local_ack(entry.request.msg_id, "ack timeout"))
        else:
            entry.written = False
            self._outbox.push(entry)

    def _settle(self, ack: MessageAck) -> None:
        if self._flight.finish(ack.msg_id, ack):
            self._publish(AckReceived(ack))

    # ---- telling

    def _publish(self, event: Event) -> int:
        """Gives how many streams dropped it."""
        dropped = sum(stream._push(event) for stream in self._streams)
        self.stats.events_dropped += dropped
        return dropped

    def _set_state(self, state: ConnectionState) -> None:
        self._state = state
        self._publish(StateChanged(state))

    def _finish(self, first: asyncio.Future[MicsSession]) -> None:
        """The connection's task has ended: every send gets its outcome, every stream its end."""
        if not first.done():
            first.set_exception(DisconnectedError("disconnected while connecting"))
        info = self._ended_by
        self._set_state(ConnectionState.DISCONNECTED)
        self._flight.fail_all(lambda: ClosedError(info) if info else DisconnectedError("client is disconnected"))
        for stream in self._streams:
            stream._end()
        self._streams.clear()


def _local_ack(msg_id: str, reason: str) -> MessageAck:
    """The ack a client makes up itself when the gateway said nothing."""
    return MessageAck(msg_id=msg_id, status=FAILED, timestamp_ms=now_ms(), reason=reason)
