"""The consumer against a real broker (scripts/kafka.sh; skipped where it can't run)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

import mics_hook as hook

KAFKA = Path(__file__).parents[4] / "scripts" / "kafka.sh"
HANG = 60.0
TENANT = "t1"
SECRET = "s"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("kafka")
    command = [str(KAFKA), "start", str(folder)]
    started = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)  # noqa: S603
    if started.returncode == 3:
        pytest.skip(started.stderr.strip())
    assert started.returncode == 0, started.stderr
    yield started.stdout.split("bootstrap=")[1].split()[0]
    subprocess.run([str(KAFKA), "stop", str(folder)], check=True, capture_output=True, timeout=60)  # noqa: S603


def value(msg_id: str, secret: str = SECRET) -> bytes:
    event = hook.MqEvent(
        tenant_id=TENANT, event_type=hook.OFFLINE_MESSAGE, msg_id=msg_id, user_id="u1", to_user_id="u2"
    )
    event.sign = hook.compute_mq_event_sign_base64(secret, event.SerializeToString())
    data: bytes = event.SerializeToString()
    return data


async def write(broker: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    for v in values:
        await producer.send_and_wait(hook.event_topic_name(TENANT), v, key=b"u1")
    await producer.stop()


async def dead_letters(broker: str, number: int) -> list[Any]:
    topic = hook.dlq_topic_name(TENANT)
    reader = AIOKafkaConsumer(topic, bootstrap_servers=broker, auto_offset_reset="earliest")
    await reader.start()
    try:
        return [await asyncio.wait_for(reader.getone(), HANG) for _ in range(number)]
    finally:
        await reader.stop()


@asynccontextmanager
async def running(broker: str, handled: asyncio.Queue[str]) -> AsyncIterator[hook.MqEventConsumer]:
    async def handle(event: hook.MqEvent) -> None:
        if event.msg_id == "bad":
            raise RuntimeError("no room")
        await handled.put(event.msg_id)

    options = hook.ConsumerOptions(bootstrap_servers=broker, tenant_id=TENANT, tenant_secret=SECRET, retry_backoff=0.01)
    consumer = hook.MqEventConsumer(options, handle)
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        consumer.stop()
        await asyncio.wait_for(task, HANG)


async def take(handled: asyncio.Queue[str], number: int) -> list[str]:
    return [await asyncio.wait_for(handled.get(), HANG) for _ in range(number)]


async def test_events_are_handled_in_order_once_put_aside_and_committed(broker: str) -> None:
    handled: asyncio.Queue[str] = asyncio.Queue()
    await write(
        broker, value("1"), b"\xff", value("forged", "another"), value("2"), value("1"), value("bad"), value("3")
    )
    async with running(broker, handled) as consumer:
        assert await take(handled, 3) == ["1", "2", "3"]
    assert consumer.counts == {hook.Outcome.HANDLED: 3, hook.Outcome.DUPLICATE: 1, hook.Outcome.DEAD_LETTER: 3}
    letters = await dead_letters(broker, 3)
    reasons = [dict(letter.headers)["mics-reason"].decode() for letter in letters]
    assert reasons == ["invalid protobuf", "invalid sign", "handler failed: RuntimeError"]
    assert {letter.key for letter in letters} == {b"u1"}

    await write(broker, value("4"))
    async with running(broker, handled):
        assert await take(handled, 1) == ["4"], "what was committed doesn't come again"
