"""Counters of one client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ClientStats:
    """All only grow."""

    #: Heartbeat pings written.
    heartbeats_sent: int = 0
    #: Connections opened after the first.
    reconnects: int = 0
    #: Repeated deliveries that were not handed over.
    duplicates_dropped: int = 0
    #: Events lost because an event queue was full.
    events_dropped: int = 0
