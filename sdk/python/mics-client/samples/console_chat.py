"""A chat on the console. Type a line to send it; `/quit` or the end of input leaves.

python samples/console_chat.py --user u1 --to u2          (and in a second terminal: --user u2 --device dev2 --to u1)
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from mics_client import SENT, AesGcmMessageCrypto, Closed, Delivery, MicsClient, MicsClientOptions, MicsError


def parse() -> argparse.Namespace:
    """Reads the command line."""
    p = argparse.ArgumentParser(description="Console chat over a MICS gateway")
    p.add_argument("--url", default="ws://localhost:8080/ws")
    p.add_argument("--tenant", default="t1")
    p.add_argument("--user", default="u1", help="the sample's hook servers take the token valid:<user>")
    p.add_argument("--device", default="dev1")
    target = p.add_mutually_exclusive_group()
    target.add_argument("--to", default="u2", help="user to write to")
    target.add_argument("--group", help="group to write to instead")
    p.add_argument("--key", help="16, 24 or 32 bytes in hex, shared by all who chat: bodies are encrypted end to end")
    return p.parse_args()


def show(d: Delivery) -> None:
    """Prints a message."""
    m = d.message
    where = f" in {m.group_id}" if m.group_id else ""
    text = "(cannot be decrypted)" if d.decrypt_failed else m.msg_body.decode(errors="replace")
    print(f"{m.user_id}{where}: {text}")


def show_closed(c: Closed) -> None:
    """Prints the end of a connection."""
    print(f"* closed {c.info.code} {c.info.reason}" + (", coming back" if c.reconnecting else ""))


async def write(client: MicsClient, args: argparse.Namespace, line: str) -> None:
    """Sends a line and tells when it did not arrive."""
    body = line.encode()
    try:
        if args.group:
            ack = await client.send_group_chat(args.group, body)
        else:
            ack = await client.send_single_chat(args.to, body)
    except MicsError as e:
        print(f"* not sent: {e}")
        return
    if ack.status != SENT:
        print(f"* not delivered: {ack.reason}")


async def main() -> None:
    """Connects, then sends what is typed."""
    args = parse()
    crypto = AesGcmMessageCrypto(bytes.fromhex(args.key)) if args.key else None
    client = MicsClient(MicsClientOptions(message_crypto=crypto))
    client.on_state_changed = lambda s: print(f"* {s.value}")
    client.on_delivery_received = show
    client.on_closed = show_closed
    client.on_overflow = lambda n: print(f"* {n} events lost")
    # A real application asks its own back end here, each time.
    await client.connect(args.url, args.tenant, lambda: f"valid:{args.user}", args.device)
    loop = asyncio.get_running_loop()
    while (line := await loop.run_in_executor(None, sys.stdin.readline)).strip() != "/quit" and line:
        if line.strip():
            await write(client, args, line.rstrip("\n"))
    await client.disconnect()


logging.basicConfig(level=logging.WARNING)
try:
    asyncio.run(main())
except MicsError as e:
    sys.exit(f"cannot connect: {e}")
