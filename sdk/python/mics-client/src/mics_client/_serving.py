"""Uses one connection until it ends: four small tasks read, write, beat and watch. What frames mean is the client's."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress

from google.protobuf.message import DecodeError
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ._inflight import Outbox
from ._link import closed_info
from ._proto.mics_message_pb2 import ClientFrame, HeartbeatPing, ServerFrame
from .errors import CloseInfo
from .options import MicsClientOptions
from .stats import ClientStats


class Serving:
    """One connection in use."""

    def __init__(
        self,
        ws: ClientConnection,
        options: MicsClientOptions,
        stats: ClientStats,
        outbox: Outbox,
        on_frame: Callable[[ServerFrame], None],
    ) -> None:
        self._ws = ws
        self._options = options
        self._stats = stats
        self._outbox = outbox
        self._on_frame = on_frame
        self._last_frame = asyncio.get_running_loop().time()

    async def run(self) -> CloseInfo:
        """Gives the connection's end; cancelled, it closes the connection."""
        reader = asyncio.create_task(self._read())
        helpers = [asyncio.create_task(work) for work in (self._write(), self._beat(), self._watch())]
        try:
            await asyncio.wait({reader})
            return reader.result()
        finally:
            for helper in helpers:
                helper.cancel()
            # The reader goes on meanwhile: what is under way still arrives.
            await self._ws.close()
            reader.cancel()
            await asyncio.gather(reader, *helpers, return_exceptions=True)

    async def _read(self) -> CloseInfo:
        loop = asyncio.get_running_loop()
        try:
            while True:
                data = await self._ws.recv()
                self._last_frame = loop.time()
                if isinstance(data, str):
                    continue
                try:
                    frame = ServerFrame.FromString(data)
                except DecodeError:
                    self._options.logger.warning("unreadable frame from the gateway (%d bytes)", len(data))
                    continue
                self._on_frame(frame)
        except ConnectionClosed as e:
            return closed_info(e)

    async def _write(self) -> None:
        with suppress(ConnectionClosed):  # the reader tells
            while True:
                await self._ws.send(await self._outbox.next_frame())

    async def _beat(self) -> None:
        interval = self._options.heartbeat_interval
        if interval <= 0:
            return
        # The first beat comes early by a random share, so that clients that connect together don't beat together.
        await asyncio.sleep(interval * random.uniform(0.5, 1.0))
        with suppress(ConnectionClosed):
            while True:
                ping = ClientFrame(heartbeat_ping=HeartbeatPing(timestamp_ms=now_ms()))
                await self._ws.send(ping.SerializeToString())
                self._stats.heartbeats_sent += 1
                await asyncio.sleep(interval)

    async def _watch(self) -> None:
        """Gives a silent connection up."""
        interval = self._options.heartbeat_interval
        if interval <= 0:
            return
        limit = interval * 2 + self._options.watchdog_slack
        loop = asyncio.get_running_loop()
        while (left := self._last_frame + limit - loop.time()) > 0:  # noqa: ASYNC110 - a timer that moves on
            await asyncio.sleep(left)
        self._options.logger.warning("no frame from the gateway for %.1f s", limit)
        self._ws.transport.abort()


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
