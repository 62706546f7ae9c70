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
    """(verdict, what was seen, seconds). Verdicts: PASS, FAIL, NOT HERE, SKIP. What fails is played once more, because hooks
    have 150 ms and a busy machine may need longer; the first failure is told."""
    start = time.monotonic()
    verdict, seen = attempt(each, stage)
    if verdict == "FAIL":
        first = seen
        verdict, seen = attempt(each, stage)
        seen = f"{seen} [second try; the first: {first}]"
    return verdict, " ".join(seen.split()), time.monotonic() - start


def attempt(each, stage):
    try:
        with stage() as made:
            return "PASS", each.run(made)
    except NotHere as reason:
        return "NOT HERE", str(reason)
    except Missing as missing:
        return "SKIP", f"{missing} is missing"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        line = next((frame for frame in reversed(where) if "acceptance" in frame.filename), where[-1])
        return "FAIL", f"{type(error).__name__} {error} ({line.filename.rsplit('/', 1)[-1]}:{line.lineno}: {line.line})"
