"""A gateway that does exactly what a test tells it, over a real loopback socket. It has no logic of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from mics_client import (
    SENT,
    AckStatus,
    Event,
    EventStream,
    MessageAck,
    MessageRequest,
    MicsClient,
    MicsClientOptions,
    ServerError,
)
from mics_client._proto.mics_message_pb2 import ClientFrame, ConnectAck, HeartbeatPong, MessageDelivery, ServerFrame

#: Far above what a loopback exchange takes; only a hang reaches it.
HANG = 20.0
VECTORS = Path(__file__).parents[4] / "proto" / "vectors"
T = TypeVar("T")


def vectors(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((VECTORS / name).read_text())
    return data


class Conn:
    """The gateway's end of one connection."""

    def __init__(self, ws: ServerConnection) -> None:
        self.ws = ws
        self.target = ws.request.path if ws.request else ""

    async def send(self, frame: ServerFrame) -> None:
        await self.ws.send(frame.SerializeToString())

    async def connect_ack(self, code: int = 1000) -> None:
        ack = ConnectAck(code=code, tenant_id="t1", user_id="u1", device_id="dev1", node_id="node-1", trace_id="trace")
        await self.send(ServerFrame(connect_ack=ack))

    async def ack(self, msg_id: str, status: AckStatus = SENT, reason: str = "") -> None:
        await self.send(ServerFrame(ack=MessageAck(msg_id=msg_id, status=status, reason=reason)))

    async def deliver(self, **fields: Any) -> None:
        fields = {"user_id": "u2", "device_id": "d2", "to_user_id": "u1"} | fields
        await self.send(ServerFrame(delivery=MessageDelivery(message=MessageRequest(**fields))))

    async def error(self, code: int, message: str) -> None:
        await self.send(ServerFrame(error=ServerError(code=code, message=message)))

    async def pong(self) -> None:
        await self.send(ServerFrame(heartbeat_pong=HeartbeatPong(timestamp_ms=1)))

    async def frame(self) -> ClientFrame:
        data = await asyncio.wait_for(self.ws.recv(), HANG)
        assert isinstance(data, bytes)
        return ClientFrame.FromString(data)

    async def message(self) -> MessageRequest:
        """The next chat message; heartbeats are passed over."""
        while True:
            frame = await self.frame()
            if frame.WhichOneof("payload") == "message":
                return frame.message

    async def close(self, code: int, reason: str = "") -> None:
        await self.ws.close(code, reason)

    async def closed_by_client(self) -> int:
        """Reads to the end; gives the client's close code (1006: it just went away)."""
        try:
            while True:
                await asyncio.wait_for(self.ws.recv(), HANG)
        except ConnectionClosed as e:
            return e.rcvd.code if e.rcvd else 1006


class Gate:
    """Accepts connections one by one, as the test asks for them."""

    def __init__(self) -> None:
        self.url = ""
        self._accepted: asyncio.Queue[Conn] = asyncio.Queue()

    async def accept_silent(self) -> Conn:
        """Accepts the WebSocket and says nothing yet."""
        return await asyncio.wait_for(self._accepted.get(), HANG)

    async def accept(self) -> Conn:
        """Accepts and answers with a successful `connect_ack`."""
        conn = await self.accept_silent()
        await conn.connect_ack()
        return conn

    async def is_called(self, within: float) -> bool:
        try:
            await asyncio.wait_for(self._accepted.get(), within)
        except asyncio.TimeoutError:
            return False
        return True

    async def pair(self, options: MicsClientOptions | None = None) -> tuple[MicsClient, EventStream, Conn]:
        """Connects a client and gives both ends, with the client's events."""
        client = MicsClient(options or quick())
        events = client.events()
        _, conn = await asyncio.gather(client.connect(self.url, "t1", "valid:u1", "dev1"), self.accept())
        return client, events, conn

    async def _handle(self, ws: ServerConnection) -> None:
        self._accepted.put_nowait(Conn(ws))
        await ws.wait_closed()


@asynccontextmanager
async def gate() -> AsyncIterator[Gate]:
    made = Gate()
    server = await serve(made._handle, "127.0.0.1", 0, ping_interval=None, close_timeout=1, compression=None)
    made.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
    try:
        yield made
    finally:
        server.close()
        await asyncio.wait_for(server.wait_closed(), HANG)


def quick(**changes: Any) -> MicsClientOptions:
    """Reconnects at once and gives up on a silent message soon."""
    values: dict[str, Any] = {"ack_timeout": 0.15, "reconnect_min_delay": 0.01, "reconnect_max_delay": 0.05}
    return MicsClientOptions(**(values | changes))


async def wait_for(events: EventStream, pick: Callable[[Event], T | None]) -> T:
    """Reads events until `pick` takes one."""

    async def read() -> T:
        async for event in events:
            found = pick(event)
            if found is not None:
                return found
        raise AssertionError("the events ended")

    return await asyncio.wait_for(read(), HANG)
