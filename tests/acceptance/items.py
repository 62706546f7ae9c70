"""How items of the acceptance are declared and run."""

import dataclasses
import time
import traceback
from collections.abc import Callable

from stage import Missing

ALL = []
DIED = "A NODE DIED:"


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
    have 150 ms and a busy machine may need longer; the first failure is told. A node that died is never given a second try."""
    start = time.monotonic()
    verdict, seen = attempt(each, stage)
    if verdict == "FAIL" and DIED not in seen:
        first = seen
        verdict, seen = attempt(each, stage)
        seen = f"{seen} [second try; the first: {first}]"
    return verdict, " ".join(seen.split()), time.monotonic() - start


def attempt(each, stage):
    died = ""
    try:
        with stage() as made:
            try:
                verdict, seen = "PASS", each.run(made)
            except NotHere as reason:
                verdict, seen = "NOT HERE", str(reason)
            finally:
                died = made.died()
        return ("FAIL", f"{DIED} {died}") if died else (verdict, seen)
    except Missing as missing:
        return "SKIP", f"{missing} is missing"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        line = next((frame for frame in reversed(where) if "acceptance" in frame.filename), where[-1])
        died = died and f" {DIED} {died}"
        return "FAIL", f"{type(error).__name__} {error}{died} ({line.filename.rsplit('/', 1)[-1]}:{line.lineno}: {line.line})"
