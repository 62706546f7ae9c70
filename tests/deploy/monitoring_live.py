"""Two gateways under traffic and trouble, a real Prometheus with the rules of deploy/monitoring, a real Alertmanager, and a
webhook. Seen: every metric that rules and dashboards use (but those that need what isn't here), and an alert on its whole way."""

import json
import re
import shutil
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import tools
import yaml
from stage import Missing, Stage
from wire import Client, message, refused

FOLDER = tools.ROOT / "deploy/monitoring"
ALERT = "MicsGatewayHookCircuitOpen"


def check(expect, used):
    """`used`: names of metrics. Calls `expect(holds, mistake)`."""
    program = tools.mics()
    if not program:
        return
    try:
        with Stage(program) as stage:
            # Small limits, so that they can be met; nobody is where the brokers should be, so that events wait.
            nodes = stage.nodes(
                2,
                OFFLINE_BUFFER_MAX_USERS_PER_TENANT=1,
                MAX_MESSAGE_BYTES=1000,
                GROUP_MEMBERS_MAX_USERS=3,
                OFFLINE_BUFFER_MAX_BYTES_PER_USER=900,
                OFFLINE_BUFFER_MAX_MESSAGES_PER_USER=1,
                HOOK_BREAKER_OPEN_MS=60000,
                KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1",
                KAFKA_MAX_PENDING_PER_TENANT=20,
            )
            drive(stage, nodes)
            if tools.program("prometheus", "nothing was scraped") and tools.program("prometheus-alertmanager", "no alert was sent"):
                alert(expect, stage, nodes)
            else:
                break_hook(stage, nodes[0])
            metrics(expect, nodes, used)
    except Missing as missing:
        tools.skip(str(missing), "no gateway was started")
    except Exception as error:
        expect(False, f"live: {error!r}")


def drive(stage, nodes):
    """Uses what a tenant can use, and breaks what can be broken without harm."""
    here, there = (node.address for node in nodes)
    stage.t1.config = {"user_max_connections": 1}
    stage.t1.groups |= {"large": ["a", "b", "c", "d"]}
    u, v, w = Client(here, "u1"), Client(there, "u2"), Client(here, "u4")
    for _ in range(2):
        u.say(b"twice", to="u2", msg_id="m1")
    u.say(b"here", to="u4")
    u.say(b"", to="")
    u.say(b"x" * 1001, to="u2")
    u.say(b"deny", to="u2")
    u.say(b"x" * 950, to="away 0")
    for number in range(8):
        u.say(b"kept", to=f"away {number}")
    u.say(b"the second makes the first go", to="away 7")
    u.socket.send(bytes(1000 + 65537))
    assert u.errors.get(timeout=10).code == 4401
    assert refused(here, user="u1", device="second")[0] == 4429
    v.close()
    Client(there, "away 7").bodies(1)
    u.say(b"all", group="group-1")
    u.say(b"many", group="large")
    pulls(stage, here)
    # Redis stops answering while somebody speaks, and goes on.
    stage.redis_process.send_signal(19)
    u.say(b"redis is away", to="nobody at all")
    stage.redis_process.send_signal(18)
    w.close()
    falls_silent(stage, here)
    is_no_websocket(here)
    dies(stage, nodes)


def pulls(stage, here):
    """A tenant that keeps its messages itself, and whose hook takes one call at a time."""
    stage.t2.config = {"offline_use_hook_pull": True, "hook_max_concurrency": 1, "hook_queue_timeout_ms": 0}
    stage.t2.stored.append(message.MessageRequest(to_user_id="keeper", msg_body=b"stored"))
    keeper = Client(here, "keeper", tenant="t2")
    keeper.bodies(1)
    keeper.say(b"by event", to="somebody who is away")
    keeper.say(b"by event", group="group-1")
    stage.t2.delay["/check-message"] = 0.1
    for sent in [keeper.send(b"at once", to="keeper") for _ in range(4)]:
        keeper.ack(sent)
    stage.t2.delay.clear()


def falls_silent(stage, here):
    stage.t1.config = {"heartbeat_timeout_seconds": 1}
    assert Client(here, "silent").closed()[0] == 4100
    stage.t1.config = {}


def is_no_websocket(here):
    """An upgrade without a key."""
    host, port = here.split(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(b"GET /ws?tenantId=t1 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert b" 400 " in connection.recv(100)


def dies(stage, nodes):
    """A third node comes, and is killed while somebody writes to its user."""
    third = stage.node()
    tools.wait_until("three nodes", lambda: nodes[0].metric("mics_cluster_nodes") == 3)
    on_third, sender = Client(third.address, "on the third"), Client(nodes[0].address, "sender")
    sender.say(b"x", to="on the third")
    on_third.bodies(1)
    third.kill()
    for _ in range(8):
        sender.say(b"x", to="on the third")
    tools.wait_until("the dead node is cleaned up", lambda: sum(n.metric("mics_dead_node_cleanups_total") for n in nodes), 40)


def metrics(expect, nodes, used):
    """What was not seen must be what the tests of the gateway say can't be brought about so simply."""
    text = "".join(tools.get(f"http://{node.address}/metrics")[1] for node in nodes)
    seen = set(re.findall(r"^(mics_\w+)[{ ]", text, re.M))
    source = (tools.ROOT / "tests/metric_names.rs").read_text().split("NOT_DRIVEN")[1].split("];")[0]
    hard = set(re.findall(r'"(mics_\w+)"', source)) | {"mics_actor_restarts_total", "mics_messages_failed_total", "mics_offline_returned_total"}
    plain = {name: re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    missing = {name for name in used - seen if plain[name] not in hard}
    expect(not missing, f"live: not exported by a running gateway: {sorted(missing)}")
    print(f"live: {len(used & seen)} of {len(used)} metrics in use were seen on two running gateways; by their table only: {sorted(used - seen)}")


def break_hook(stage, node):
    stage.t2.status["/check-message"] = 500
    sender = Client(node.address, "sender", tenant="t2")
    for _ in range(6):
        sender.say(b"unchecked", to="keeper")


def alert(expect, stage, nodes):
    """The tenant's hook fails until its circuit opens: rule, Prometheus, Alertmanager, webhook."""
    received = Webhook()
    stage.callback(received.shutdown)
    alertmanager, prometheus = tools.free_port(), tools.free_port()
    configure(stage, nodes, received.server_port, alertmanager)
    start(
        stage,
        "alertmanager",
        [shutil.which("prometheus-alertmanager"), "--config.file=alertmanager.yml", "--storage.path=am", "--cluster.listen-address="],
        alertmanager,
    )
    start(stage, "prometheus", [shutil.which("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"], prometheus)

    def ask(query):
        url = f"http://127.0.0.1:{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        return json.loads(tools.get(url)[1] or "{}").get("data", {}).get("result", [])

    tools.wait_until("both nodes are scraped", lambda: len(ask('up{job="mics"} == 1')) == 2, 30)
    expect(not ask(f'ALERTS{{alertname="{ALERT}"}}') and not received.of(ALERT), "the alert fires before anything is wrong")
    break_hook(stage, nodes[0])
    both = {"/mkat-tenants", "/on-call"}
    tools.wait_until("both receivers hear of the alert", lambda: {each["receiver"] for each in received.of(ALERT)} == both, 60)
    arrived = received.of(ALERT)[0]
    expect(arrived["labels"] == {"alertname": ALERT, "op": "CheckMessage", "tenant": "t2", "severity": "critical"}, f"webhook: {arrived}")
    summary = "Hook CheckMessage of tenant t2 is not called: its circuit is open"
    expect(arrived["annotations"]["summary"] == summary and "runbook.md#" in arrived["annotations"]["runbook_url"], f"webhook: {arrived}")
    print(f"live: Prometheus scraped 2 nodes and fired {ALERT}; the webhook received it from Alertmanager")


def start(stage, name, command, port):
    process = stage.processes.start(name, [*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=stage.folder)
    stage.processes.started(name, process, f"http://127.0.0.1:{port}/-/ready", 40)


def configure(stage, nodes, webhook, alertmanager):
    """The files of deploy/monitoring with this machine's addresses. Only waiting is shortened, never an expression."""
    rules = yaml.safe_load((FOLDER / "mics.rules.yaml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if "for" in rule):
        rule["for"] = "1s"
    prometheus = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    prometheus["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager}"]
    prometheus["scrape_configs"] = prometheus["scrape_configs"][:1]
    prometheus["scrape_configs"][0]["static_configs"][0]["targets"] = [node.address for node in nodes]
    routes = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    for receiver in routes["receivers"]:
        receiver.pop("email_configs", None)
        for hook in receiver.get("webhook_configs", []):
            hook["url"] = f"http://127.0.0.1:{webhook}/{receiver['name']}"
    # A password file that is not here, for a mail server that is not here.
    routes["global"] = {}
    for route in (routes["route"], *routes["route"]["routes"]):
        route |= {"group_wait": "1s", "group_interval": "1s"}
    for name, content in (("mics.rules.yaml", rules), ("prometheus.yml", prometheus), ("alertmanager.yml", routes)):
        (stage.processes.folder / name).write_text(yaml.safe_dump(content))


class Webhook(ThreadingHTTPServer):
    """Takes what Alertmanager posts."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Sink)
        self.alerts = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def of(self, name):
        return [each for each in self.alerts if each["labels"]["alertname"] == name and each["status"] == "firing"]


class Sink(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.alerts += [alert | {"receiver": self.path} for alert in body["alerts"]]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass
