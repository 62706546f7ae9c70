"""An agent of the desk on a console, with the Python SDK. Takes and prints the same as the Rust console chat."""

import argparse
import asyncio
import sys

from mics_client import SENT, MicsClient, MicsClientOptions


def flags():
    parser = argparse.ArgumentParser()
    for name, default in (("--url", "ws://localhost:8080/ws"), ("--tenantId", "desk"), ("--token", "bob-token"), ("--deviceId", "phone")):
        parser.add_argument(name, default=default)
    return parser.parse_args()


def show(delivery):
    message = delivery.message
    place = f" in {message.group_id}" if message.group_id else ""
    print(f"{message.user_id}{place}: {message.msg_body.decode()}", flush=True)


async def send(client, line):
    target, _, text = line[1:].partition(" ")
    if line.startswith("#"):
        ack = await client.send_group_chat(target, text.encode())
    else:
        ack = await client.send_single_chat(target, text.encode())
    print(f"* sent: {line}" if ack.status == SENT else f"* refused ({ack.reason}): {line}", flush=True)


async def main():
    given = flags()
    client = MicsClient(MicsClientOptions())
    client.on_delivery_received = show
    session = await client.connect(given.url, given.tenantId, lambda: given.token, given.deviceId)
    print(f"* connected as {session.user_id}", flush=True)
    loop = asyncio.get_running_loop()
    while (line := (await loop.run_in_executor(None, sys.stdin.readline)).rstrip("\n")) not in ("", "/quit"):
        await send(client, line)
    await client.disconnect()


asyncio.run(main())
