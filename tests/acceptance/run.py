#!/usr/bin/env python3
"""Plays the acceptance on this machine, with real processes, and writes a report. Started by scripts/acceptance.sh, which
explains the options."""

import argparse
import datetime
import functools
import os
import pathlib
import platform
import shutil
import sys

import setup
import tools

if not setup.ready():
    sys.exit(print("SKIP acceptance: the Python packages are missing"))

import items  # noqa: E402
import messages  # noqa: E402, F401
import operations  # noqa: E402, F401
import tenants  # noqa: E402, F401
from stage import Stage  # noqa: E402

ORDER = [*(f"A{number}" for number in range(1, 17)), *(f"P{number}" for number in range(1, 7)), "V1", "V2", "S1", "C1", "X1", "D1"]


def options():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--report", default="acceptance-report.md")
    return parser.parse_args()


def chosen(asked):
    everything = sorted(items.ALL, key=lambda each: ORDER.index(each.id))
    if not asked:
        return everything
    wanted = asked.upper().split(",")
    if unknown := [each for each in wanted if each not in ORDER]:
        print(f"acceptance: no item {', '.join(unknown)}; there are {', '.join(ORDER)}", file=sys.stderr)
        sys.exit(2)
    return [each for each in everything if each.id in wanted]


def main():
    asked = options()
    program = tools.mics()
    if not program:
        sys.exit(print("SKIP acceptance: the gateway is not built (cargo build --release, or MICS_BIN)"))
    stage = functools.partial(Stage, program, asked.quick)
    # Beside the report; a failure of an earlier run must not be taken for one of this.
    logs = pathlib.Path(f"{asked.report}.logs")
    shutil.rmtree(logs, ignore_errors=True)
    rows, count = [], {}
    for each in chosen(asked.only):
        command = f"`scripts/acceptance.sh --only {each.id}`"
        if each.full and asked.quick:
            verdict, seen, seconds = "LEFT OUT", "too long for --quick", 0
        else:
            verdict, seen, seconds = items.play(each, stage, logs)
        count[verdict] = count.get(verdict, 0) + 1
        print(f"{verdict:9} {each.id:4} {each.title}: {seen} ({seconds:.1f} s)", flush=True)
        rows.append(f"| {each.id} | {each.title} | {command} | **{verdict}** | {seen.replace('|', '/')} | {seconds:.1f} |")
    total = ", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items()))
    pathlib.Path(asked.report).write_text(report(program, rows, total))
    print(f"acceptance: {total}; report in {asked.report}{f', logs of what failed in {logs}' if logs.exists() else ''}")
    sys.exit(1 if count.get("FAIL") else 0)


def report(program, rows, total):
    now = datetime.datetime.now(datetime.timezone.utc)
    head = [
        "# Acceptance report",
        "",
        f"{now:%Y-%m-%d %H:%M} UTC; {os.cpu_count()} cores, {platform.system()} {platform.release()}; load {os.getloadavg()[0]:.1f}; binary `{pathlib.Path(program).name}`, "
        f"{os.path.getsize(program) / 1e6:.0f} MB.",
        "",
        f"{total}. NOT HERE: what one machine can show was seen and is right; the rest is named. What each item asks: docs/ops/acceptance.md.",
        "",
        "| item | what | command | verdict | seen | s |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(head + rows) + "\n"


main()
