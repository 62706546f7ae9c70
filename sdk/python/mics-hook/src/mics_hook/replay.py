"""Remembers the requests of the freshness window, so that a recorded one can't be used again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Protocol


class ReplayCache(Protocol):
    """Where used request ids are known. Several processes of one tenant share one (Redis `SET NX PX` does it)."""

    def first_use(self, tenant_id: str, request_id: str, ttl: float) -> bool | Awaitable[bool]:
        """True once per id within `ttl` seconds."""


class MemoryReplayCache:
    """For one process. Bounded: above `capacity` the oldest ids are forgotten and counted in `evicted`."""

    def __init__(self, capacity: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._clock = clock
        self._until: dict[tuple[str, str], float] = {}
        #: Ids forgotten before their time: a replay of these would pass. Raise the capacity when it grows.
        self.evicted = 0

    def first_use(self, tenant_id: str, request_id: str, ttl: float) -> bool:
        """True once per id within `ttl` seconds."""
        now = self._clock()
        self._forget(now)
        key = (tenant_id, request_id)
        if key in self._until:
            return False
        self._until[key] = now + ttl
        if len(self._until) > self._capacity:
            del self._until[next(iter(self._until))]
            self.evicted += 1
        return True

    def _forget(self, now: float) -> None:
        # All live equally long, so the oldest come first.
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] > now:
                return
            del self._until[oldest]
