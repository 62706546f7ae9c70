"""Starts and ends the real processes: gateway, hook mock, Kafka, and the free ports they use."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from .failure import Failure, Skip

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
HANG = 60  # seconds; far above what anything here takes, also on a machine under load


def free_port():
    """A port below the range from which the system takes its own, so that it stays free while a gateway restarts."""
    while True:
        port = random.randint(20000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def until(what, check, seconds=HANG):
    """Calls `check` until it gives something true, and gives that."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


class Process:
    """One process with its children, its output in a file."""

    def __init__(self, name, argv, env, log_folder, cwd=None, **pipes):
        self.log = os.path.join(log_folder, name + ".log")
        self.name = name
        with open(self.log, "ab") as log:
            pipes.setdefault("stdout", log)
            pipes.setdefault("stdin", subprocess.DEVNULL)
            self.child = subprocess.Popen(
                argv, env={**os.environ, **env}, cwd=cwd, stderr=log, start_new_session=True, **pipes)

    def signal(self, number):
        """To the process and what it started; a process that has ended is left alone."""
        if self.child.poll() is None:
            try:
                os.killpg(self.child.pid, number)
            except ProcessLookupError:
                pass

    def wait(self, seconds=HANG):
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {seconds} s") from None

    def stop(self):
        """Asks it to end, makes it end when it does not."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.child.wait(HANG)

    def alive(self):
        if self.child.poll() is not None:
            raise Failure(f"{self.name} ended with {self.child.returncode}; see {self.log}")
        return True


class Server(Process):
    """A process that answers on `port` once `path` gives 200."""

    def __init__(self, name, argv, env, log_folder, port, path):
        super().__init__(name, argv, env, log_folder)
        self.port, self.base = port, f"http://127.0.0.1:{port}"
        until(f"{name} is ready", lambda: self.alive() and self._answers(path))

    def _answers(self, path):
        try:
            return get(self.base + path) is not None
        except (urllib.error.URLError, OSError):
            return False


class Gateway:
    """A gateway that can be stopped and started again on its port."""

    def __init__(self, binary, tenants, log_folder, env=None):
        self.binary, self.log_folder, self.port = binary, log_folder, free_port()
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        self.env = {
            "PORT": str(self.port), "NODE_ID": "node-a", "TENANT_AUTH_MAP": json.dumps(tenants),
            "DRAIN_TIMEOUT_SECONDS": "5", "MAX_MESSAGE_BYTES": "32768", "MICS_CONFIG_FILE": "", **(env or {}),
        }
        self.process = None
        self.start()

    def start(self):
        self.process = Server("gateway", [self.binary, "gateway"], self.env, self.log_folder, self.port, "/readyz")

    def signal(self, number):
        self.process.signal(number)

    def wait(self):
        return self.process.wait()

    def stop(self):
        self.process.stop()

    def metric(self, name, **labels):
        """Sum of the samples of `name` that have these labels; a label that begins with "!" must differ."""
        total = 0.0
        for line in get(self.process.base + "/metrics").splitlines():
            sample = re.fullmatch(re.escape(name) + r"(?:\{(.*)\})? ([0-9.eE+]+)", line)
            if sample and self._matches(dict(re.findall(r'(\w+)="([^"]*)"', sample[1] or "")), labels):
                total += float(sample[2])
        return total

    @staticmethod
    def _matches(have, wanted):
        def one(key, value):
            return have.get(key) != value[1:] if value.startswith("!") else have.get(key) == value
        return all(one(key, value) for key, value in wanted.items())

    def late_hooks(self):
        """Hook calls without an answer in time: on a machine under load that is nobody's fault."""
        return self.metric("mics_hook_requests_total", result="!ok")


def hook_mock(binary, log_folder, groups, secrets=None):
    port = free_port()
    env = {"PORT": str(port), "HOOK_BASE_URL": f"http://127.0.0.1:{port}", "HOOK_GROUP_MEMBERS": json.dumps(groups)}
    if secrets:
        env["HOOK_TENANT_SECRETS"] = json.dumps(secrets)
    return Server("hookmock", [binary, "hookmock"], env, log_folder, port, "/readyz")


def set_faults(mock, faults):
    body = json.dumps(faults).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(mock.base + "/_mock/faults", body, headers, method="POST")
    urllib.request.urlopen(request, timeout=5).close()


class Kafka:
    """One broker from scripts/kafka.sh."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "kafka")
        self.script = os.path.join(ROOT, "scripts/kafka.sh")
        done = self._run(["start", self.folder])
        if done.returncode == 3:
            raise Skip(done.stderr.strip().splitlines()[-1])
        found = re.search(r"bootstrap=(\S+)", done.stdout)
        if not found:
            raise Failure(f"kafka.sh start: {done.stdout} {done.stderr}")
        self.brokers = found[1]

    def _run(self, words, seconds=420):
        return subprocess.run(
            [self.script, *words], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, check=False)

    def stop(self):
        self._run(["stop", self.folder])
