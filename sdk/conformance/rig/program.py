"""Drives one client program: commands down its standard input, answers and events up from its standard output."""

import base64
import json
import subprocess
import threading

from .failure import Failure
from .processes import HANG, Process


class Program:
    """One running conformance program of kind "client"."""

    def __init__(self, name, argv, folder, log_folder):
        self.name = name
        self.process = Process(
            name, argv, {}, log_folder, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.events, self.answers, self.last = [], {}, 0
        self.changed, self.ended = threading.Condition(), False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.child.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a library that talks; the log of the program is no part of the protocol
            if not isinstance(said, dict):
                continue
            with self.changed:
                if "event" in said:
                    self.events.append(said)
                elif "n" in said:
                    self.answers[said["n"]] = said
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def start(self, op, **fields):
        """Sends a command and gives its number."""
        self.last += 1
        line = json.dumps({"n": self.last, "op": op, **fields}) + "\n"
        try:
            self.process.child.stdin.write(line.encode())
            self.process.child.stdin.flush()
        except OSError as error:
            raise Failure(f"{self.name}: takes no command: {error}") from None
        return self.last

    def answer(self, number, seconds=HANG):
        return self._wait(f"answer {number}", lambda: self.answers.get(number), seconds)

    def call(self, op, seconds=HANG, **fields):
        return self.answer(self.start(op, **fields), seconds)

    def wait(self, event, since=0, seconds=HANG, **match):
        """The first event of this kind from position `since` whose fields are as in `match`."""
        def find():
            wanted = {"event": event, **match}
            return next((e for e in self.events[since:] if all(e.get(k) == v for k, v in wanted.items())), None)
        return self._wait(f"event {event} {match or ''}", find, seconds)

    def _wait(self, what, find, seconds):
        with self.changed:
            self.changed.wait_for(lambda: find() is not None or self.ended, seconds)
            found = find()
            if found is None:
                why = "the program ended" if self.ended else f"not within {seconds} s"
                raise Failure(f"{self.name}: {what}: {why}; last events: {self.events[-4:]}")
            return found

    def mark(self):
        with self.changed:
            return len(self.events)

    def deliveries(self):
        """(sender, body) of what came so far."""
        with self.changed:
            return [(e["from"], base64.b64decode(e["body"])) for e in self.events if e["event"] == "delivery"]

    def wait_deliveries(self, count, seconds=HANG * 2):
        def enough():
            got = [e for e in self.events if e["event"] == "delivery"]
            return got if len(got) >= count else None
        self._wait(f"{count} deliveries", enough, seconds)
        return self.deliveries()

    # What scenarios say.

    def connect(self, url, user, device="d1", tenant="t1", tokens=None, key=None, **options):
        fields = {"url": url, "tenantId": tenant, "deviceId": device, "tokens": tokens or [f"valid:{user}"]}
        if key:
            fields["key"] = key
        # Long to connect: on a machine under load that takes seconds, and no scenario waits for it in vain.
        fast = {"connectTimeoutMs": 20_000, "reconnectMinDelayMs": 50, "reconnectMaxDelayMs": 500, **options}
        return self.call("connect", options=fast, **fields)

    def connected(self, *args, **kwargs):
        """Connects and gives the session, once the event has come, too."""
        before = self.mark()
        answer = self.connect(*args, **kwargs)
        if not answer.get("ok"):
            raise Failure(f"{self.name}: connect: {answer}")
        self.wait("connected", since=before)
        return answer["session"]

    def send_start(self, to, body, msg_id=None, group=None):
        fields = {"body": base64.b64encode(body).decode()}
        if msg_id:
            fields["msgId"] = msg_id
        return self.start("sendGroup", group=group, **fields) if group else self.start("send", to=to, **fields)

    def ack(self, number, seconds=HANG):
        answer = self.answer(number, seconds)
        if not answer.get("ok"):
            raise Failure(f"{self.name}: send: {answer}")
        return answer["ack"]

    def send(self, to, body, msg_id=None, group=None):
        return self.ack(self.send_start(to, body, msg_id, group))

    def sent(self, to, body, msg_id=None, group=None):
        ack = self.send(to, body, msg_id, group)
        if ack["status"] != "SENT":
            raise Failure(f"{self.name}: not sent: {ack}")
        return ack

    def close(self):
        """Asks the program to end; ends it when it does not."""
        try:
            self.start("exit")
            self.process.child.wait(3)
        except (Failure, subprocess.TimeoutExpired):
            pass
        self.process.stop()
