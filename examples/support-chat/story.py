"""The story of the support desk, step by step. Each step waits for what it tells; anything else ends with status 1."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "sdk/conformance"))

from rig.failure import Failure, Skip, expect  # noqa: E402
from rig.processes import HANG, Gateway, Kafka, Process, free_port, until  # noqa: E402

SECRET = "desk-secret"


def say(text):
    print(text, flush=True)


class Person:
    """A client on its console. The first that is installed of its languages."""

    def __init__(self, name, url, commands, logs):
        self.name, self.lines, self.changed = name, [], threading.Condition()
        language, command = next((language, command) for language, command in commands if command)
        flags = ["--url", url, "--tenantId", "desk", "--token", f"{name}-token", "--deviceId", "phone"]
        self.process = Process(name, [*command, *flags], {}, logs, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()
        self.sees(f"* connected as {name}")
        say(f"  {name} is connected ({language})")

    def _read(self):
        for line in self.process.child.stdout:
            with self.changed:
                self.lines.append(line.decode().rstrip("\n"))
                self.changed.notify_all()

    def types(self, line):
        self.process.child.stdin.write((line + "\n").encode())
        self.process.child.stdin.flush()

    def sees(self, line):
        """Waits for a line on this console."""
        with self.changed:
            if not self.changed.wait_for(lambda: line in self.lines, HANG):
                raise Failure(f"{self.name} does not see {line!r}, but {self.lines}")
        if not line.startswith("*"):
            say(f"  {self.name} sees   {line}")

    def says(self, line):
        self.types(line)
        self.sees(f"* sent: {line}")

    def leaves(self):
        self.types("/quit")
        self.process.wait()
        say(f"  {self.name} has left")


class Desk:
    """Gateway, back end and Kafka. Without Java there is no Kafka, and the gateway keeps what absent users missed."""

    def __init__(self, folder, target):
        self.folder, self.cleanup = folder, []
        self.kafka = self._kafka()
        rust = ("Rust", [os.path.join(target, "debug/examples/console_chat")])
        self.customer = [rust]
        self.python = [("Python", installed("sdk/python/mics-client/.venv/bin/python", "agent.py")), rust]
        self.node = [("Node", installed("sdk/ts/dist/index.js", "agent.mjs", shutil.which("node"))), rust]
        self._start(os.path.join(target, "debug/support-chat"))

    def _kafka(self):
        try:
            kafka = Kafka(self.folder)
            self.cleanup.append(kafka.stop)
            return kafka
        except Skip as skip:
            say(f"  {skip}: the gateway keeps messages itself")
            return None

    def _start(self, program):
        brokers, port = self.kafka.brokers if self.kafka else "", free_port()
        env = {"PORT": str(port), "DATA": self.folder, "DESK_SECRET": SECRET, "KAFKA_BROKERS": brokers}
        backend = Process("desk", [program], env, self.folder)
        self.cleanup.append(backend.stop)
        until("the back end is ready", lambda: backend.alive() and listens(port))
        gateway_env = {
            "TENANT_HOOK_SECRETS": json.dumps({"desk": SECRET}), "HOOK_SIGN_REQUIRED": "true",
            "KAFKA__BOOTSTRAP_SERVERS": brokers,
        }
        self.gateway = Gateway(os.environ["MICS_BIN"], {"desk": f"http://127.0.0.1:{port}"}, self.folder, gateway_env)
        self.cleanup.append(self.gateway.stop)

    def person(self, name, commands):
        person = Person(name, self.gateway.url, commands, self.folder)
        self.cleanup.append(person.process.stop)
        return person

    def query(self, database, sql):
        with sqlite3.connect(f"file:{self.folder}/{database}?mode=ro", uri=True) as connection:
            return connection.execute(sql).fetchall()

    def kept(self, count):
        """Waits until the tenant's database holds what somebody missed."""
        if self.kafka:
            until("the tenant keeps it", lambda: self.query("offline.sqlite", "SELECT count(*) FROM message")[0][0] == count)
            say("  ... and the desk keeps it in its database")

    def stop(self):
        while self.cleanup:
            self.cleanup.pop()()


def installed(path, program, interpreter=None):
    """The command of a client in a language whose SDK was built here; none otherwise."""
    path = os.path.join(ROOT, path)
    return [interpreter or path, os.path.join(HERE, program)] if os.path.exists(path) else None


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def story(desk):
    say("1. Alice, a customer, writes to the desk. Bob is there, Carol has her day off.")
    bob = desk.person("bob", desk.python)
    alice = desk.person("alice", desk.customer)
    alice.says("#desk my parcel has not come")
    bob.sees("alice in desk: my parcel has not come")
    desk.kept(1)

    say("2. Bob answers. Alice wants to pay, and the desk refuses card numbers.")
    bob.says("@alice which order is it?")
    alice.sees("bob: which order is it?")
    alice.types("@bob take it from 4111 1111 1111 1111")
    alice.sees("* refused (please send no card numbers): @bob take it from 4111 1111 1111 1111")
    alice.says("@bob order 4711")
    bob.sees("alice: order 4711")

    say("3. Alice goes. What Bob finds out waits for her.")
    alice.leaves()
    until("alice is gone", lambda: desk.gateway.metric("mics_ws_connections") == 1)
    bob.says("@alice it is at your neighbour's")
    bob.says("@alice shall I close the case?")
    desk.kept(3)

    say("4. Alice comes back, Carol starts work: both read what they missed, in order.")
    alice = desk.person("alice", desk.customer)
    alice.sees("bob: it is at your neighbour's")
    alice.sees("bob: shall I close the case?")
    seen = [line for line in alice.lines if line.startswith("bob:")]
    expect(seen[:2] == ["bob: it is at your neighbour's", "bob: shall I close the case?"], f"alice saw {seen}")
    carol = desk.person("carol", desk.node)
    carol.sees("alice in desk: my parcel has not come")
    alice.says("#desk found it, thank you")
    for agent in (bob, carol):
        agent.sees("alice in desk: found it, thank you")

    if desk.kafka:
        say("5. The transcript in the desk's database has every message, and not the refused one:")
        sql = "SELECT sender, recipient, text FROM transcript ORDER BY at_ms"
        until("six messages", lambda: len(desk.query("desk.sqlite", sql)) == 6)
        for sender, recipient, text in desk.query("desk.sqlite", sql):
            say(f"  {sender} -> {recipient}: {text}")
            expect("4111" not in text, "the card number was written down")


def main():
    folder = tempfile.mkdtemp(prefix="mics-support-chat-")
    desk = None
    try:
        desk = Desk(folder, sys.argv[1])
        story(desk)
        say("The story went as told.")
        return 0
    except Failure as failure:
        say(f"FAILED: {failure}; logs in {folder}")
        return 1
    finally:
        if desk:
            desk.stop()


if __name__ == "__main__":
    sys.exit(main())
