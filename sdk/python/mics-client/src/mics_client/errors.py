"""What can go wrong, and which close codes allow another try. It decides nothing about timing (see `_backoff`)."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class CloseAction(enum.Enum):
    """What a client does after a close code."""

    #: Another try can't help until something else changes: 1002 and 1007 (this client breaks the protocol), 4001
    #: refused token, 4002 unknown tenant, 4409 replaced by a newer connection of the same device, 4410 kicked.
    STOP = "stop"
    #: Try again soon, with jitter: 1006, 1011, 4100, 4200, 4408 and every unknown code.
    RETRY = "retry"
    #: Try again after a long pause: 4429, a connection limit or two clients with one device id.
    RETRY_LATER = "retry_later"


_STOP = frozenset({1002, 1007, 4001, 4002, 4409, 4410})
#: Reasons of a 4001 that tell of the tenant's back end being out of reach, not of a bad token.
_AUTH_UNREACHABLE = frozenset({"hook timeout/failure", "hook queue rejected", "auth hook circuit open", "canceled"})


def close_action(code: int, reason: str = "") -> CloseAction:
    """What to do after a connection ended with this close code and reason, as docs/errors.md says."""
    if code == 4001 and reason in _AUTH_UNREACHABLE:
        return CloseAction.RETRY
    if code in _STOP:
        return CloseAction.STOP
    return CloseAction.RETRY_LATER if code == 4429 else CloseAction.RETRY


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """Why a connection ended.

    `code` is the WebSocket close code: 1005 when the peer gave none, 1006 when the connection broke without a close
    frame or its silence made the client give it up.
    """

    code: int
    reason: str = ""

    @property
    def action(self) -> CloseAction:
        """What a client does after this end."""
        return close_action(self.code, self.reason)


class MicsError(Exception):
    """Base of every error of this package. None of them contains a token or a message body."""

    @property
    def close_info(self) -> CloseInfo:
        """The same fact in the shape of a close; everything that is no refusal counts as 1006."""
        return CloseInfo(1006, str(self))

    @property
    def action(self) -> CloseAction:
        """What to do when this error ended an attempt to connect."""
        return self.close_info.action


class InvalidArgumentError(MicsError, ValueError):
    """An argument or option that can't be used."""

    @property
    def action(self) -> CloseAction:
        """Another try can't help."""
        return CloseAction.STOP


class InvalidStateError(MicsError):
    """`connect()` on a client that isn't disconnected."""


class TokenProviderError(MicsError):
    """The application's token provider raised; `__cause__` is its error."""


class ConnectTimeoutError(MicsError, TimeoutError):
    """No `connect_ack` within `connect_timeout`."""


class ConnectFailedError(MicsError):
    """The connection couldn't be opened: name, TCP, TLS or WebSocket handshake."""


class HttpRefusedError(MicsError):
    """The gateway refused the upgrade with an HTTP status (503: draining or full)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"gateway refused the upgrade with HTTP {status}")
        self.status = status


class ClosedError(MicsError):
    """The gateway closed the connection, or refused it; `info` says how."""

    def __init__(self, info: CloseInfo) -> None:
        super().__init__(f"connection closed: {info.code} {info.reason}".rstrip())
        self.info = info

    @property
    def close_info(self) -> CloseInfo:
        """The close itself."""
        return self.info


class DisconnectedError(MicsError):
    """The client isn't connected and won't be by itself."""

    @property
    def action(self) -> CloseAction:
        """Another try can't help."""
        return CloseAction.STOP


class SendDeadlineError(MicsError, TimeoutError):
    """No outcome within `send_deadline`; the message may or may not have arrived."""


class SendQueueFullError(MicsError):
    """More than `send_queue_capacity` sends are waiting already."""


class DuplicateIdError(MicsError):
    """A message with this id is still waiting for its ack."""


class CryptoError(MicsError):
    """A body couldn't be encrypted or decrypted."""
