"""From nothing to a session: token, socket, `connect_ack`. One attempt; who repeats it is the client's task."""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from google.protobuf.message import DecodeError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from ._proto.mics_message_pb2 import ServerFrame
from ._within import within
from .errors import (
    ClosedError,
    CloseInfo,
    ConnectFailedError,
    ConnectTimeoutError,
    HttpRefusedError,
    InvalidArgumentError,
    MicsError,
    TokenProviderError,
)
from .events import MicsSession
from .options import MicsClientOptions, TokenProvider

CONNECTED = 1000
CLOSE_WAIT = 1.0

# At DEBUG the library logs the request line, and with it the token.
_quiet = logging.getLogger("mics_client.websockets")
_quiet.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class ConnectParams:
    """Where to connect and as whom."""

    url: str
    tenant_id: str
    token: TokenProvider
    device_id: str


@dataclass(slots=True)
class Link:
    """An open connection with its session."""

    ws: ClientConnection
    session: MicsSession
    #: Frames that came before `connect_ack`: some gateways let a delivery slip in.
    early: list[ServerFrame] = field(default_factory=list)


def build_url(base: str, tenant_id: str, token: str, device_id: str) -> str:
    """Puts the identity into the query of `base`; its other parameters stay. Holds the token: never log the result."""
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidArgumentError("url: need ws://host or wss://host")
    ours = [("tenantId", tenant_id), ("token", token), ("deviceId", device_id)]
    names = {name.lower() for name, _ in ours}
    kept = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k.lower() not in names]
    return urlunsplit(parts._replace(query=urlencode(kept + ours, quote_via=quote, safe=""), fragment=""))


def closed_info(error: ConnectionClosed) -> CloseInfo:
    """The close frame of the peer, or 1006 when there was none."""
    if error.rcvd is None:
        return CloseInfo(1006, "connection broke")
    return CloseInfo(error.rcvd.code, error.rcvd.reason)


async def establish(params: ConnectParams, options: MicsClientOptions) -> Link:
    """One attempt, within `connect_timeout` in all; raises a `MicsError`."""
    try:
        return await within(options.connect_timeout, _attempt(params, options), lambda link: link.ws.transport.abort())
    except MicsError:
        raise
    except asyncio.TimeoutError:
        raise ConnectTimeoutError("connect timeout") from None


class _Connection(ClientConnection):
    """Given up before it has a session, it is reset instead of closed.

    A gateway that was silent would otherwise read the old request later, take it for a newer connection of this
    device, and end the one that followed it with 4409.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        _reset_on_close(transport, True)


def _reset_on_close(transport: asyncio.BaseTransport, on: bool) -> None:
    sock = transport.get_extra_info("socket")
    linger = struct.pack("HH" if sys.platform == "win32" else "ii", on, 0)
    with suppress(OSError):  # the connection is gone already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def _attempt(params: ConnectParams, options: MicsClientOptions) -> Link:
    url = build_url(params.url, params.tenant_id, await _token(params.token), params.device_id)
    try:
        ws = await connect(
            url,
            compression=None,
            max_size=options.max_frame_bytes,
            ping_interval=None,  # the heartbeat of the protocol does it
            open_timeout=None,
            close_timeout=CLOSE_WAIT,
            user_agent_header=None,
            logger=_quiet,
            create_connection=_Connection,
        )
    except InvalidStatus as e:
        raise HttpRefusedError(e.response.status_code) from None
    except ConnectionClosed as e:
        raise ClosedError(closed_info(e)) from None
    except (OSError, InvalidHandshake) as e:
        # These texts carry no part of the URL, hence no token.
        raise ConnectFailedError(f"connect failed: {e}") from None
    except Exception as e:
        # Rare ones (a proxy that needs another package, a host name that can't be encoded); their texts may.
        raise ConnectFailedError(f"connect failed: {type(e).__name__}") from None
    try:
        return await _await_session(ws, options.logger)
    except BaseException:
        ws.transport.abort()
        raise


async def _token(provider: TokenProvider) -> str:
    if isinstance(provider, str):
        return provider
    try:
        token = provider()
        return await token if inspect.isawaitable(token) else token
    except Exception as e:
        raise TokenProviderError("token provider failed") from e


async def _await_session(ws: ClientConnection, logger: logging.Logger) -> Link:
    early: list[ServerFrame] = []
    while True:
        try:
            data = await ws.recv()
        except ConnectionClosed as e:
            raise ClosedError(closed_info(e)) from None
        if isinstance(data, str):
            continue
        try:
            frame = ServerFrame.FromString(data)
        except DecodeError:
            logger.warning("unreadable frame before connect_ack")
            continue
        if frame.WhichOneof("payload") != "connect_ack":
            early.append(frame)
            continue
        ack = frame.connect_ack
        if ack.code != CONNECTED:
            raise ClosedError(CloseInfo(ack.code, "refused by connect_ack"))
        _reset_on_close(ws.transport, False)
        session = MicsSession(ack.tenant_id, ack.user_id, ack.device_id, ack.node_id, ack.trace_id)
        return Link(ws, session, early)
