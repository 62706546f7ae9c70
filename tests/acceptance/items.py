"""How items of the acceptance are declared and run."""

import dataclasses
import threading
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


# Hooks have 150 ms: a machine that lets a program wait longer than this decides nothing by a failure.
STARVED_SECONDS = 0.1
TRIES, TRIES_OF_THE_STARVED = 2, 5


class Starvation(threading.Thread):
    """Measures how long this machine keeps a program waiting that wants to run: `worst`, in seconds."""

    def __init__(self):
        super().__init__(daemon=True)
        self.worst, self.ended = 0.0, threading.Event()
        self.start()

    def run(self):
        pause = 0.01
        begin = time.monotonic()
        while not self.ended.wait(pause):
            now = time.monotonic()
            self.worst, begin = max(self.worst, now - begin - pause), now


def play(each, stage, logs):
    """(verdict, what was seen, seconds). Verdicts: PASS, FAIL, NOT HERE, SKIP. What fails is played once more, and on a machine
    that was starved meanwhile up to five times; every failure is told, and what the processes said stays in the folder `logs`.
    A node that died is never given a second try."""
    start, failures = time.monotonic(), []
    while True:
        watch = Starvation()
        verdict, seen = attempt(each, stage, logs / f"{each.id}-{len(failures) + 1}")
        watch.ended.set()
        if verdict != "FAIL":
            break
        starved = watch.worst > STARVED_SECONDS
        failures.append(f"{seen} [programs had to wait {watch.worst * 1000:.0f} ms]" if starved else seen)
        if DIED in seen or len(failures) >= (TRIES_OF_THE_STARVED if starved else TRIES):
            seen = failures.pop()
            break
    told = "".join(f" [try {number} failed: {failure}]" for number, failure in enumerate(failures, 1))
    return verdict, " ".join(f"{seen}{told}".split()), time.monotonic() - start


def attempt(each, stage, logs):
    died = ""
    try:
        with stage() as made:
            try:
                verdict, seen = "PASS", each.run(made)
            except NotHere as reason:
                verdict, seen = "NOT HERE", str(reason)
            except Missing:
                raise
            except Exception:
                keep(made, logs)
                raise
            finally:
                died = made.died()
                if died:
                    keep(made, logs)
        return ("FAIL", f"{DIED} {died}") if died else (verdict, seen)
    except Missing as missing:
        return "SKIP", f"{missing} is missing"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        line = next((frame for frame in reversed(where) if "acceptance" in frame.filename), where[-1])
        died = died and f" {DIED} {died}"
        return "FAIL", f"{type(error).__name__} {error}{died} ({line.filename.rsplit('/', 1)[-1]}:{line.lineno}: {line.line})"


def keep(made, logs):
    """Copies what the processes have said so far, and the nodes' metrics."""
    logs.mkdir(parents=True, exist_ok=True)
    for name, text in made.said().items():
        (logs / name).write_text(text)
