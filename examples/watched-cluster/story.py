"""A watched cluster, step by step. Each step waits for what it tells; anything else ends with status 1."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "sdk/conformance"))
sys.dont_write_bytecode = True

from bot_api import CHAT, TOKEN, BotApi  # noqa: E402
from mkat import DOWN, PAUSED, UP, Mkat  # noqa: E402
from rig.failure import Failure, expect  # noqa: E402
from rig.processes import Gateway, Process, Server, free_port, get, hook_mock, set_faults, until  # noqa: E402

NODES = ("node-1", "node-2", "node-3")
TENANT = "t1"
SECRET = "dev-secret-t1"
# From kill -9 to the message, in seconds. A heartbeat per second, late after 2 s: 2 s and what the machine adds.
PROMISE = 5
PATIENCE = 60


class Cluster:
    """Everything that runs. Ports are free ones, files are below `folder`."""

    def __init__(self, folder):
        self.folder, self.running = folder, []
        self.mics = os.environ["MICS_BIN"]
        self.bot = BotApi()
        self.gateways, self.admin = {}, {}

    def keep(self, process):
        self.running.append(process)
        return process

    def start_gateways(self):
        redis = free_port()
        self.keep(Process("redis", ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder], {}, self.folder))
        self.mock = self.keep(hook_mock(self.mics, self.folder, {}, {TENANT: SECRET}))
        for node in NODES:
            self.admin[node] = free_port()
            env = {
                "NODE_ID": node, "REDIS__CONNECTION": f"127.0.0.1:{redis}", "BIND_ADDRESS": "127.0.0.1",
                "ADMIN_PORT": str(self.admin[node]), "TENANT_HOOK_SECRETS": f'{{"{TENANT}":"{SECRET}"}}',
                "HOOK_BREAKER_OPEN_MS": "60000",
            }
            self.gateways[node] = self.keep(Gateway(self.mics, {TENANT: self.mock.base}, self.folder, env))

    def start_mkat(self):
        port = free_port()
        env = {
            "MKAT_PORT": str(port), "MKAT_BIND": "127.0.0.1", "MKAT_DB": os.path.join(self.folder, "mkat.db"),
            "MKAT_PASSWORD": Mkat.PASSWORD, "MKAT_MIN_INTERVAL_SECONDS": "1", "MKAT_MIN_GRACE_SECONDS": "0",
            "MKAT_TELEGRAM_BOT_TOKEN": TOKEN, "MKAT_TELEGRAM_CHAT_ID": CHAT, "MKAT_TELEGRAM_API_URL": self.bot.url,
        }
        self.mkat = Mkat(self.keep(Server("mkat", [os.environ["MKAT_BIN"]], env, self.folder, port, "/health/ready")).base)
        self.made = self.preset()
        expect(len(self.made) == 8, f"gateway.sh made {self.made}")

    def preset(self):
        """NAME -> VALUE as gateway.sh prints them."""
        settings = {"MKAT_URL": self.mkat.base, "MKAT_PASSWORD": Mkat.PASSWORD, "INTERVAL": "1", "GRACE": "1", "WATCHDOG": "30"}
        script = os.path.join(ROOT, "mkat/deploy/presets/gateway.sh")
        done = subprocess.run([script, *NODES], env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False)
        expect(done.returncode == 0, f"gateway.sh: {done.stderr}")
        return dict(line.split(" ", 1) for line in done.stdout.splitlines())

    def start_beats(self):
        script = os.path.join(ROOT, "mkat/deploy/presets/beat.sh")
        for node in NODES:
            env = {
                "READY_URL": f"http://127.0.0.1:{self.gateways[node].port}/readyz", "HEARTBEAT_URL": self.made[f"{node}.heartbeat"],
                "SERVICE_URL": f"{self.mkat.base}/api/v1/services/{self.made[node + '.service']}",
                "MKAT_PASSWORD": Mkat.PASSWORD, "EVERY": "0.5", "DRAIN_SECONDS": "120",
            }
            self.keep(Process(f"beat-{node}", [script], env, self.folder))

    def start_monitoring(self):
        """Prometheus and Alertmanager with the files of deploy/monitoring; addresses are this machine's, waiting is shorter."""
        prometheus, alertmanager = free_port(), free_port()
        files = os.path.join(ROOT, "deploy/monitoring")
        targets = ", ".join(f"'127.0.0.1:{self.gateways[node].port}'" for node in NODES)
        changes = {
            "mics.rules.yaml": [(r"\bfor: .*", "for: 1s")],
            "watchdog.rules.yaml": [],
            "prometheus.yml": [
                (r"_interval: .*", "_interval: 1s"), (r"'alertmanager:9093'", f"'127.0.0.1:{alertmanager}'"),
                (r"\['gateway-1:8080'.*\]", f"[{targets}]"), (r"  # Processor time(.*\n)*.*:9100.*\n", ""),
            ],
            "alertmanager.yml": [
                (r"http://mkat:8090/alertmanager/<cluster token>", self.made["cluster.alertmanager"]),
                (r"http://mkat:8090/alertmanager/<tenants token>", self.made["tenants.alertmanager"]),
                (r"http://on-call\S*", f"http://127.0.0.1:{free_port()}/nobody"), (r"  smtp_.*\n", ""),
                (r"global:\n", "global: {}\n"), (r"    email_configs:\n(      .*\n)*", ""), (r"group_(wait|interval): .*", r"group_\1: 1s"),
                (r"repeat_interval: 1m", "repeat_interval: 5s"),
            ],
        }
        for name, replacements in changes.items():
            with open(os.path.join(files, name)) as file:
                text = file.read()
            for pattern, replacement in replacements:
                text, count = re.subn(pattern, replacement, text)
                expect(count, f"{name} has no {pattern}")
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(text)
        self.keep(Server("alertmanager", [
            "prometheus-alertmanager", f"--config.file={self.folder}/alertmanager.yml", f"--storage.path={self.folder}/alerts",
            f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address=",
        ], {}, self.folder, alertmanager, "/-/ready"))
        self.prometheus = self.keep(Server("prometheus", [
            "prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/series",
            f"--web.listen-address=127.0.0.1:{prometheus}", "--rules.alert.resend-delay=2s",
        ], {}, self.folder, prometheus, "/-/ready"))

    def stop(self):
        for process in reversed(self.running):
            process.stop()
        self.bot.shutdown()

    def state(self, name):
        return self.mkat.states().get(name)

    def told(self, words, since):
        """When the first message with these words arrived, after `since`."""
        def found():
            return next((at for at, text in list(self.bot.messages) if at >= since and words in text), None)
        return until(f"a message with {words!r} at the Bot API", found)


def say(text):
    print(text, flush=True)


def is_watched(cluster):
    say("1. Three gateways, Redis, a tenant's hook; mkat, Prometheus, Alertmanager; a beat beside each gateway")
    cluster.start_gateways()
    cluster.start_mkat()
    cluster.start_beats()
    cluster.start_monitoring()
    for node in NODES:
        until(f"{node} is Up", lambda: cluster.state(f"gateway/{node}") == UP)
    expect(cluster.preset() == cluster.made, "gateway.sh makes nothing twice")
    until("the watchdog has come through Prometheus and Alertmanager", lambda: cluster.state("gateway cluster: watchdog") == UP)
    until("Prometheus sees three nodes", lambda: get(cluster.prometheus.base + "/api/v1/query?query=sum(up)").count('"3"'))
    # On a busy machine, two seconds may be over before the first beat.
    cluster.bot.messages.clear()
    say("   every node is Up, and the watchdog beats")


def draining_is_maintenance(cluster):
    say("2. node-3 drains, as at a rollout: /readyz answers 503")
    env = {**os.environ, "ADMIN_PORT": str(cluster.admin["node-3"])}
    subprocess.run([cluster.mics, "admin", "drain"], env=env, check=True, capture_output=True, timeout=20)
    until("node-3 is Paused", lambda: cluster.state("gateway/node-3") == PAUSED, PROMISE * 4)
    gateway = cluster.gateways["node-3"]
    gateway.stop()
    time.sleep(3)  # Longer than a heartbeat may be late.
    expect(cluster.state("gateway/node-3") == PAUSED, "a node that is gone after its drain is still in maintenance")
    gateway.start()
    until("node-3 is Up again", lambda: cluster.state("gateway/node-3") == UP)
    expect(not [text for _, text in cluster.bot.messages if "gateway/node-3" in text], "maintenance is no outage")
    say("   it was Paused meanwhile, is Up again with its new process, and its heartbeat called nobody")


def killed(cluster):
    until("Prometheus has seen node-3 again", lambda: cluster.state("alerts/MicsGatewayDown") in (None, UP))
    say("3. kill -9 of node-2")
    began = time.monotonic()
    cluster.gateways["node-2"].signal(signal.SIGKILL)
    heartbeat = cluster.told("gateway/node-2 failed", since=began) - began
    say(f"   {heartbeat:5.2f} s  heartbeat -> mkat -> Telegram: gateway/node-2 is Down")
    alert = cluster.told("alerts/MicsGatewayDown failed", since=began) - began
    say(f"   {alert:5.2f} s  Prometheus -> Alertmanager -> mkat -> Telegram: MicsGatewayDown")
    expect(heartbeat <= PROMISE, f"the heartbeat's alert took {heartbeat:.2f} s, more than {PROMISE} s")
    return heartbeat, alert


def recovers(cluster):
    say("4. node-2 comes back")
    began = time.monotonic()
    cluster.gateways["node-2"].wait()
    cluster.gateways["node-2"].start()
    say(f"   {cluster.told('gateway/node-2 recovered', since=began) - began:5.2f} s  gateway/node-2 is Up again")
    say(f"   {cluster.told('alerts/MicsGatewayDown recovered', since=began) - began:5.2f} s  MicsGatewayDown is resolved")
    expect(cluster.state("gateway/node-2") == UP, "node-2 is Up")


def tenant_alone(cluster):
    say(f"5. The hook of tenant {TENANT} breaks")
    began = time.monotonic()
    set_faults(cluster.mock, {"auth": {"status": 500}})
    load = [
        cluster.mics, "load", "--url", cluster.gateways["node-1"].url, "--tenantId", TENANT, "--connections", "20",
        "--mode", "connect-only", "--durationSeconds", "3",
    ]
    cluster.keep(Process("load", load, {}, cluster.folder))
    say(f"   {cluster.told(f'tenant/{TENANT} failed', since=began) - began:5.2f} s  tenant/{TENANT} is Down, a service that its label made")
    expect(cluster.state(f"tenant/{TENANT}") == DOWN, "the tenant's service is Down")
    expect(all(cluster.state(f"gateway/{node}") == UP for node in NODES), "no node is blamed for a tenant's hook")


def main():
    folder = tempfile.mkdtemp(prefix="watched-cluster-")
    cluster = Cluster(folder)
    try:
        is_watched(cluster)
        draining_is_maintenance(cluster)
        heartbeat, alert = killed(cluster)
        recovers(cluster)
        tenant_alone(cluster)
        say(f"watched-cluster: all as told; kill -9 to message {heartbeat:.2f} s by heartbeat, {alert:.2f} s by Prometheus")
        status = 0
    except (Failure, OSError, subprocess.SubprocessError) as failure:
        say(f"watched-cluster: FAILED: {failure}")
        for at, text in cluster.bot.messages:
            say(f"  message at {at:.2f}: {text.splitlines()[:2]}")
        status = 1
    finally:
        cluster.stop()
    if status and os.environ.get("KEEP"):
        say(f"logs in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


main()
