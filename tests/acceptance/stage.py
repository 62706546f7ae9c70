"""The parts of a small installation, as real processes on the loopback: Redis, gateway nodes, a tenant's back end, and where
Java is there a Kafka broker. Everything ends with the stage."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import tools
from backend import Backend, Tenant, hook
from confluent_kafka import Consumer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
)


class Node:
    """A gateway process: `address` for clients, `process`, `environment`."""

    def __init__(self, stage, name, environment):
        self.stage, self.name, self.environment = stage, name, environment
        self.address = f"127.0.0.1:{environment['PORT']}"
        stage.started.append(self)
        self.begin()

    def begin(self):
        self.ended_by_us = False
        self.process = self.stage.processes.start(self.name, [self.stage.program, "gateway"], self.environment)
        self.stage.processes.started(self.name, self.process, f"http://{self.address}/readyz")

    def metric(self, name, **labels):
        """Sum over the series of that name with these labels."""
        total = 0.0
        for line in tools.get(f"http://{self.address}/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            named = dict(re.findall(r'(\w+)="([^"]*)"', series))
            if series.split("{")[0] == name and labels.items() <= named.items():
                total += float(value)
        return total

    def kill(self):
        self.ended_by_us = True
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; returns at once."""
        self.ended_by_us = True
        self.process.send_signal(signal.SIGTERM)

    def log(self):
        return self.stage.processes.log(self.name)

    def logged(self, content):
        """Log lines of this content, as objects."""
        lines = (json.loads(line) for line in self.log().splitlines() if line.startswith("{"))
        return [line for line in lines if line["Content"].startswith(content)]


class Stage(contextlib.ExitStack):
    def __init__(self, program, quick=True):
        super().__init__()
        self.program, self.quick = program, quick
        self.folder = tempfile.mkdtemp(prefix="mics-stage-")
        self.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.processes = self.enter_context(tools.Processes(self.folder))
        self.t1, self.t2 = Tenant("secret-1"), Tenant("secret-2")
        self.backend = Backend(t1=self.t1, t2=self.t2)
        self.callback(self.backend.shutdown)
        self.redis_port, self.kafka, self.mock_url = None, None, None
        self.count, self.started = 0, []

    def died(self):
        """What a node said last that ended though nobody ended it; "" when none did."""
        for node in self.started:
            if not node.ended_by_us and node.process.poll() is not None:
                return f"{node.name} ended with {node.process.returncode}: {node.log()[-600:]}"
        return ""

    def said(self):
        """Name of a file -> text: what every process printed, and the metrics of the nodes that answer."""
        texts = {log.name: log.read_text(errors="replace") for log in pathlib.Path(self.folder).glob("*.log")}
        return texts | {f"{node.name}.metrics": tools.get(f"http://{node.address}/metrics")[1] for node in self.started}

    def redis(self):
        self.redis_port = tools.free_port()
        self.redis_again()

    def redis_again(self):
        """Starts Redis, empty, on its port."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if not program:
            raise Missing("redis-server")
        command = [program, "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.redis_process = self.processes.start("redis", command)
        tools.wait_until("redis answers", lambda: self.ask_redis("PING") == "PONG")

    def ask_redis(self, *words):
        """The answer of redis-cli, "" when there is none."""
        command = ["redis-cli", "-p", str(self.redis_port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()

    def dump_redis(self, key):
        """What Redis has under that key, in its own form."""
        command = ["redis-cli", "-p", str(self.redis_port), "--raw", "DUMP", key]
        return key.encode() + subprocess.run(command, capture_output=True, timeout=10).stdout

    def mock(self):
        """`mics hookmock` answers for t1 from now on: faster than Python, without knobs."""
        port = tools.free_port()
        self.mock_url = f"http://127.0.0.1:{port}"
        environment = {"PORT": port, "HOOK_BASE_URL": self.mock_url, "HOOK_TENANT_SECRETS": json.dumps({"t1": self.t1.secret})}
        process = self.processes.start("hookmock", [self.program, "hookmock"], environment)
        self.processes.started("hookmock", process, f"{self.mock_url}/readyz")

    def broker(self):
        """Starts Kafka and makes t1's topics, of one partition."""
        folder = pathlib.Path(self.folder, "kafka")
        script = tools.ROOT / "scripts/kafka.sh"
        result = subprocess.run([script, "start", folder], stdout=subprocess.PIPE, text=True, timeout=400)
        if result.returncode == 3:
            raise Missing("Kafka (java or mvn)")
        self.callback(subprocess.run, [script, "stop", folder], timeout=60)
        self.kafka = re.search(r"bootstrap=(\S+)", result.stdout)[1]
        topics = [NewTopic(topic, num_partitions=1) for topic in ("im-mics-t1-event", "im-mics-t1-event-dlq")]
        self.admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})
        self.callback(setattr, self, "admin", None)
        for made in self.admin.create_topics(topics).values():
            made.result(60)

    def most_bytes(self, topic, number):
        """Longest message that the topic takes."""
        entry = ConfigEntry("max.message.bytes", str(number), incremental_operation=AlterConfigOpType.SET)
        changes = [ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])]
        for changed in self.admin.incremental_alter_configs(changes).values():
            changed.result(60)

    def consume(self, topic, number):
        """The first events of a topic: (key, event)."""
        settings = {"bootstrap.servers": self.kafka, "group.id": os.urandom(8).hex(), "auto.offset.reset": "earliest"}
        consumer, found = Consumer(settings), []
        consumer.subscribe([topic])
        try:

            def enough():
                record = consumer.poll(1)
                if record and not record.error():
                    found.append((record.key(), hook.MqEvent.FromString(record.value())))
                return len(found) >= number

            tools.wait_until(f"{number} events in {topic}", enough, 60)
        finally:
            consumer.close()
        return found

    def signed(self, event):
        """The event's signature is right, by the contract's rule."""
        plain = hook.MqEvent()
        plain.CopyFrom(event)
        plain.ClearField("sign")
        digest = hmac.digest(self.t1.secret.encode(), plain.SerializeToString(deterministic=True), hashlib.sha256)
        return hmac.compare_digest(base64.b64encode(digest).decode(), event.sign)

    def node(self, **more):
        """Starts a node; with Redis when the stage has one. Waits until it's ready."""
        self.count += 1
        port, name = tools.free_port(), f"node-{self.count}"
        tenants = {"t1": self.mock_url or self.backend.url, "t2": self.backend.url}
        environment = {
            "PORT": port,
            "BIND_ADDRESS": "127.0.0.1",
            "NODE_ID": name,
            "PUBLIC_ENDPOINT": f"http://127.0.0.1:{port}",
            "CLUSTER_GRPC_TOKEN": "acceptance",
            "TENANT_AUTH_MAP": json.dumps(tenants),
            "TENANT_HOOK_SECRETS": json.dumps({"t1": self.t1.secret, "t2": self.t2.secret}),
            "DRAIN_TIMEOUT_SECONDS": 5,
            # Patient: this machine may be busy, and Python answers the hooks.
            "HOOK_QUEUE_TIMEOUT_MS": 1000,
        }
        if self.redis_port:
            environment["REDIS__CONNECTION"] = f"127.0.0.1:{self.redis_port}"
        if self.kafka:
            environment["KAFKA__BOOTSTRAP_SERVERS"] = self.kafka
        return Node(self, name, environment | more)

    def nodes(self, number, **more):
        """Starts Redis and that many nodes; waits until they know each other."""
        self.redis()
        nodes = [self.node(**more) for _ in range(number)]
        tools.wait_until("the nodes see each other", lambda: all(n.metric("mics_cluster_nodes") == number for n in nodes))
        return nodes

    def load(self, node, to=None, **options):
        """Runs `mics load` against a node, with recipients at the node `to` if any, and returns its report, with `exit` as
        its status. `options` are those of the command: connections=10 is --connections 10."""
        options |= {"tenantId": "t1", "url": f"ws://{node.address}/ws"}
        if to:
            options["recipientUrl"] = f"ws://{to.address}/ws"
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        result = subprocess.run([self.program, "load", "--json", *words], capture_output=True, text=True, timeout=240)
        return json.loads(result.stdout.splitlines()[-1]) | {"exit": result.returncode}


class Missing(Exception):
    """A program that this machine lacks."""
