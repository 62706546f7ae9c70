"""How items of the acceptance are declared and run."""

import dataclasses
import time
import traceback
from collections.abc import Callable

from stage import Missing

ALL = []


@dataclasses.dataclass
class Item:
    """`run(stage)` plays one item and returns what was seen, in a line; it raises AssertionError when that is wrong."""

    id: str
    title: str
    run: Callable
    full: bool = False


class NotHere(Exception):
    """What one machine can't show; the text says what was seen instead and how to see the rest."""


def item(id, title, full=False):
    """Declares an item. `full`: too long for --quick."""

    def declare(run):
        ALL.append(Item(id, title, run, full))
        return run

    return declare


def play(each, stage):
    """(verdict, what was seen, seconds). Verdicts: PASS, FAIL, NOT HERE, SKIP."""
    start = time.monotonic()
    try:
        with stage() as made:
            verdict, seen = "PASS", each.run(made)
    except NotHere as reason:
        verdict, seen = "NOT HERE", str(reason)
    except Missing as missing:
        verdict, seen = "SKIP", f"{missing} is missing"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        line = next((frame for frame in reversed(where) if "acceptance" in frame.filename), where[-1])
        verdict, seen = "FAIL", f"{type(error).__name__} {error} ({line.filename.rsplit('/', 1)[-1]}:{line.lineno}: {line.line})"
    return verdict, " ".join(seen.split()), time.monotonic() - start
