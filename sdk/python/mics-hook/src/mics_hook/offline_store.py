"""Offline messages in a database: stores OFFLINE_MESSAGE events and answers get-offline-messages from them.

An answer to the gateway is no proof that the user has the messages: it can come too late, and a connection can end
before they are written. So nothing is deleted because it was pulled: delete on a read mark of your own
(`delete_read`), or by age (`delete_older_than`); client SDKs drop what they have seen.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ._proto.mics_hook_pb2 import (
    OFFLINE_MESSAGE,
    GetOfflineMessagesRequest,
    GetOfflineMessagesResponse,
    MqEvent,
)
from ._proto.mics_message_pb2 import MessageRequest
from .events import decode_event_message

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS offline_messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id  TEXT NOT NULL,
    to_user_id TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    msg_id     TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    message    BLOB NOT NULL,
    stored_at  REAL NOT NULL,
    UNIQUE (tenant_id, to_user_id, user_id, device_id, msg_id, event_time)
);
CREATE INDEX IF NOT EXISTS offline_by_recipient ON offline_messages (tenant_id, to_user_id, id);
CREATE INDEX IF NOT EXISTS offline_by_age ON offline_messages (stored_at);
"""


@dataclass(frozen=True, slots=True)
class OfflinePage:
    """Messages as they were in the events, oldest first."""

    messages: list[bytes]
    next_cursor: str
    has_more: bool


class OfflineStore(Protocol):
    """What a database must be able to do. Both calls bear repetition."""

    async def save(self, event: MqEvent) -> bool:
        """Stores the message of an OFFLINE_MESSAGE event under its recipient; false when it was there already."""

    async def page(self, tenant_id: str, user_id: str, max_messages: int, cursor: str) -> OfflinePage:
        """Messages for a user after `cursor` (empty: from the oldest)."""


class SqliteOfflineStore:
    """An `OfflineStore` in SQLite. One process writes; for several, do the same in the database you have."""

    def __init__(self, path: str | Path, max_page_bytes: int = 4 << 20) -> None:
        """Opens or makes the database. A page stays below `max_page_bytes`: the gateway reads at most 8 MiB."""
        self._max_page_bytes = max_page_bytes
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_SCHEMA)

    async def save(self, event: MqEvent) -> bool:
        """Stores the message of an OFFLINE_MESSAGE event; false when it was there already."""
        row = (event.tenant_id, event.to_user_id, event.user_id, event.device_id, event.msg_id)
        sql = (
            "INSERT OR IGNORE INTO offline_messages"
            " (tenant_id, to_user_id, user_id, device_id, msg_id, event_time, message, stored_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
        return await self._change(sql, (*row, event.timestamp, event.event_data, time.time())) == 1

    async def page(self, tenant_id: str, user_id: str, max_messages: int, cursor: str) -> OfflinePage:
        """Messages for a user after `cursor`, oldest first; at least one when there is one."""
        after = min(int(cursor), 2**63 - 1) if cursor.isdecimal() else 0
        where = "tenant_id = ? AND to_user_id = ? AND id > ?"
        sql = f"SELECT id, message FROM offline_messages WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608 - constant
        limit = max(1, max_messages)

        def read(db: sqlite3.Connection) -> OfflinePage:
            messages: list[bytes] = []
            size, last = 0, after
            for row_id, message in db.execute(sql, (tenant_id, user_id, after, limit + 1)):
                if len(messages) == limit or (messages and size + len(message) > self._max_page_bytes):
                    return OfflinePage(messages, str(last), True)
                messages.append(message)
                size += len(message)
                last = row_id
            return OfflinePage(messages, "", False)

        return await self._run(read)

    async def delete_read(self, tenant_id: str, user_id: str, msg_ids: Iterable[str]) -> int:
        """Forgets messages that the user's client has confirmed; gives their number."""
        deleted = 0
        for msg_id in msg_ids:
            sql = "DELETE FROM offline_messages WHERE tenant_id = ? AND to_user_id = ? AND msg_id = ?"
            deleted += await self._change(sql, (tenant_id, user_id, msg_id))
        return deleted

    async def delete_older_than(self, seconds: float) -> int:
        """Forgets messages stored longer ago; gives their number."""
        return await self._change("DELETE FROM offline_messages WHERE stored_at < ?", (time.time() - seconds,))

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._db.close()

    async def _change(self, sql: str, values: tuple[object, ...]) -> int:
        return await self._run(lambda db: db.execute(sql, values).rowcount)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def locked() -> T:
            with self._lock:
                return work(self._db)

        return await asyncio.to_thread(locked)


def offline_event_handler(store: OfflineStore) -> Callable[[MqEvent], Awaitable[None]]:
    """A handler for `MqEventConsumer` that stores OFFLINE_MESSAGE events and passes over the others."""

    async def handle(event: MqEvent) -> None:
        if event.event_type != OFFLINE_MESSAGE:
            return
        if decode_event_message(event) is None:
            # Stored, it would spoil every page that it is in.
            raise ValueError("event_data is no message")
        await store.save(event)

    return handle


def offline_pull_handler(
    store: OfflineStore,
) -> Callable[[GetOfflineMessagesRequest], Awaitable[GetOfflineMessagesResponse]]:
    """A handler for get-offline-messages that answers from the store."""

    async def handle(request: GetOfflineMessagesRequest) -> GetOfflineMessagesResponse:
        page = await store.page(request.meta.tenant_id, request.user_id, request.max_messages, request.cursor)
        messages = [MessageRequest.FromString(m) for m in page.messages]
        return GetOfflineMessagesResponse(
            ok=True, messages=messages, next_cursor=page.next_cursor, has_more=page.has_more
        )

    return handle
