"""The hook server sample with a database of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "samples"))

import hook_server

logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
with tempfile.TemporaryDirectory() as folder:
    os.environ.setdefault("OFFLINE_DB", str(Path(folder) / "offline.db"))
    asyncio.run(hook_server.main())
