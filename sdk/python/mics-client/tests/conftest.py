from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from .support import Gate, gate


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[Gate]:
    async with gate() as made:
        yield made
