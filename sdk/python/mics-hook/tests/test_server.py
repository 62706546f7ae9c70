"""The four calls over HTTP: believed, refused, too large, too late."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import mics_hook as hook

from .support import app, auth, client, meta, signed


def auth_request(**changes: Any) -> hook.AuthRequest:
    return hook.AuthRequest(meta=meta(**changes), token="valid:u1", device_id="dev1")


async def post(target: Any, body: bytes, path: str = "/auth", **kwargs: Any) -> httpx.Response:
    async with client(target) as c:
        return await c.post(path, content=body, **kwargs)


async def auth_answer(target: Any, body: bytes) -> hook.AuthResponse:
    response = await post(target, body)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/protobuf"
    return hook.AuthResponse.FromString(response.content)


async def test_a_signed_request_is_answered_and_its_meta_echoed() -> None:
    request = auth_request(trace_id="trace")
    answer = await auth_answer(app(), signed(request))
    assert (answer.ok, answer.user_id, answer.config.tenant_secret) == (True, "u1", "dev-secret-t1")
    assert answer.meta == request.meta


async def test_tampered_requests_are_refused() -> None:
    body = signed(auth_request())
    at = body.index(b"valid:u1")
    answer = await auth_answer(app(), body[:at] + b"valid:u2" + body[at + 8 :])
    assert (answer.ok, answer.reason) == (False, "invalid sign")
    assert (await auth_answer(app(), signed(auth_request(), "another secret"))).reason == "invalid sign"


async def test_unsigned_requests_pass_only_where_signing_is_optional() -> None:
    assert (await auth_answer(app(), auth_request().SerializeToString())).reason == "invalid sign"
    assert (await auth_answer(app(require_sign=False), auth_request().SerializeToString())).ok
    wrong = signed(auth_request(), "another secret")
    assert (await auth_answer(app(require_sign=False), wrong)).reason == "invalid sign"


@pytest.mark.parametrize(
    "swap", [lambda s: s[:-2] + chr(ord(s[-2]) ^ 1) + s[-1], lambda s: s.rstrip("="), lambda s: s + "\n"]
)
async def test_signatures_in_another_spelling_are_refused(swap: Any) -> None:
    request = auth_request()
    signed(request)
    request.meta.sign = swap(request.meta.sign)
    assert (await auth_answer(app(), request.SerializeToString())).reason == "invalid sign"


async def test_a_replayed_request_is_refused_once_per_tenant_and_id() -> None:
    target = app()
    body = signed(auth_request())
    assert (await auth_answer(target, body)).ok
    assert (await auth_answer(target, body)).reason == "replayed request"
    assert (await auth_answer(target, signed(auth_request()))).ok


async def test_an_unbelieved_request_does_not_burn_the_id() -> None:
    target = app()
    request = auth_request()
    assert (await auth_answer(target, signed(request, "another secret"))).reason == "invalid sign"
    assert (await auth_answer(target, signed(request))).ok


@pytest.mark.parametrize("offset", [-301, 301])
async def test_stale_requests_are_refused(offset: int) -> None:
    at = int((time.time() + offset) * 1000)
    assert (await auth_answer(app(), signed(auth_request(timestamp_ms=at)))).reason == "stale request"
    assert (await auth_answer(app(freshness_window=600), signed(auth_request(timestamp_ms=at)))).ok
    off = app(freshness_window=0)
    body = signed(auth_request(timestamp_ms=1))
    assert (await auth_answer(off, body)).ok
    assert (await auth_answer(off, body)).ok


async def test_the_replay_memory_is_bounded_and_forgets_in_time() -> None:
    now = 0.0
    cache = hook.MemoryReplayCache(capacity=2, clock=lambda: now)
    assert [cache.first_use("t", i, 10) for i in "aab"] == [True, False, True]
    assert cache.first_use("t", "c", 10)
    assert cache.evicted == 1
    assert cache.first_use("t", "a", 10), "evicted"
    now = 11.0
    assert cache.first_use("t", "c", 10)
    assert len(cache._until) == 1


@pytest.mark.parametrize(
    ("tenant", "reason"), [("", "invalid tenant"), (" ", "invalid tenant"), ("t9", "unknown tenant")]
)
async def test_tenants_are_checked(tenant: str, reason: str) -> None:
    assert (await auth_answer(app(), signed(auth_request(tenant_id=tenant)))).reason == reason


async def test_a_blank_secret_and_a_missing_meta_are_refused() -> None:
    assert (await auth_answer(app(), signed(auth_request(tenant_id="blank")))).reason == "unknown tenant"
    assert (await auth_answer(app(), b"")).reason == "invalid tenant"


async def test_refusals_have_the_shape_of_their_call() -> None:
    async def never(_: Any) -> Any:
        raise AssertionError("called")

    target = app(check_message=never, get_group_members=never, get_offline_messages=never)
    bad = meta(tenant_id="t9")
    check = hook.CheckMessageResponse.FromString(
        (await post(target, hook.CheckMessageRequest(meta=bad).SerializeToString(), "/check-message")).content
    )
    assert (check.allow, check.reason) == (False, "unknown tenant")
    members = hook.GetGroupMembersResponse.FromString(
        (await post(target, hook.GetGroupMembersRequest(meta=bad).SerializeToString(), "/get-group-members")).content
    )
    assert list(members.user_ids) == []
    offline = hook.GetOfflineMessagesResponse.FromString(
        (
            await post(target, hook.GetOfflineMessagesRequest(meta=bad).SerializeToString(), "/get-offline-messages")
        ).content
    )
    assert (offline.ok, offline.reason) == (False, "unknown tenant")


async def test_absent_handlers_have_safe_answers() -> None:
    target = app(auth=None)
    assert (await auth_answer(target, signed(auth_request()))).reason == "auth handler not configured"
    check = await post(target, signed(hook.CheckMessageRequest(meta=meta())), "/check-message")
    assert hook.CheckMessageResponse.FromString(check.content).allow
    offline = await post(target, signed(hook.GetOfflineMessagesRequest(meta=meta())), "/get-offline-messages")
    assert hook.GetOfflineMessagesResponse.FromString(offline.content).ok


async def test_the_message_is_typed_and_plain_handlers_work() -> None:
    def check(request: hook.CheckMessageRequest) -> hook.CheckMessageResponse:
        denied = request.message.msg_body.startswith(b"deny")
        return hook.CheckMessageResponse(allow=not denied, reason="denied" if denied else "")

    target = app(check_message=check)
    for body, allow in ((b"deny me", False), (b"fine", True)):
        request = hook.CheckMessageRequest(meta=meta(), message=hook.MessageRequest(msg_id="1", msg_body=body))
        response = await post(target, signed(request), "/check-message")
        assert hook.CheckMessageResponse.FromString(response.content).allow == allow


async def test_unknown_fields_in_the_message_are_harmless() -> None:
    seen: list[hook.CheckMessageRequest] = []

    async def check(request: hook.CheckMessageRequest) -> hook.CheckMessageResponse:
        seen.append(request)
        return hook.CheckMessageResponse(allow=True)

    message = hook.MessageRequest.FromString(hook.MessageRequest(msg_id="1").SerializeToString() + b"\xf2\x3f\x03new")
    response = await post(
        app(check_message=check), signed(hook.CheckMessageRequest(meta=meta(), message=message)), "/check-message"
    )
    assert hook.CheckMessageResponse.FromString(response.content).allow
    assert seen[0].message.msg_id == "1"


async def test_oversized_bodies_are_refused_unread() -> None:
    target = app(max_body_bytes=1000)
    assert (await post(target, b"x" * 1001)).status_code == 413

    async def parts() -> Any:
        for _ in range(11):
            yield b"x" * 100

    async with client(target) as c:
        assert (await c.post("/auth", content=parts())).status_code == 413


async def test_wrong_paths_methods_types_and_bytes_have_their_status() -> None:
    target = app()
    async with client(target) as c:
        assert (await c.post("/other", content=b"")).status_code == 404
        assert (await c.get("/auth")).status_code == 405
        assert (await c.post("/auth", content=b"{}", headers={"content-type": "application/json"})).status_code == 415
        assert (await c.post("/auth", content=b"\xff\xff\xff")).status_code == 400
        ok = await c.post(
            "/auth?x=1", content=signed(auth_request()), headers={"content-type": "application/protobuf; v=1"}
        )
        assert ok.status_code == 200


async def test_a_failed_handler_is_an_outage_and_only_a_message_is_refused() -> None:
    async def fail(_: Any) -> Any:
        raise RuntimeError("password of the database")

    target = app(auth=fail, check_message=fail, get_group_members=fail, get_offline_messages=fail)
    for path, request in (
        ("/auth", auth_request()),
        ("/get-group-members", hook.GetGroupMembersRequest(meta=meta())),
        ("/get-offline-messages", hook.GetOfflineMessagesRequest(meta=meta())),
    ):
        answer = await post(target, signed(request), path)
        assert (path, answer.status_code, answer.content) == (path, 500, b"handler error")
    check = await post(target, signed(hook.CheckMessageRequest(meta=meta())), "/check-message")
    assert check.status_code == 200
    refusal = hook.CheckMessageResponse.FromString(check.content)
    assert (refusal.allow, refusal.reason) == (False, "handler error")


async def raises(_: Any) -> Any:
    raise asyncio.TimeoutError


async def returns_nothing(_: Any) -> Any:
    return None


def unreachable(_: str) -> str:
    raise ConnectionError("vault.internal")


@pytest.mark.parametrize(
    "options", [{"check_message": raises}, {"check_message": returns_nothing}, {"tenant_secret_provider": unreachable}]
)
async def test_a_message_never_passes_because_its_check_failed(options: dict[str, Any]) -> None:
    check = await post(app(**options), signed(hook.CheckMessageRequest(meta=meta())), "/check-message")
    assert check.status_code == 200
    refusal = hook.CheckMessageResponse.FromString(check.content)
    assert (refusal.allow, refusal.reason) == (False, "handler error")


async def test_a_slow_handler_is_answered_with_503_and_stopped() -> None:
    stopped = asyncio.Event()

    async def slow(_: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    response = await post(app(auth=slow, time_budget=0.02), signed(auth_request()))
    assert response.status_code == 503
    await asyncio.wait_for(stopped.wait(), 10)


async def test_it_can_be_mounted_under_a_path() -> None:
    outer = Starlette(routes=[Mount("/tenants/hooks", app=app())])
    response = await post(outer, signed(auth_request()), "/tenants/hooks/auth")
    assert hook.AuthResponse.FromString(response.content).ok


async def test_lifespan_is_answered() -> None:
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return inbox.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_gone_client_and_a_stuck_body_end_the_request() -> None:
    scope = {"type": "http", "method": "POST", "path": "/auth", "headers": []}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def stuck() -> Any:
        await asyncio.sleep(60)

    await app()(scope, gone, send)
    assert sent == []
    await app(read_timeout=0.01)(scope, stuck, send)
    assert sent[0]["status"] == 408


async def test_a_provider_may_be_async() -> None:
    async def secret(_: str) -> str:
        return "dev-secret-t1"

    assert (await auth_answer(app(tenant_secret_provider=secret, auth=auth), signed(auth_request()))).ok
