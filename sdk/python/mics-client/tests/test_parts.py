"""The parts that need no socket."""

from __future__ import annotations

import asyncio
import inspect
import random

import pytest

from mics_client import InvalidArgumentError, MicsClientOptions, Overflow, StateChanged
from mics_client._backoff import Backoff
from mics_client._dedup import Dedup
from mics_client._ids import new_msg_id
from mics_client._link import build_url
from mics_client._proto.mics_message_pb2 import MessageAck, MessageRequest
from mics_client._within import within
from mics_client.errors import CloseAction
from mics_client.events import AckReceived, ConnectionState, EventStream

from .support import HANG


def repeated(dedup: Dedup, message: MessageRequest) -> bool:
    name = dedup.fingerprint(message)
    known = dedup.knows(name)
    if not known:
        dedup.remember(name)
    return known


async def test_a_cancellation_that_comes_as_the_work_ends_is_not_swallowed() -> None:
    ready = asyncio.get_running_loop().create_future()
    undone: list[str] = []

    async def work() -> str:
        await ready
        waiting.cancel()
        return "link"

    waiting = asyncio.create_task(within(HANG, work(), undone.append))
    await asyncio.sleep(0)
    ready.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert undone == ["link"]


async def test_late_work_is_cancelled() -> None:
    work = asyncio.sleep(HANG)
    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, work, print)
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


def test_pauses_are_jittered_and_bounded() -> None:
    rng = random.Random(7).random
    for attempt in range(12):
        ceiling = min(0.2 * 2**attempt, 5.0)
        pauses = []
        for _ in range(200):
            backoff = Backoff(MicsClientOptions(), rng)
            pauses.append([backoff.next(CloseAction.RETRY) for _ in range(attempt + 1)][-1])
        assert max(pauses) <= ceiling
        assert min(pauses) < ceiling / 4
        assert max(pauses) > ceiling / 2


def test_a_limit_means_a_long_pause() -> None:
    backoff = Backoff(MicsClientOptions(), random.Random(7).random)
    assert 2.5 <= backoff.next(CloseAction.RETRY_LATER) <= 5
    for _ in range(10):
        assert 5 <= backoff.next(CloseAction.RETRY_LATER) <= 60
    backoff.reset()
    assert backoff.next(CloseAction.RETRY_LATER) <= 5


def test_repeats_are_per_sender_and_content_and_the_memory_is_bounded() -> None:
    dedup = Dedup(2)

    def message(user: str, body: bytes) -> MessageRequest:
        return MessageRequest(user_id=user, msg_id="1", msg_body=body)

    assert not repeated(dedup, message("a", b"x"))
    assert repeated(dedup, message("a", b"x"))
    assert not repeated(dedup, message("b", b"x"))
    assert not repeated(dedup, message("a", b"other"))
    assert not repeated(dedup, message("a", b"x")), "the oldest is forgotten"
    assert len(dedup._seen) == 2


def test_blank_ids_and_a_zero_window_never_match() -> None:
    off, on = Dedup(0), Dedup(9)
    assert not any(repeated(off, MessageRequest(msg_id="1")) for _ in range(2))
    assert not any(repeated(on, MessageRequest()) for _ in range(2))


def test_ids_are_uuid_v7_in_the_order_of_time() -> None:
    ids = [new_msg_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(i) == 32 and i[12] == "7" and i[16] in "89ab" for i in ids)
    assert [i[:12] for i in ids] == sorted(i[:12] for i in ids)


def test_identity_is_encoded_and_replaces_what_was_there() -> None:
    url = build_url("ws://h:8080/ws?a=1&TOKEN=old&deviceId=x#f", "t1", "valid:u1", "my dev+&=")
    assert url == "ws://h:8080/ws?a=1&tenantId=t1&token=valid%3Au1&deviceId=my%20dev%2B%26%3D"


@pytest.mark.parametrize("bad", ["", "localhost:8080/ws", "http://h/ws", "/ws", "ws://", "ws://h:x/ws", "ws://[::1/ws"])
def test_only_websocket_addresses_are_taken(bad: str) -> None:
    with pytest.raises(InvalidArgumentError):
        build_url(bad, "t", "k", "d")


@pytest.mark.parametrize("name", ["connect_timeout", "ack_timeout", "max_send_attempts", "event_capacity"])
def test_options_that_cannot_work_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        MicsClientOptions(**{name: 0})  # type: ignore[arg-type]


async def test_a_full_queue_tells_what_it_dropped_where_it_dropped() -> None:
    stream = EventStream(2)
    acks = [AckReceived(MessageAck(msg_id=str(i))) for i in range(6)]
    assert [stream._push(a) for a in acks[:5]] == [0, 0, 1, 1, 1]
    state = StateChanged(ConnectionState.RECONNECTING)
    stream._push(state)
    stream._push(acks[5])
    stream._end()
    assert [e async for e in stream] == [acks[0], acks[1], Overflow(3), state, Overflow(1)]
    assert stream.dropped_total == 4
