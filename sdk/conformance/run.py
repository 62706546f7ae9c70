#!/usr/bin/env python3
"""Builds and runs the conformance programs of all SDKs against a real gateway, and prints language x scenario.

    sdk/conformance/run.py                     everything
    sdk/conformance/run.py --list              the programs and scenarios that are there
    sdk/conformance/run.py --only rust,node    only programs of these names
    sdk/conformance/run.py --scenario drain    only these scenarios
    sdk/conformance/run.py --no-build          programs are as they were built before

The gateway is $MICS_BIN, else target/release/mics. Exit status: 0 nothing failed, 1 something did, 2 wrong usage.
"""

import argparse
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from rig import client_scenarios, hook_scenarios
from rig.failure import Failure, Skip
from rig.limited_tenant import LimitedTenant
from rig.processes import ROOT, Gateway, Kafka, hook_mock

BUILD_SECONDS = 900
ATTEMPTS = 3
PASS, FAIL, SKIP = "pass", "FAIL", "skip"


class Entry:
    """One program, as its conformance.json describes it."""

    def __init__(self, path, given):
        self.folder = os.path.dirname(os.path.abspath(path))
        self.name, self.kind, self.build = given["name"], given["kind"], given.get("build", [])
        self.run = self._resolve(given["run"])
        self.leave_out = set(given.get("skip", []))

    def _resolve(self, argv):
        own = os.path.join(self.folder, argv[0])
        return [own if "/" in argv[0] and os.path.exists(own) else argv[0], *argv[1:]]

    def prepare(self):
        """Builds it. Skip when the build says `SKIP ...`, Failure when it fails."""
        if not self.build:
            return
        try:
            done = subprocess.run(
                self._resolve(self.build), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace", timeout=BUILD_SECONDS, check=False)
        except FileNotFoundError as error:
            raise Skip(f"{error.filename} is missing") from None
        except subprocess.TimeoutExpired:
            raise Failure(f"the build took more than {BUILD_SECONDS} s") from None
        said = [line for line in done.stdout.splitlines() if line.startswith("SKIP ")]
        if done.returncode == 0 and said:
            raise Skip(said[0])
        if done.returncode:
            raise Failure(f"the build failed with {done.returncode}:\n" + "\n".join(done.stdout.splitlines()[-15:]))


def discover(only):
    entries = []
    for path in sorted(glob.glob(os.path.join(ROOT, "sdk/**/conformance.json"), recursive=True)):
        if "node_modules" in path or f"{os.sep}target{os.sep}" in path:
            continue
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        entries += [Entry(path, one) for one in (given if isinstance(given, list) else [given])]
    return [entry for entry in entries if not only or entry.name in only]


class Rig:
    """What scenarios share: gateway, hook mock, Kafka, and the list of programs."""

    def __init__(self, binary, clients, log_folder):
        self.binary, self.clients, self.log_folder = binary, clients, log_folder
        groups = {self.group_name(entry): self.group_of(entry) for entry in clients}
        self.mock = self.limited = self.gateway = self._kafka = None
        self.kafka_missing = ""
        self.mock = hook_mock(binary, log_folder, groups)
        self.limited = LimitedTenant()
        self.gateway = Gateway(binary, {"t1": self.mock.base, "limited": self.limited.base}, log_folder)

    def group_name(self, entry):
        return f"group-{entry.name}"

    def group_of(self, entry):
        return [f"{entry.name}-member-{i}" for i in range(3)]

    def place(self, entry):
        return self.clients.index(entry)

    def next_client(self, entry):
        """The client that comes after this one in the ring; itself when it's alone."""
        return self.clients[(self.place(entry) + 1) % len(self.clients)]

    def kafka(self):
        if self.kafka_missing:
            raise Skip(self.kafka_missing)
        if not self._kafka:
            try:
                self._kafka = Kafka(self.log_folder)
            except Skip as skip:
                self.kafka_missing = str(skip)
                raise
        return self._kafka

    def stop(self):
        for part in (self.gateway, self.limited, self.mock, self._kafka):
            if part:
                part.stop()


class Results:
    """Program -> scenario -> outcome; told as they come and as a table."""

    def __init__(self):
        self.rows, self.failures = {}, []

    def add(self, entry, scenario, outcome, why="", seconds=0.0):
        key = f"{entry.name} ({entry.kind})"
        self.rows.setdefault(entry.kind, {}).setdefault(key, {})[scenario] = outcome
        if outcome == FAIL:
            self.failures.append(f"{key} {scenario}: {why}")
        text = f"{outcome:4}  {entry.kind:6} {entry.name:12} {scenario:16} {seconds:5.1f} s  {why if outcome != PASS else ''}"
        print(text.rstrip(), flush=True)

    def table(self, kind, scenarios):
        rows = self.rows.get(kind, {})
        if not rows:
            return
        names = [name.removesuffix(f" ({kind})") for name in rows]
        print(f"\n{kind} programs".ljust(20) + "  ".join(f"{name:>10}" for name in names))
        for scenario in scenarios:
            print(f"  {scenario:17}" + "  ".join(f"{cells.get(scenario, '-'):>10}" for cells in rows.values()))

    def counts(self):
        return [sum(cell == what for rows in self.rows.values() for row in rows.values() for cell in row.values())
                for what in (PASS, FAIL, SKIP)]


def attempt(results, entry, scenario, run):
    """Runs a scenario. It's repeated only when a gateway saw hooks that were late: the machine, not the program.

    `run` takes the number of the attempt and a list, to which it adds how many were late.
    """
    if scenario in entry.leave_out:
        return results.add(entry, scenario, SKIP, "left out by its conformance.json")
    start = time.monotonic()
    for number in range(1, ATTEMPTS + 1):
        late = []
        try:
            run(number, late)
            return results.add(entry, scenario, PASS, seconds=time.monotonic() - start)
        except Skip as skip:
            return results.add(entry, scenario, SKIP, str(skip))
        except Failure as failure:
            why = str(failure)
        except Exception:  # a mistake of the rig must not end the other scenarios
            why = traceback.format_exc()
        if number == ATTEMPTS or not any(late):
            return results.add(entry, scenario, FAIL, why, time.monotonic() - start)


def run_client(rig, results, entry, scenarios):
    for name, scenario in scenarios.items():
        def once(number, late, scenario=scenario, name=name):
            client = client_scenarios.Client(rig, entry, f"{name}-{number}")
            try:
                scenario(client)
            finally:
                late.append(client.late_hooks())
                client.end()
        attempt(results, entry, name, once)


def run_hook(rig, results, entry, scenarios):
    try:
        hook = hook_scenarios.Hook(rig, entry)
    except Failure as failure:
        for name in scenarios:
            results.add(entry, name, FAIL, str(failure))
        return
    try:
        for name, scenario in scenarios.items():
            def once(_, late, scenario=scenario):
                before = hook.gateway.late_hooks()
                try:
                    scenario(hook)
                finally:
                    late.append(hook.gateway.late_hooks() - before)
            attempt(results, entry, name, once)
    finally:
        hook.end()


def prepare(results, entries, scenarios, build):
    """The entries that can be run; the others get their row of skips or failures."""
    ready = []
    for entry in entries:
        try:
            print(f"build {entry.kind} {entry.name}", flush=True)
            if build:
                entry.prepare()
            ready.append(entry)
        except (Skip, Failure) as reason:
            outcome = SKIP if isinstance(reason, Skip) else FAIL
            for name in scenarios[entry.kind]:
                results.add(entry, name, outcome, str(reason) if name == next(iter(scenarios[entry.kind])) else "as above")
    return ready


def run_story(results):
    """examples/support-chat: a back end with a database and clients of several SDKs."""
    start, entry = time.monotonic(), Story
    done = subprocess.run(
        [os.path.join(ROOT, "examples/support-chat/run.sh")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", timeout=BUILD_SECONDS, check=False)
    skipped = next((line for line in done.stdout.splitlines() if line.startswith("SKIP support-chat")), "")
    outcome = FAIL if done.returncode else SKIP if skipped else PASS
    results.add(entry, "as told", outcome, skipped or done.stdout[-2000:], time.monotonic() - start)


class Story:
    """Stands for the example in the results."""

    name, kind = "support-chat", "story"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--list", action="store_true", help="only name programs and scenarios")
    parser.add_argument("--only", type=names, default=[], help="names of programs, comma separated")
    parser.add_argument("--scenario", type=names, default=[], help="names of scenarios, comma separated")
    parser.add_argument("--no-build", action="store_true", help="take the programs as they are")
    parser.add_argument("--logs", help="folder for the logs of all processes (default: a temporary one)")
    return parser.parse_args()


def main():
    # An exception instead of an end, so that what was started is ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    given = arguments()
    entries = discover(given.only)
    tables = {"client": client_scenarios.SCENARIOS, "hook": hook_scenarios.SCENARIOS}
    wanted = {kind: {n: s for n, s in table.items() if not given.scenario or n in given.scenario}
              for kind, table in tables.items()}
    if given.list:
        for entry in entries:
            print(f"{entry.kind:6} {entry.name:12} {os.path.relpath(entry.folder, ROOT)}")
        for kind, table in wanted.items():
            for name, scenario in table.items():
                print(f"{kind:6} {name:17} {scenario.__doc__}")
        return 0
    binary = os.path.abspath(os.environ.get("MICS_BIN") or os.path.join(ROOT, "target/release/mics"))
    if not os.access(binary, os.X_OK):
        print(f"conformance: no gateway at {binary}: build it (cargo build --release) or set MICS_BIN", file=sys.stderr)
        return 2
    known = {entry.name for entry in entries} | {Story.name}
    unknown = [name for name in given.only if name not in known]
    unknown += [name for name in given.scenario if not any(name in table for table in tables.values())]
    if unknown:
        print(f"conformance: unknown: {', '.join(unknown)}; see --list", file=sys.stderr)
        return 2
    return run(given, entries, wanted, binary)


def run(given, entries, wanted, binary):
    results = Results()
    logs = given.logs or tempfile.mkdtemp(prefix="mics-conformance-")
    os.makedirs(logs, exist_ok=True)
    ready = prepare(results, entries, wanted, not given.no_build)
    rig = Rig(binary, [entry for entry in ready if entry.kind == "client"], logs)
    try:
        for entry in ready:
            runner = run_client if entry.kind == "client" else run_hook
            runner(rig, results, entry, wanted[entry.kind])
    finally:
        rig.stop()
    if not given.scenario and (not given.only or Story.name in given.only):
        os.environ["MICS_BIN"] = binary
        run_story(results)
    for kind, scenarios in {**wanted, Story.kind: ["as told"]}.items():
        results.table(kind, scenarios)
    print()
    for failure in results.failures:
        print("FAILED", failure)
    passed, failed, skipped = results.counts()
    print(f"{passed} passed, {failed} failed, {skipped} skipped; logs in {logs}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
