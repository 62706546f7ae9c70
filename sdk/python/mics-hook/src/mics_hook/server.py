"""The hook server: an ASGI application that answers the gateway's four calls.

It reads the bytes, checks them (size, shape, tenant, signature, freshness, replay), and asks the tenant's handler
within the time that the gateway waits. It knows nothing of the tenant's data.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from ._proto.mics_hook_pb2 import (
    AuthRequest,
    AuthResponse,
    CheckMessageRequest,
    CheckMessageResponse,
    GetGroupMembersRequest,
    GetGroupMembersResponse,
    GetOfflineMessagesRequest,
    GetOfflineMessagesResponse,
    HookMeta,
)
from .replay import MemoryReplayCache, ReplayCache
from .signing import verify_hook_body

PROTOBUF = "application/protobuf"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)
#: Async, or plain (then it runs in a thread).
Handler = Callable[[Req], Res | Awaitable[Res]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookServerOptions:
    """What a tenant's back end is made of; times are in seconds.

    A handler that raises is answered with HTTP 500, so that clients try again; check_message: with a refusal. For a bad
    token return `AuthResponse(ok=False, reason=...)`.
    """

    #: Tenant id -> its secret; None or blank = unknown tenant. Plain or async.
    tenant_secret_provider: Callable[[str], str | Awaitable[str | None] | None]
    #: Absent: every connection is refused.
    auth: Handler[AuthRequest, AuthResponse] | None = None
    #: Absent: every message is allowed.
    check_message: Handler[CheckMessageRequest, CheckMessageResponse] | None = None
    #: Absent: every group is empty.
    get_group_members: Handler[GetGroupMembersRequest, GetGroupMembersResponse] | None = None
    #: Absent: there is nothing to pull.
    get_offline_messages: Handler[GetOfflineMessagesRequest, GetOfflineMessagesResponse] | None = None
    #: Refuse unsigned requests. A signature that is there must be right in any case.
    require_sign: bool = True
    #: How far the time of a signed request may be from ours, either way; 0 = no check of freshness and replay.
    freshness_window: float = 300.0
    #: Where used request ids are known.
    replay_cache: ReplayCache = field(default_factory=MemoryReplayCache)
    #: Longest request body read, in bytes; longer ones get HTTP 413.
    max_body_bytes: int = 2 << 20
    #: How long a handler may take. The gateway waits 150 ms in all; what is later gets HTTP 503, so that the gateway
    #: applies its own rule for hooks that don't answer.
    time_budget: float = 0.12
    #: How long the request body may take.
    read_timeout: float = 5.0
    #: Where the server says what it refused. Tokens, bodies and signatures are never logged.
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("mics_hook"))


class _HttpError(Exception):
    """Ends a request with an HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Gone(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class _Operation(Generic[Req, Res]):
    """One of the four calls: its types, its handler, and what it answers without or instead of the handler."""

    request: type[Req]
    response: type[Res]
    handler: Handler[Req, Res] | None
    unhandled: Callable[[], Res]
    #: An answer with a reason, where the call has a field for it.
    refused: Callable[[str], Res]
    #: A failed handler is a refusal and not HTTP 500, which the gateway takes for an outage.
    refuse_on_error: bool = False


def _operations(o: HookServerOptions) -> dict[str, _Operation[Any, Any]]:
    def auth(reason: str) -> AuthResponse:
        return AuthResponse(ok=False, reason=reason)

    def check(reason: str) -> CheckMessageResponse:
        return CheckMessageResponse(allow=False, reason=reason)

    def offline(reason: str) -> GetOfflineMessagesResponse:
        return GetOfflineMessagesResponse(ok=False, reason=reason)

    def members(_: str = "") -> GetGroupMembersResponse:
        return GetGroupMembersResponse()

    return {
        "auth": _Operation(AuthRequest, AuthResponse, o.auth, lambda: auth("auth handler not configured"), auth),
        # The gateway lets a message pass that could not be checked.
        "check-message": _Operation(
            CheckMessageRequest,
            CheckMessageResponse,
            o.check_message,
            lambda: CheckMessageResponse(allow=True),
            check,
            refuse_on_error=True,
        ),
        "get-group-members": _Operation(
            GetGroupMembersRequest, GetGroupMembersResponse, o.get_group_members, members, members
        ),
        "get-offline-messages": _Operation(
            GetOfflineMessagesRequest,
            GetOfflineMessagesResponse,
            o.get_offline_messages,
            lambda: GetOfflineMessagesResponse(ok=True),
            offline,
        ),
    }


class MicsHookApp:
    """The ASGI application. Run it by itself (uvicorn, hypercorn) or mount it in Starlette or FastAPI under any path.

    Answers POST on `.../auth`, `.../check-message`, `.../get-group-members`, `.../get-offline-messages`; refusals
    (`invalid tenant`, `unknown tenant`, `invalid sign`, `stale request`, `replayed request`) are HTTP 200 with the
    reason in the answer.
    """

    def __init__(self, options: HookServerOptions) -> None:
        self._options = options
        self._operations = _operations(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, or the server's start and stop."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise RuntimeError(f"mics_hook serves no {scope['type']}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            operation = self._route(scope)
            reading = _read(scope, receive, self._options.max_body_bytes)
            body = await asyncio.wait_for(reading, self._options.read_timeout)
            answer = await self._answer(operation, body)
        except _HttpError as e:
            await _respond(send, e.status, "text/plain", str(e).encode())
        except asyncio.TimeoutError:
            await _respond(send, 408, "text/plain", b"request body took too long")
        except _Gone:
            return
        else:
            await _respond(send, 200, PROTOBUF, answer.SerializeToString())

    def _route(self, scope: Scope) -> _Operation[Any, Any]:
        operation = self._operations.get(scope["path"].rstrip("/").rpartition("/")[2])
        if operation is None:
            raise _HttpError(404, "not found")
        if scope["method"] != "POST":
            raise _HttpError(405, "POST only")
        kind = _header(scope, b"content-type")
        if kind and kind.split(";")[0].strip().lower() != PROTOBUF:
            raise _HttpError(415, f"need {PROTOBUF}")
        return operation

    async def _answer(self, operation: _Operation[Any, Any], body: bytes) -> Any:
        try:
            request = operation.request.FromString(body)
        except DecodeError:
            raise _HttpError(400, "not a protobuf message of this call") from None
        try:
            answer = await self._checked(operation, request, body)
        except _HttpError:
            raise
        except Exception:
            self._options.logger.exception("%s failed", operation.request.DESCRIPTOR.name)
            if not operation.refuse_on_error:
                raise _HttpError(500, "handler error") from None
            answer = operation.refused("handler error")
        if not answer.HasField("meta"):
            answer.meta.CopyFrom(request.meta)
        return answer

    async def _checked(self, operation: _Operation[Any, Any], request: Any, body: bytes) -> Any:
        reason = await self._refusal(request.meta, body)
        if reason:
            self._options.logger.warning("request refused: %s (tenant %r)", reason, request.meta.tenant_id)
            return operation.refused(reason)
        answer = await self._handle(operation, request)
        if not isinstance(answer, operation.response):
            raise TypeError(f"the handler returned a {type(answer).__name__}")
        return answer

    async def _refusal(self, meta: HookMeta, body: bytes) -> str:
        """Why this request is not believed; empty when it is."""
        o = self._options
        if not meta.tenant_id.strip():
            return "invalid tenant"
        secret = await _awaited(o.tenant_secret_provider(meta.tenant_id))
        if not secret or not secret.strip():
            return "unknown tenant"
        if not meta.sign and not o.require_sign:
            return ""
        if not meta.sign or not verify_hook_body(secret, meta, body):
            return "invalid sign"
        return await self._staleness(meta)

    async def _staleness(self, meta: HookMeta) -> str:
        """Why a well signed request is too old or was seen before; empty when it is neither."""
        o = self._options
        if o.freshness_window <= 0:
            return ""
        if abs(time.time() - meta.timestamp_ms / 1000) > o.freshness_window:
            return "stale request"
        # Twice the window: a request may be that old and that far ahead.
        first = await _awaited(o.replay_cache.first_use(meta.tenant_id, meta.request_id, 2 * o.freshness_window))
        return "" if first else "replayed request"

    async def _handle(self, operation: _Operation[Any, Any], request: Message) -> Any:
        if operation.handler is None:
            return operation.unhandled()
        try:
            return await asyncio.wait_for(_call(operation.handler, request), self._options.time_budget)
        except asyncio.TimeoutError:
            name = operation.request.DESCRIPTOR.name
            self._options.logger.warning("handler for %s took longer than %.3f s", name, self._options.time_budget)
            raise _HttpError(503, "handler took too long") from None


def create_mics_hook_app(options: HookServerOptions) -> MicsHookApp:
    """Makes the ASGI application."""
    return MicsHookApp(options)


async def _call(handler: Handler[Any, Any], request: Message) -> Any:
    try:
        if inspect.iscoroutinefunction(handler):
            return await handler(request)
        return await _awaited(await asyncio.to_thread(handler, request))
    except asyncio.TimeoutError as e:
        # A handler's own timeout must not be taken for the end of the time budget.
        raise RuntimeError("the handler met a timeout") from e


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _header(scope: Scope, name: bytes) -> str:
    return next((v.decode("latin-1") for k, v in scope["headers"] if k.lower() == name), "")


async def _read(scope: Scope, receive: Receive, limit: int) -> bytes:
    length = _header(scope, b"content-length")
    if length.isdigit() and int(length) > limit:
        raise _HttpError(413, "request body too large")
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > limit:
            raise _HttpError(413, "request body too large")
        if not message.get("more_body", False):
            return bytes(body)


async def _respond(send: Send, status: int, kind: str, body: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
