"""What the samples read from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """See `read_settings` for the variables and their defaults."""

    port: int
    require_sign: bool
    tenant_secrets: dict[str, str]
    group_members: dict[str, list[str]]
    public_url: str
    offline_use_hook_pull: bool
    offline_db: str
    kafka_brokers: str


def read_settings(env: Mapping[str, str] = os.environ) -> Settings:
    """Reads the variables; what is not set has the value given here."""
    port = int(env.get("PORT", "8081"))
    return Settings(
        port=port,
        require_sign=truthy(env.get("REQUIRE_SIGN", "true")),
        tenant_secrets=dict(pairs(env.get("TENANT_SECRETS", "t1=dev-secret-t1"))),
        group_members={g: u.split("|") for g, u in pairs(env.get("GROUP_MEMBERS", "group-1=u1|u2|u3"))},
        public_url=env.get("PUBLIC_URL", f"http://127.0.0.1:{port}"),
        offline_use_hook_pull=truthy(env.get("OFFLINE_USE_HOOK_PULL", "false")),
        offline_db=env.get("OFFLINE_DB", "mics-offline.db"),
        kafka_brokers=env.get("KAFKA_BROKERS", ""),
    )


def truthy(text: str) -> bool:
    """True for `true`, `1`, `yes`."""
    return text.strip().lower() in ("true", "1", "yes")


def pairs(text: str) -> list[tuple[str, str]]:
    """Reads `a=1,b=2`."""
    parts = (part.partition("=") for part in text.split(",") if part.strip())
    return [(name.strip(), value.strip()) for name, _, value in parts]
