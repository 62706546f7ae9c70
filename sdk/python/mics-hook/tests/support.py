"""A signing gateway and an HTTP client that talks to the ASGI application without a socket."""

from __future__ import annotations

import time
import uuid
from typing import Any

import httpx

import mics_hook as hook

SECRET = "dev-secret-t1"


def meta(**changes: Any) -> hook.HookMeta:
    values: dict[str, Any] = {
        "tenant_id": "t1",
        "request_id": uuid.uuid4().hex,
        "timestamp_ms": int(time.time() * 1000),
    }
    return hook.HookMeta(**(values | changes))


def signed(request: Any, secret: str = SECRET) -> bytes:
    """The bytes as the gateway sends them."""
    request.meta.sign = ""
    payload = request.SerializeToString()
    request.meta.sign = hook.compute_hook_sign_base64(secret, request.meta, payload)
    body: bytes = request.SerializeToString()
    return body


def client(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)
    headers = {"content-type": "application/protobuf"}
    return httpx.AsyncClient(transport=transport, base_url="http://hook", headers=headers)


def secret_of(tenant_id: str) -> str | None:
    return {"t1": SECRET, "blank": " "}.get(tenant_id)


async def auth(request: hook.AuthRequest) -> hook.AuthResponse:
    ok = request.token.startswith("valid:")
    config = hook.TenantRuntimeConfig(hook_base_url="http://hook", tenant_secret=SECRET)
    return hook.AuthResponse(ok=ok, user_id=request.token.removeprefix("valid:"), config=config if ok else None)


def app(**changes: Any) -> hook.MicsHookApp:
    values: dict[str, Any] = {"tenant_secret_provider": secret_of, "auth": auth}
    return hook.create_mics_hook_app(hook.HookServerOptions(**(values | changes)))
