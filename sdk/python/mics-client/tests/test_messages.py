"""Sending and receiving over a real socket."""

from __future__ import annotations

import asyncio

import pytest

from mics_client import (
    FAILED,
    SENT,
    AesGcmMessageCrypto,
    Delivery,
    DisconnectedError,
    DuplicateIdError,
    Event,
    InvalidArgumentError,
    MicsClient,
    Overflow,
    SendDeadlineError,
    SendQueueFullError,
    ServerErrorReceived,
)

from .support import HANG, Gate, quick, wait_for


def delivery(event: Event) -> Delivery | None:
    return event if isinstance(event, Delivery) else None


async def test_a_message_carries_identity_id_and_time_and_gets_its_ack(gateway: Gate) -> None:
    client, _, conn = await gateway.pair()
    send = asyncio.create_task(client.send_single_chat("u2", b"hello"))
    m = await conn.message()
    assert (m.tenant_id, m.user_id, m.device_id, m.to_user_id, m.msg_body) == ("t1", "u1", "dev1", "u2", b"hello")
    assert len(m.msg_id) == 32
    assert m.timestamp_ms > 1_700_000_000_000
    await conn.ack(m.msg_id)
    ack = await send
    assert (ack.msg_id, ack.status) == (m.msg_id, SENT)
    await client.disconnect()


async def test_silence_means_the_same_message_again_and_then_a_local_ack(gateway: Gate) -> None:
    client, _, conn = await gateway.pair()
    send = asyncio.create_task(client.send_group_chat("g", b"hello"))
    seen = [await conn.message() for _ in range(3)]
    assert len({m.msg_id for m in seen}) == 1
    assert {(m.group_id, m.msg_type, m.msg_body) for m in seen} == {("g", 1, b"hello")}
    ack = await asyncio.wait_for(send, HANG)
    assert (ack.status, ack.reason) == (FAILED, "ack timeout")
    await client.disconnect()


async def test_an_ack_after_the_second_try_ends_it(gateway: Gate) -> None:
    client, _, conn = await gateway.pair()
    send = asyncio.create_task(client.send_single_chat("u2", b"x", "my-id"))
    await conn.message()
    assert (await conn.message()).msg_id == "my-id"
    await conn.ack("my-id", SENT, "duplicate")
    assert (await send).reason == "duplicate"
    await client.disconnect()


async def test_a_failed_ack_is_an_outcome(gateway: Gate) -> None:
    client, _, conn = await gateway.pair()
    send = asyncio.create_task(client.send_single_chat("u2", b"x"))
    await conn.ack((await conn.message()).msg_id, FAILED, "denied")
    assert (await send).reason == "denied"
    await client.disconnect()


async def test_messages_are_written_in_the_order_of_the_calls_also_after_a_reconnect(gateway: Gate) -> None:
    client, _, conn = await gateway.pair(quick(max_in_flight=4, ack_timeout=HANG))
    sends = [asyncio.create_task(client.send_single_chat("u2", b"x", f"m{i}")) for i in range(8)]
    assert [(await conn.message()).msg_id for _ in range(4)] == ["m0", "m1", "m2", "m3"]
    await conn.ack("m1")
    assert (await conn.message()).msg_id == "m4"
    await conn.close(4200, "server draining")
    again = await gateway.accept()
    for expected in ["m0", "m2", "m3", "m4", "m5", "m6", "m7"]:
        m = await again.message()
        assert m.msg_id == expected
        await again.ack(m.msg_id)
    acks = await asyncio.gather(*sends)
    assert [a.msg_id for a in acks] == [f"m{i}" for i in range(8)]
    await client.disconnect()


async def test_a_cut_short_attempt_does_not_count(gateway: Gate) -> None:
    client, _, conn = await gateway.pair(quick(max_send_attempts=1, ack_timeout=HANG))
    send = asyncio.create_task(client.send_single_chat("u2", b"x", "m"))
    for _ in range(3):
        assert (await conn.message()).msg_id == "m"
        conn.ws.transport.abort()
        conn = await gateway.accept()
    await conn.message()
    await conn.ack("m")
    assert (await send).status == SENT
    await client.disconnect()


async def test_sends_during_a_reconnect_have_a_deadline(gateway: Gate) -> None:
    client, _, conn = await gateway.pair(quick(send_deadline=0.3, reconnect_min_delay=HANG, reconnect_max_delay=HANG))
    await conn.close(4200)
    with pytest.raises(SendDeadlineError):
        await client.send_single_chat("u2", b"x")
    await client.disconnect()
    with pytest.raises(DisconnectedError):
        await client.send_single_chat("u2", b"x")


async def test_too_many_waiting_sends_are_refused_at_once(gateway: Gate) -> None:
    client, _, conn = await gateway.pair(quick(max_in_flight=1, send_queue_capacity=1, ack_timeout=HANG))
    first = asyncio.create_task(client.send_single_chat("u2", b"x", "a"))
    await conn.message()
    second = asyncio.create_task(client.send_single_chat("u2", b"x", "b"))
    await asyncio.sleep(0)
    with pytest.raises(SendQueueFullError):
        await client.send_single_chat("u2", b"x", "c")
    await conn.ack("a")
    assert (await conn.message()).msg_id == "b"
    await conn.ack("b")
    assert [(await first).msg_id, (await second).msg_id] == ["a", "b"]
    await client.disconnect()


async def test_arguments_are_checked_and_ids_in_flight_are_unique(gateway: Gate) -> None:
    client, _, conn = await gateway.pair(quick(ack_timeout=HANG))
    for call in (
        client.send_single_chat(" ", b""),
        client.send_group_chat("", b""),
        client.send_single_chat("u", b"", " "),
    ):
        with pytest.raises(InvalidArgumentError):
            await call
    first = asyncio.create_task(client.send_single_chat("u2", b"x", "a"))
    await conn.message()
    with pytest.raises(DuplicateIdError):
        await client.send_single_chat("u2", b"x", "a")
    await conn.ack("a")
    await first
    await client.disconnect()


async def test_frame_too_large_ends_the_largest_message(gateway: Gate) -> None:
    client, events, conn = await gateway.pair(quick(ack_timeout=HANG))
    small = asyncio.create_task(client.send_single_chat("u2", b"x", "small"))
    large = asyncio.create_task(client.send_single_chat("u2", b"x" * 5000, "large"))
    await conn.message()
    await conn.message()
    await conn.error(4401, "frame too large")
    assert (await large).reason == "frame too large"
    error = await wait_for(events, lambda e: e if isinstance(e, ServerErrorReceived) else None)
    assert error.error.code == 4401
    await conn.ack("small")
    assert (await small).status == SENT
    await client.disconnect()


async def test_deliveries_come_in_order_and_once(gateway: Gate) -> None:
    client, events, conn = await gateway.pair()
    for i in [0, 1, 1, 2, 0, 3]:
        await conn.deliver(msg_id=str(i), msg_body=b"x")
    got = [(await wait_for(events, delivery)).message.msg_id for _ in range(4)]
    assert got == ["0", "1", "2", "3"]
    assert client.stats.duplicates_dropped == 2
    await client.disconnect()


async def test_a_repeated_delivery_is_recognised_after_a_reconnect(gateway: Gate) -> None:
    client, events, conn = await gateway.pair()
    await conn.deliver(msg_id="1", msg_body=b"x")
    await wait_for(events, delivery)
    await conn.close(4200)
    conn = await gateway.accept()
    await conn.deliver(msg_id="1", msg_body=b"x")
    await conn.deliver(msg_id="2", msg_body=b"x")
    assert (await wait_for(events, delivery)).message.msg_id == "2"
    await client.disconnect()


async def test_a_slow_application_is_told_what_it_lost(gateway: Gate) -> None:
    client, events, conn = await gateway.pair(quick(event_capacity=4))
    # State and session changes are in the queue already; nothing is read until all deliveries have come.
    for i in range(20):
        await conn.deliver(msg_id=str(i), msg_body=b"x")
    await conn.ws.ping()
    send = asyncio.create_task(client.send_single_chat("u2", b"x", "last"))
    await conn.message()
    await conn.ack("last")
    await send
    lost = await wait_for(events, lambda e: e.dropped if isinstance(e, Overflow) else None)
    assert lost > 0
    assert client.stats.events_dropped >= lost
    await client.disconnect()


async def test_a_delivery_that_was_dropped_may_come_again(gateway: Gate) -> None:
    client, events, conn = await gateway.pair(quick(event_capacity=4))
    # Three events of the connect are unread: there is room for one delivery.
    await conn.deliver(msg_id="1", msg_body=b"x")
    await conn.deliver(msg_id="2", msg_body=b"x")
    send = asyncio.create_task(client.send_single_chat("u2", b"x", "last"))
    await conn.message()
    await conn.ack("last")
    await send
    await wait_for(events, lambda e: e if isinstance(e, Overflow) else None)
    await conn.deliver(msg_id="1", msg_body=b"x")
    await conn.deliver(msg_id="2", msg_body=b"x")
    assert (await wait_for(events, delivery)).message.msg_id == "2"
    await client.disconnect()


async def test_bodies_are_encrypted_once_and_decrypted_in_order(gateway: Gate) -> None:
    crypto = AesGcmMessageCrypto(bytes(range(32)))
    client, events, conn = await gateway.pair(quick(message_crypto=crypto))
    send = asyncio.create_task(client.send_single_chat("u2", b"secret"))
    first, second = await conn.message(), await conn.message()
    assert first.msg_body == second.msg_body != b"secret"
    assert crypto.decrypt(first.msg_body) == b"secret"
    await conn.ack(first.msg_id)
    await send
    await conn.deliver(msg_id="1", msg_body=crypto.encrypt(b"one"))
    await conn.deliver(msg_id="2", msg_body=b"not an envelope")
    await conn.deliver(msg_id="3", msg_body=b"")
    got = [await wait_for(events, delivery) for _ in range(3)]
    assert [(d.message.msg_body, d.decrypt_failed) for d in got] == [
        (b"one", False),
        (b"not an envelope", True),
        (b"", False),
    ]
    await client.disconnect()


async def test_callbacks_are_called_in_order_and_may_fail_or_wait(gateway: Gate) -> None:
    client = MicsClient(quick())
    got: list[str] = []
    done = asyncio.Event()

    async def on_delivery(d: Delivery) -> None:
        await asyncio.sleep(0.01 if d.message.msg_id == "0" else 0)
        got.append(d.message.msg_id)
        if d.message.msg_id == "1":
            raise ValueError("a mistake of the application")
        if d.message.msg_id == "2":
            done.set()

    client.on_delivery_received = on_delivery
    client.on_state_changed = lambda s: got.append(s.value)
    _, conn = await asyncio.gather(client.connect(gateway.url, "t1", "k", "d"), gateway.accept())
    for i in range(3):
        await conn.deliver(msg_id=str(i))
    await asyncio.wait_for(done.wait(), HANG)
    assert got == ["connecting", "connected", "0", "1", "2"]
    await client.disconnect()


async def test_garbage_from_the_gateway_is_passed_over(gateway: Gate) -> None:
    client, events, conn = await gateway.pair()
    await conn.ws.send(b"\xff\xff\xff")
    await conn.ws.send("text")
    await conn.deliver(msg_id="1")
    assert (await wait_for(events, delivery)).message.msg_id == "1"
    await client.disconnect()
