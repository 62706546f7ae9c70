"""A tenant's back end: accepts `valid:<user>` tokens, denies bodies that begin with `deny`, keeps offline messages.

python samples/hook_server.py                 (variables: see settings.py)

With OFFLINE_USE_HOOK_PULL=true and KAFKA_BROKERS it also reads the tenants' events, stores OFFLINE_MESSAGE in SQLite
and answers get-offline-messages from there.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket

import uvicorn
from settings import Settings, read_settings

import mics_hook as hook

VALID = "valid:"


class Tenants:
    """The handlers. They must be quick: the gateway waits 150 ms."""

    def __init__(self, settings: Settings) -> None:
        self._s = settings

    async def auth(self, request: hook.AuthRequest) -> hook.AuthResponse:
        """Who is this? A real back end checks the token against its own users."""
        user_id = request.token.removeprefix(VALID)
        if not request.token.startswith(VALID) or not user_id.strip():
            return hook.AuthResponse(ok=False, reason="invalid token")
        config = hook.TenantRuntimeConfig(
            hook_base_url=self._s.public_url,
            tenant_secret=self._s.tenant_secrets[request.meta.tenant_id],
            heartbeat_timeout_seconds=30,
            offline_buffer_ttl_seconds=300,
            offline_use_hook_pull=self._s.offline_use_hook_pull,
        )
        return hook.AuthResponse(ok=True, user_id=user_id, device_id=request.device_id, config=config)

    async def check_message(self, request: hook.CheckMessageRequest) -> hook.CheckMessageResponse:
        """May this message be sent?"""
        if request.message.msg_body.startswith(b"deny"):
            return hook.CheckMessageResponse(allow=False, reason="denied")
        return hook.CheckMessageResponse(allow=True)

    async def get_group_members(self, request: hook.GetGroupMembersRequest) -> hook.GetGroupMembersResponse:
        """Who is in this group?"""
        return hook.GetGroupMembersResponse(user_ids=self._s.group_members.get(request.group_id, []))


def make_app(settings: Settings, store: hook.OfflineStore) -> hook.MicsHookApp:
    """The ASGI application."""
    tenants = Tenants(settings)
    return hook.create_mics_hook_app(
        hook.HookServerOptions(
            tenant_secret_provider=settings.tenant_secrets.get,
            require_sign=settings.require_sign,
            auth=tenants.auth,
            check_message=tenants.check_message,
            get_group_members=tenants.get_group_members,
            get_offline_messages=hook.offline_pull_handler(store),
        )
    )


def make_consumers(settings: Settings, store: hook.OfflineStore) -> list[hook.MqEventConsumer]:
    """One reader of events per tenant; none without Kafka or without hook-pull."""
    if not settings.offline_use_hook_pull or not settings.kafka_brokers:
        return []
    return [
        hook.MqEventConsumer(
            hook.ConsumerOptions(
                bootstrap_servers=settings.kafka_brokers,
                tenant_id=tenant,
                tenant_secret=secret,
                require_sign=settings.require_sign,
            ),
            hook.offline_event_handler(store),
        )
        for tenant, secret in settings.tenant_secrets.items()
    ]


async def main() -> None:
    """Serves until SIGINT or SIGTERM."""
    settings = read_settings()
    store = hook.SqliteOfflineStore(settings.offline_db)
    # Longer than the gateway keeps idle connections, so that none is closed under a request.
    config = uvicorn.Config(make_app(settings, store), log_level="warning", access_log=False, timeout_keep_alive=120)
    listener = socket.create_server(("0.0.0.0", settings.port))
    consumers = make_consumers(settings, store)
    reading = [asyncio.create_task(c.run()) for c in consumers]
    print(f"listening on {listener.getsockname()[1]}", flush=True)
    for signum in (signal.SIGINT, signal.SIGTERM):
        # uvicorn stops at these, and sends itself the same signal once more at the end: let that do nothing.
        signal.signal(signum, lambda *_: None)
    await uvicorn.Server(config).serve(sockets=[listener])
    for consumer in consumers:
        consumer.stop()
    await asyncio.gather(*reading, return_exceptions=True)
    store.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(main())
