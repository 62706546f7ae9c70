"""Waits with a limit.

Not `asyncio.wait_for`: before Python 3.12 that swallows a cancellation which comes just as the work ends, and a
`disconnect()` would wait for a client that goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T], undo: Callable[[T], object]) -> T:
    """The result of `work`; `asyncio.TimeoutError` when it takes longer.

    Late or cancelled, the work is cancelled; `undo` gets a result that nobody takes.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=max(seconds, 0))
    except asyncio.CancelledError:
        await _drop(task, undo)
        raise
    if not task.done():
        await _drop(task, undo)
        raise asyncio.TimeoutError
    return task.result()


async def _drop(task: asyncio.Task[T], undo: Callable[[T], object]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is None:
        undo(task.result())
