"""How long to wait before the next attempt to connect. Pure arithmetic."""

from __future__ import annotations

import random
from collections.abc import Callable

from .errors import CloseAction
from .options import MicsClientOptions


class Backoff:
    """The pauses of one client.

    Full jitter (anything from nothing to the doubling ceiling) spreads the clients of a node that went away; after a
    refusal for its limit at least half of the long pause is kept.
    """

    def __init__(self, options: MicsClientOptions, rng: Callable[[], float] = random.random) -> None:
        self._options = options
        self._rng = rng
        self._attempt = 0
        self._limited = 0

    def next(self, action: CloseAction) -> float:
        """The pause in seconds before the next attempt."""
        o = self._options
        if action is CloseAction.RETRY_LATER:
            ceiling = min(o.limited_delay * 2.0 ** min(self._limited, 4), o.limited_delay * 12)
            self._limited += 1
            return ceiling / 2 + ceiling / 2 * self._rng()
        ceiling = min(o.reconnect_min_delay * 2.0 ** min(self._attempt, 16), o.reconnect_max_delay)
        self._attempt += 1
        return ceiling * self._rng()

    def reset(self) -> None:
        """Forgets earlier failures; called once a connection has proved stable."""
        self._attempt = self._limited = 0
