"""What the application chooses: limits, times, encryption. Only data and its checks."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .crypto import MessageCrypto
from .errors import InvalidArgumentError

#: A fixed token, or a function (plain or async) that is asked for one before every attempt to connect.
TokenProvider = str | Callable[[], str | Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MicsClientOptions:
    """Limits and times; times are in seconds."""

    #: From the call of the token provider to `connect_ack`.
    connect_timeout: float = 5.0
    #: Wait for an ack before the message is sent again under the same id.
    ack_timeout: float = 3.0
    #: Times a message is sent before the local ack FAILED `ack timeout`.
    max_send_attempts: int = 3
    #: From the call to the outcome of a send, time spent reconnecting included.
    send_deadline: float = 30.0
    #: Interval of `heartbeat_ping`; 0 switches heartbeat and pong watchdog off.
    heartbeat_interval: float = 10.0
    #: The connection is given up after two heartbeat intervals plus this without any frame.
    watchdog_slack: float = 2.0
    #: Come back after a lost connection, unless the close code forbids it.
    auto_reconnect: bool = True
    #: Upper end of the first random pause before a reconnect; doubles with every attempt.
    reconnect_min_delay: float = 0.2
    #: Upper end of every such pause.
    reconnect_max_delay: float = 5.0
    #: First pause after 4429 (half of it at least); doubles up to twelve times its length.
    limited_delay: float = 5.0
    #: Messages sent and not yet acked; further sends wait.
    max_in_flight: int = 256
    #: Sends that may wait for that; above it they fail with `SendQueueFullError`.
    send_queue_capacity: int = 1024
    #: Events not yet read by the application; above it they are dropped and told by `Overflow`.
    event_capacity: int = 1024
    #: Deliveries remembered in order to drop repeated ones; 0 switches it off.
    dedup_window: int = 1024
    #: Largest frame accepted from the gateway, in bytes.
    max_frame_bytes: int = 16 << 20
    #: End-to-end encryption of bodies.
    message_crypto: MessageCrypto | None = None
    #: Where the client says what it does. Tokens and bodies are never logged.
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("mics_client"))

    def __post_init__(self) -> None:
        """Refuses values that can't work."""
        positive = (
            "connect_timeout",
            "ack_timeout",
            "max_send_attempts",
            "send_deadline",
            "max_in_flight",
            "send_queue_capacity",
            "event_capacity",
            "max_frame_bytes",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise InvalidArgumentError(f"{name} must be above zero")
