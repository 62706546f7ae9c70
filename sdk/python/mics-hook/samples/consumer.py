"""Prints a tenant's events as they come.

KAFKA_BROKERS=localhost:9092 python samples/consumer.py

Variables: KAFKA_BROKERS (or KAFKA_BOOTSTRAP_SERVERS), TENANT_ID (t1), TENANT_SECRET (dev-secret-t1),
REQUIRE_SIGN (false), TOPIC (the tenant's), GROUP_ID (mics-hook-<tenant>).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from settings import truthy

import mics_hook as hook


async def show(event: hook.MqEvent) -> None:
    """Handles one event; what it raises is tried again and then put aside."""
    target = event.to_user_id or event.group_id
    line = f"{hook.EventType.Name(event.event_type)} {event.user_id}/{event.device_id}"
    message = hook.decode_event_message(event)
    if message is not None:
        line += f" -> {target} {message.msg_id} ({len(message.msg_body)} bytes)"
    print(line, flush=True)


async def main() -> None:
    """Consumes until SIGINT or SIGTERM."""
    env = os.environ
    options = hook.ConsumerOptions(
        bootstrap_servers=env.get("KAFKA_BROKERS") or env.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        tenant_id=env.get("TENANT_ID", "t1"),
        tenant_secret=env.get("TENANT_SECRET", "dev-secret-t1"),
        require_sign=truthy(env.get("REQUIRE_SIGN", "false")),
        topic=env.get("TOPIC") or env.get("KAFKA_TOPIC", ""),
        group_id=env.get("GROUP_ID") or env.get("KAFKA_GROUP_ID", ""),
    )
    consumer = hook.MqEventConsumer(options, show)
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, consumer.stop)
    print(f"reading {consumer.topic}", flush=True)
    await consumer.run()
    print(", ".join(f"{o.value}: {n}" for o, n in consumer.counts.items()))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(main())
