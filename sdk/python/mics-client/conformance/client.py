"""The client behind the conformance script: commands and events as JSON lines on stdin and stdout."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import Callable
from typing import Any

from mics_client import (
    AckStatus,
    AesGcmMessageCrypto,
    Closed,
    ClosedError,
    HttpRefusedError,
    MessageAck,
    MicsClient,
    MicsClientOptions,
    MicsError,
    MicsSession,
)
from mics_client.events import Delivery

Json = dict[str, Any]


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def options_of(command: Json) -> MicsClientOptions:
    """`ackTimeoutMs` becomes `ack_timeout` in seconds; other names only change their case."""
    values: Json = {}
    for name, value in (command.get("options") or {}).items():
        is_ms = name.endswith("Ms")
        snake = re.sub("([A-Z])", lambda m: "_" + m[1].lower(), name.removesuffix("Ms"))
        values[snake] = value / 1000 if is_ms else value
    if command.get("key"):
        values["message_crypto"] = AesGcmMessageCrypto(bytes.fromhex(command["key"]))
    return MicsClientOptions(**values)


def token_provider(tokens: list[str]) -> Callable[[], str]:
    """One token per attempt, the last one repeated."""
    left = list(tokens)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def session_json(session: MicsSession) -> Json:
    return {
        "tenantId": session.tenant_id,
        "userId": session.user_id,
        "deviceId": session.device_id,
        "nodeId": session.node_id,
        "traceId": session.trace_id,
    }


def ack_json(ack: MessageAck) -> Json:
    return {"msgId": ack.msg_id, "status": AckStatus.Name(ack.status), "reason": ack.reason}


def on_delivery(d: Delivery) -> None:
    m = d.message
    body = base64.b64encode(m.msg_body).decode()
    say(event="delivery", msgId=m.msg_id, group=m.group_id, body=body, **{"from": m.user_id})


def on_closed(closed: Closed) -> None:
    say(event="closed", code=closed.info.code, terminal=not closed.reconnecting)


def tell_events(client: MicsClient) -> None:
    client.on_state_changed = lambda s: say(event="state", state=s.value)
    client.on_connected = lambda s: say(event="connected", session=session_json(s))
    client.on_delivery_received = on_delivery
    client.on_server_error_received = lambda e: say(event="serverError", code=e.code, message=e.message)
    client.on_closed = on_closed


class Program:
    """One client at a time; a second `connect` makes a new one."""

    def __init__(self) -> None:
        self.client = MicsClient()

    async def connect(self, c: Json) -> Json:
        self.client = MicsClient(options_of(c))
        tell_events(self.client)
        session = await self.client.connect(c["url"], c["tenantId"], token_provider(c["tokens"]), c["deviceId"])
        return {"session": session_json(session)}

    async def send(self, c: Json) -> Json:
        ack = await self.client.send_single_chat(c["to"], base64.b64decode(c["body"]), c.get("msgId"))
        return {"ack": ack_json(ack)}

    async def send_group(self, c: Json) -> Json:
        ack = await self.client.send_group_chat(c["group"], base64.b64decode(c["body"]), c.get("msgId"))
        return {"ack": ack_json(ack)}

    async def disconnect(self, _: Json) -> Json:
        await self.client.disconnect()
        return {}

    async def answer(self, command: Json) -> None:
        """Carries one command out; it is answered once, whatever happens."""
        work = {
            "connect": self.connect,
            "send": self.send,
            "sendGroup": self.send_group,
            "disconnect": self.disconnect,
            "exit": self.disconnect,
        }
        n = command.get("n")
        try:
            say(n=n, ok=True, **await work[command["op"]](command))
        except ClosedError as e:
            say(n=n, ok=False, error=str(e), code=e.info.code)
        except HttpRefusedError as e:
            say(n=n, ok=False, error=str(e), code=e.status)
        except (MicsError, KeyError, TypeError, ValueError) as e:
            say(n=n, ok=False, error=f"{type(e).__name__}: {e}")


async def main() -> None:
    loop = asyncio.get_running_loop()
    program = Program()
    pending: set[asyncio.Task[None]] = set()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        task = asyncio.create_task(program.answer(command))
        pending.add(task)
        task.add_done_callback(pending.discard)
        if command.get("op") == "exit":
            await asyncio.wait(pending)
            return
    await program.client.disconnect()


asyncio.run(main())
