"""Remembers which events were handled, so that one that comes twice is handled once."""

from __future__ import annotations

from typing import Protocol

EventKey = tuple[str, ...]


class ProcessedEvents(Protocol):
    """Where handled events are known. The gateway repeats one within minutes, a replay of dead letters at any time."""

    async def seen(self, key: EventKey) -> bool:
        """True when this event was handled."""

    async def mark(self, key: EventKey) -> None:
        """Remembers that it was."""


class MemoryProcessedEvents:
    """For one process, forgotten with it: enough where the handler itself bears repeated events."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._keys: dict[EventKey, None] = {}

    async def seen(self, key: EventKey) -> bool:
        """True when this event was handled."""
        return key in self._keys

    async def mark(self, key: EventKey) -> None:
        """Remembers that it was; above the capacity the oldest are forgotten."""
        self._keys[key] = None
        if len(self._keys) > self._capacity:
            del self._keys[next(iter(self._keys))]
