"""Reads a tenant's events from Kafka: verified, each handled once, and what can't be handled put aside.

`EventProcessor` is the rule for one record and needs no Kafka; `MqEventConsumer` is the loop around it (needs the
extra `kafka`). Offsets are committed after the handler is done, so nothing is lost; an event can come again after a
crash or a rebalance, which is what `ProcessedEvents` is for.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ._proto.mics_hook_pb2 import MqEvent
from .events import decode_and_verify_mq_event, dlq_topic_name, event_key, event_topic_name
from .idempotency import MemoryProcessedEvents, ProcessedEvents

EventHandler = Callable[[MqEvent], Awaitable[None]]
#: Puts a record aside: key, value, why.
DeadLetter = Callable[[bytes | None, bytes, str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerOptions:
    """Which events, and how patiently; times are in seconds."""

    bootstrap_servers: str
    tenant_id: str
    tenant_secret: str
    #: Put unsigned events aside. A signature that is there must be right in any case.
    require_sign: bool = True
    #: Default: the tenant's event topic.
    topic: str = ""
    #: Default: `mics-hook-<tenant>`.
    group_id: str = ""
    #: Default: the tenant's dead-letter topic, from which `mics dlq replay` sends them again.
    dead_letter_topic: str = ""
    #: Calls of the handler before an event becomes a dead letter.
    max_attempts: int = 3
    #: Pause after the first failed call; doubles up to 5 s.
    retry_backoff: float = 0.2
    #: Where used event keys are known.
    processed: ProcessedEvents = field(default_factory=MemoryProcessedEvents)
    #: Further settings for aiokafka's consumer and producer (`security_protocol`, `sasl_mechanism`, ...).
    client_settings: dict[str, Any] = field(default_factory=dict)
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("mics_hook.consumer"))


class Outcome(enum.Enum):
    """What became of a record."""

    HANDLED = "handled"
    DUPLICATE = "duplicate"
    DEAD_LETTER = "dead letter"


class EventProcessor:
    """Verifies a record, recognises repeated events, calls the handler, and puts aside what can't be handled."""

    def __init__(self, options: ConsumerOptions, handler: EventHandler, dead_letter: DeadLetter) -> None:
        self._options = options
        self._handler = handler
        self._dead_letter = dead_letter

    async def process(self, key: bytes | None, value: bytes | None) -> Outcome:
        """Deals with one record. What `dead_letter` raises comes through: the record isn't done then."""
        o = self._options
        result = decode_and_verify_mq_event(value or b"", o.tenant_secret, o.require_sign)
        event = result.event
        reason = result.reason
        if event is not None and result.ok and event.tenant_id != o.tenant_id:
            reason = "wrong tenant"
        if event is None or reason:
            return await self._put_aside(key, value, reason)
        name = event_key(event)
        if await o.processed.seen(name):
            return Outcome.DUPLICATE
        error = await self._handle(event)
        if error:
            return await self._put_aside(key, value, error)
        await o.processed.mark(name)
        return Outcome.HANDLED

    async def _handle(self, event: MqEvent) -> str:
        """Calls the handler until it succeeds; gives why it didn't, or nothing."""
        o = self._options
        pause = o.retry_backoff
        for attempt in range(1, o.max_attempts + 1):
            try:
                await self._handler(event)
                return ""
            except Exception as e:
                o.logger.warning("event %s: attempt %d failed", event.msg_id, attempt, exc_info=True)
                error = f"handler failed: {type(e).__name__}"
            if attempt < o.max_attempts:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
        return error

    async def _put_aside(self, key: bytes | None, value: bytes | None, reason: str) -> Outcome:
        self._options.logger.error("dead letter: %s (%d bytes)", reason, len(value or b""))
        await self._dead_letter(key, value or b"", reason)
        return Outcome.DEAD_LETTER


class MqEventConsumer:
    """The loop: partitions side by side, the events of one partition in order."""

    def __init__(self, options: ConsumerOptions, handler: EventHandler) -> None:
        self._options = options
        self._processor = EventProcessor(options, handler, self._send_dead_letter)
        self._stopping = asyncio.Event()
        self._producer: Any = None
        self.topic = options.topic or event_topic_name(options.tenant_id)
        self.dead_letter_topic = options.dead_letter_topic or dlq_topic_name(options.tenant_id)
        #: Records by outcome since the start.
        self.counts = dict.fromkeys(Outcome, 0)

    def stop(self) -> None:
        """Ends `run()` after the events at hand."""
        self._stopping.set()

    async def run(self) -> None:
        """Consumes until `stop()`. While no broker answers it goes on trying."""
        from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # noqa: PLC0415 - an optional dependency

        o = self._options
        common = {"bootstrap_servers": o.bootstrap_servers, **o.client_settings}
        group = o.group_id or f"mics-hook-{o.tenant_id}"
        self._producer = AIOKafkaProducer(acks="all", enable_idempotence=True, **common)
        consumer = AIOKafkaConsumer(
            self.topic, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest", **common
        )
        try:
            await self._start(self._producer)
            await self._start(consumer)
            while not self._stopping.is_set():
                batches = await consumer.getmany(timeout_ms=500)
                await asyncio.gather(*(self._partition(consumer, tp, records) for tp, records in batches.items()))
        finally:
            await consumer.stop()
            await self._producer.stop()

    async def _start(self, client: Any) -> None:
        from aiokafka.errors import KafkaError  # noqa: PLC0415

        while not self._stopping.is_set():
            try:
                await client.start()
                return
            except KafkaError as e:
                self._options.logger.warning("kafka: %s", e)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def _partition(self, consumer: Any, partition: Any, records: list[Any]) -> None:
        from aiokafka.errors import KafkaError  # noqa: PLC0415

        done = None
        try:
            for record in records:
                if self._stopping.is_set() or not await self._record(record):
                    break
                done = record.offset + 1
        finally:
            if done is not None:
                try:
                    await consumer.commit({partition: done})
                except KafkaError as e:
                    # The partition went to another consumer: it reads these events again and recognises them.
                    self._options.logger.warning("offset %d of %s not committed: %s", done, partition, e)

    async def _record(self, record: Any) -> bool:
        """Deals with a record, again and again until it is done; false when stopped before."""
        pause = self._options.retry_backoff
        while True:
            try:
                self.counts[await self._processor.process(record.key, record.value)] += 1
                return True
            except Exception as e:  # the broker of the dead letters or the store of processed events is away
                self._options.logger.error("record %d is not done, trying again: %s", record.offset, e)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return False
            pause = min(pause * 2, 5.0)

    async def _send_dead_letter(self, key: bytes | None, value: bytes, reason: str) -> None:
        headers = [("mics-reason", reason.encode())]
        await self._producer.send_and_wait(self.dead_letter_topic, value, key=key, headers=headers)
