"""Connecting, losing connections and coming back, over a real socket."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from mics_client import (
    Closed,
    ClosedError,
    CloseInfo,
    Connected,
    ConnectFailedError,
    ConnectionState,
    ConnectTimeoutError,
    DisconnectedError,
    Event,
    HttpRefusedError,
    InvalidStateError,
    MicsClient,
    TokenProviderError,
)

from .support import HANG, Gate, quick, wait_for


def closed(event: Event) -> Closed | None:
    return event if isinstance(event, Closed) else None


def connected(event: Event) -> Connected | None:
    return event if isinstance(event, Connected) else None


async def test_connect_gives_the_session_and_disconnect_stays_disconnected(gateway: Gate) -> None:
    client, events, conn = await gateway.pair()
    assert client.state.value == "connected"
    assert client.session is not None
    assert (client.session.node_id, client.session.trace_id) == ("node-1", "trace")
    assert conn.target == "/ws?tenantId=t1&token=valid%3Au1&deviceId=dev1"
    with pytest.raises(InvalidStateError):
        await client.connect(gateway.url, "t1", "k", "d")
    code, _ = await asyncio.gather(conn.closed_by_client(), client.disconnect())
    assert code == 1000
    assert client.state is ConnectionState.DISCONNECTED
    assert not await gateway.is_called(0.3)
    states = [type(e).__name__ async for e in events]
    assert states[-1] == "StateChanged", "the stream ends"


async def test_a_client_can_be_connected_again(gateway: Gate) -> None:
    client, _, _ = await gateway.pair()
    await client.disconnect()
    await asyncio.gather(client.connect(gateway.url, "t1", "k", "d"), gateway.accept())
    assert client.state is ConnectionState.CONNECTED
    await client.disconnect()


@pytest.mark.parametrize(("code", "reason"), [(4001, "bad token"), (4002, "invalid tenant"), (4429, "rate limited")])
async def test_a_refused_first_connect_raises_and_nothing_goes_on(gateway: Gate, code: int, reason: str) -> None:
    client = MicsClient(quick())
    connect = asyncio.create_task(client.connect(gateway.url, "t1", "k", "d"))
    await (await gateway.accept_silent()).close(code, reason)
    with pytest.raises(ClosedError) as e:
        await connect
    assert e.value.info == CloseInfo(code, reason)
    assert not await gateway.is_called(0.3)
    assert client.state is ConnectionState.DISCONNECTED


async def test_a_connect_ack_with_another_code_is_a_refusal(gateway: Gate) -> None:
    client = MicsClient(quick())
    connect = asyncio.create_task(client.connect(gateway.url, "t1", "k", "d"))
    await (await gateway.accept_silent()).connect_ack(1001)
    with pytest.raises(ClosedError):
        await connect


async def test_a_silent_gateway_a_closed_port_and_http_are_told_apart(gateway: Gate) -> None:
    client = MicsClient(quick(connect_timeout=0.3))
    with pytest.raises(ConnectTimeoutError):
        await client.connect(gateway.url, "t1", "k", "d")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with pytest.raises(ConnectFailedError):
        await client.connect(f"ws://127.0.0.1:{port}/ws", "t1", "secret-token", "d")

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        with pytest.raises(HttpRefusedError) as e:
            await MicsClient().connect(url, "t1", "secret-token", "d")
    assert e.value.status == 503
    assert "secret-token" not in str(e.value)


async def test_an_attempt_that_is_given_up_is_reset(gateway: Gate) -> None:
    ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            ended.set_result(await reader.read())
        except ConnectionResetError as e:
            ended.set_exception(e)
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
        with pytest.raises(ConnectTimeoutError):
            await MicsClient(quick(connect_timeout=0.3)).connect(url, "t1", "k", "d")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(ended, HANG)


async def test_a_drained_node_is_left_for_another_with_a_fresh_token(gateway: Gate) -> None:
    tokens = iter(["one", "two", "three"])

    async def provider() -> str:
        return next(tokens)

    client = MicsClient(quick())
    events = client.events()
    _, conn = await asyncio.gather(client.connect(gateway.url, "t1", provider, "d"), gateway.accept())
    for expected in ("one", "two"):
        assert f"token={expected}&" in conn.target
        await wait_for(events, connected)
        await conn.close(4200, "server draining")
        lost = await wait_for(events, closed)
        assert (lost.info, lost.reconnecting) == (CloseInfo(4200, "server draining"), True)
        conn = await gateway.accept()
    assert "token=three&" in conn.target
    await wait_for(events, connected)
    assert client.stats.reconnects == 2
    await client.disconnect()


async def test_a_broken_link_is_1006_and_the_client_comes_back(gateway: Gate) -> None:
    client, events, conn = await gateway.pair()
    conn.ws.transport.abort()
    lost = await wait_for(events, closed)
    assert (lost.info.code, lost.reconnecting) == (1006, True)
    await gateway.accept()
    await wait_for(events, connected)
    await client.disconnect()


@pytest.mark.parametrize("code", [1002, 1007, 4001, 4002, 4409, 4410])
async def test_terminal_codes_end_the_client(gateway: Gate, code: int) -> None:
    client, events, conn = await gateway.pair()
    send = asyncio.create_task(client.send_single_chat("u2", b"x"))
    await conn.message()
    await conn.close(code, "why")
    lost = await wait_for(events, closed)
    assert (lost.info, lost.reconnecting) == (CloseInfo(code, "why"), False)
    with pytest.raises(ClosedError):
        await send
    assert not await gateway.is_called(0.2)
    assert client.state is ConnectionState.DISCONNECTED


async def test_a_terminal_code_during_a_reconnect_ends_it_too(gateway: Gate) -> None:
    client, events, conn = await gateway.pair()
    await conn.close(4200)
    assert (await wait_for(events, closed)).reconnecting
    await (await gateway.accept_silent()).close(4001, "expired")
    last = await wait_for(events, closed)
    assert (last.info, last.reconnecting) == (CloseInfo(4001, "expired"), False)
    assert client.state is ConnectionState.DISCONNECTED


async def test_a_limit_is_answered_by_a_long_pause(gateway: Gate) -> None:
    client, _, conn = await gateway.pair(quick(limited_delay=HANG))
    await conn.close(4429, "rate limited")
    assert not await gateway.is_called(0.4)
    assert client.state is ConnectionState.RECONNECTING
    await client.disconnect()


async def test_without_auto_reconnect_a_loss_is_the_end(gateway: Gate) -> None:
    client, events, conn = await gateway.pair(quick(auto_reconnect=False))
    await conn.close(4200)
    assert not (await wait_for(events, closed)).reconnecting
    assert not await gateway.is_called(0.2)
    assert client.state is ConnectionState.DISCONNECTED


async def test_a_frozen_gateway_is_noticed_and_left(gateway: Gate) -> None:
    client, events, _frozen = await gateway.pair(quick(heartbeat_interval=0.1, watchdog_slack=0.2))
    # The socket stays open and says nothing; only the watchdog can notice.
    lost = await wait_for(events, closed)
    assert (lost.info.code, lost.reconnecting) == (1006, True)
    await gateway.accept()
    await wait_for(events, connected)
    await client.disconnect()


async def test_pongs_keep_a_quiet_connection(gateway: Gate) -> None:
    client, _, conn = await gateway.pair(quick(heartbeat_interval=0.05, watchdog_slack=0.3))
    for _ in range(12):
        assert (await conn.frame()).WhichOneof("payload") == "heartbeat_ping"
        await conn.pong()
    assert client.state is ConnectionState.CONNECTED
    assert client.stats.reconnects == 0
    assert client.stats.heartbeats_sent >= 12
    await client.disconnect()


async def test_disconnect_during_a_reconnect_stays_disconnected(gateway: Gate) -> None:
    client, events, conn = await gateway.pair(quick(reconnect_min_delay=0.3, reconnect_max_delay=0.3))
    await conn.close(4200)
    await wait_for(events, closed)
    send = asyncio.create_task(client.send_single_chat("u2", b"x"))
    await asyncio.sleep(0)
    await client.disconnect()
    with pytest.raises(DisconnectedError):
        await send
    assert client.state is ConnectionState.DISCONNECTED
    assert not await gateway.is_called(0.5)


async def test_disconnect_while_the_next_handshake_is_under_way_stays_disconnected(gateway: Gate) -> None:
    client, _, conn = await gateway.pair()
    await conn.close(4200)
    await gateway.accept_silent()  # the attempt waits for its connect_ack
    await client.disconnect()
    assert client.state is ConnectionState.DISCONNECTED
    assert not await gateway.is_called(0.3)


async def test_disconnect_ends_a_first_connect(gateway: Gate) -> None:
    client = MicsClient()
    connect = asyncio.create_task(client.connect(gateway.url, "t1", "k", "d"))
    await gateway.accept_silent()
    await client.disconnect()
    with pytest.raises(DisconnectedError):
        await connect
    assert client.state is ConnectionState.DISCONNECTED


async def test_a_cancelled_connect_leaves_nothing_behind(gateway: Gate) -> None:
    client = MicsClient()
    connect = asyncio.create_task(client.connect(gateway.url, "t1", "k", "d"))
    await gateway.accept_silent()
    connect.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connect
    assert client.state is ConnectionState.DISCONNECTED


async def test_disconnect_from_a_callback_works(gateway: Gate) -> None:
    client = MicsClient(quick())
    client.on_connected = lambda _: client.disconnect()
    _, conn = await asyncio.gather(client.connect(gateway.url, "t1", "k", "d"), gateway.accept())
    assert await conn.closed_by_client() == 1000


async def test_a_failing_token_provider_is_the_callers_at_first_and_retried_later(gateway: Gate) -> None:
    answers = ["bad", "one", "bad", "two"]

    def provider() -> str:
        token = answers.pop(0)
        if token == "bad":
            raise RuntimeError("the token service is away")
        return token

    client = MicsClient(quick())
    with pytest.raises(TokenProviderError):
        await client.connect(gateway.url, "t1", provider, "d")
    _, conn = await asyncio.gather(client.connect(gateway.url, "t1", provider, "d"), gateway.accept())
    await conn.close(4200)
    assert "token=two" in (await gateway.accept()).target
    await client.disconnect()


async def test_neither_tokens_nor_bodies_are_logged(gateway: Gate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = MicsClient(quick())
    _, conn = await asyncio.gather(client.connect(gateway.url, "t1", "top-secret", "d"), gateway.accept())
    send = asyncio.create_task(client.send_single_chat("u2", b"private-body", "m"))
    await conn.message()
    await conn.ack("m")
    await send
    await conn.close(4200)
    await gateway.accept()
    await client.disconnect()
    # The test's own server logs requests too; only what the client says counts.
    said = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith(("mics_client", "websockets.client")))
    assert "connected: node=node-1" in said
    assert "top-secret" not in said
    assert "private-body" not in said
