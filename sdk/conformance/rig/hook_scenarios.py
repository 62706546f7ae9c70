"""What every hook SDK must do as the real back end of a tenant with signatures required. One function per scenario."""

import http.client
import os
import socket
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from . import wire
from .failure import Failure, Skip, expect
from .plain_client import PlainClient
from .processes import HANG, Gateway, Process, free_port, hook_mock, until

SECRET = "a secret of 24 characters"
GROUP = ("group-1", ["u1", "u2", "u3"])


class Hook:
    """One hook program, running, with a gateway in front of it."""

    def __init__(self, rig, entry, kafka=None):
        self.rig, self.entry, self.kafka = rig, entry, kafka
        self.tenant, self.port = f"t-{entry.name}", free_port()
        self.cleanup = []
        env = {
            "PORT": str(self.port), "REQUIRE_SIGN": "true", "TENANT_SECRETS": f"{self.tenant}={SECRET}",
            "GROUP_MEMBERS": f"{GROUP[0]}={'|'.join(GROUP[1])}", "PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "OFFLINE_USE_HOOK_PULL": "true" if kafka else "false", "KAFKA_BROKERS": kafka.brokers if kafka else "",
        }
        gateway_env = {
            "TENANT_HOOK_SECRETS": f'{{"{self.tenant}":"{SECRET}"}}', "HOOK_SIGN_REQUIRED": "true",
            "KAFKA__BOOTSTRAP_SERVERS": kafka.brokers if kafka else "",
        }
        try:
            self._start(env)
            base = {self.tenant: f"http://127.0.0.1:{self.port}"}
            self.gateway = Gateway(rig.binary, base, rig.log_folder, gateway_env)
            self.cleanup.append(self.gateway.stop)
            self.warm_up()
        except BaseException:
            self.end()
            raise

    def _start(self, env):
        self.process = Process(
            self.entry.name, self.entry.run, env, self.rig.log_folder, cwd=self.entry.folder, stdout=subprocess.PIPE)
        self.cleanup.append(self.process.stop)
        ready = threading.Event()

        def read():
            for line in self.process.child.stdout:
                if b"listening on" in line:
                    ready.set()
        threading.Thread(target=read, daemon=True).start()
        until("it prints `listening on <port>`", lambda: self.process.alive() and ready.is_set(), 60)

    def warm_up(self):
        """The first calls of some runtimes take longer than the gateway's 150 ms."""
        for _ in range(10):
            for path, rest in (("/auth", self.auth()), ("/check-message", self.check(b"warm"))):
                self.post(path, self.signed(rest))

    def client(self, user, device="d1", token=None):
        """Connects through the gateway; tried again when the gateway says that the hook was late."""
        def attempt():
            client = PlainClient(self.gateway.url, user, device, self.tenant, token)
            if client.close_code == 4001 and client.close_reason in ("hook timeout/failure", "auth hook circuit open"):
                return None
            return client
        client = until(f"{user} gets an answer", attempt)
        self.cleanup.append(client.close)
        return client

    # Requests without a gateway.

    def auth(self, token="valid:u1"):
        return wire.message((2, token), (3, "d1"))

    def check(self, body):
        chat = wire.message((1, self.tenant), (2, "u1"), (3, "d1"), (4, "m-1"), (6, "u2"), (8, body))
        return wire.message((2, chat))

    def signed(self, rest, **changes):
        fields = {
            "secret": SECRET, "tenant": self.tenant, "request_id": uuid.uuid4().hex,
            "at_ms": int(time.time() * 1000), **changes,
        }
        return wire.hook_request(rest=rest, **fields)

    def post(self, path, body, method="POST", content_type="application/protobuf"):
        """(status, body) of the answer; (0, b"") when the program cut the connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANG)
        try:
            connection.request(method, path, body, {"content-type": content_type} if body is not None else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (ConnectionError, http.client.HTTPException, BrokenPipeError):
            return 0, b""
        finally:
            connection.close()

    def accepted(self, path, body):
        """Whether the program said yes, and its reason."""
        status, answer = self.post(path, body)
        if status != 200:
            return False, f"HTTP {status}"
        found = wire.fields(answer)
        return bool(wire.number(found, 2)), wire.text(found, 6 if path == "/auth" else 3)

    def refuses(self, path, body, reason=None):
        ok, said = self.accepted(path, body)
        expect(not ok, f"{path} was accepted")
        expect(said, f"{path} was refused without a reason")
        if reason and not said.startswith("HTTP 4"):
            expect(said == reason, f"{path}: reason {said!r}, not {reason!r}")
        expect(not said.startswith(("HTTP 5", "HTTP 0")), f"{path}: {said}")
        self.still_serves()

    def still_serves(self):
        self.process.alive()
        ok, said = self.accepted("/auth", self.signed(self.auth()))
        expect(ok, f"afterwards a good request is refused: {said}")

    def end(self):
        while self.cleanup:
            self.cleanup.pop()()


def valid_token(hook):
    """`valid:u1` is let in as u1; a message passes check-message and arrives."""
    a, b = hook.client("u1"), hook.client("u2")
    expect(a.session and a.session["userId"] == "u1", f"session {a.session}, close {a.close_code} {a.close_reason}")
    ack = a.send("m-1", b"hello", to="u2")
    expect(ack["status"] == "SENT", f"ack {ack}")
    expect(b.received(b"hello")[:2] == ("u1", "m-1"), f"got {b.deliveries}")


def invalid_token(hook):
    """Another token is refused: 4001."""
    client = hook.client("u1", token="wrong")
    expect(client.close_code == 4001, f"close {client.close_code}, session {client.session}")


def denied(hook):
    """A body that begins with `deny` is refused with reason `denied`; nothing is delivered."""
    a, b = hook.client("u1"), hook.client("u2")
    for attempt in range(20):
        late = hook.gateway.late_hooks()
        ack = a.send(f"m-{attempt}", b"deny this", to="u2")
        if ack["status"] == "FAILED" or hook.gateway.late_hooks() == late:
            break  # else the gateway passed it unchecked, because the hook was late
    expect((ack["status"], ack["reason"]) == ("FAILED", "denied"), f"ack {ack}")
    a.send("m-ok", b"fine", to="u2")
    b.received(b"fine")


def group(hook):
    """A group message reaches all members."""
    members = [hook.client(user, "group") for user in GROUP[1]]
    for attempt in range(20):
        ack = members[0].send(f"g-{attempt}", b"to all", group=GROUP[0])
        if ack["reason"] not in ("hook degraded", "hook circuit open"):
            break
    expect(ack["status"] == "SENT", f"ack {ack}")
    for member in members:
        member.received(b"to all")


def offline_pull(hook):
    """Messages for an absent user go over Kafka into the program's store and come with the pull, oldest first."""
    if hook.rig.kafka_missing:
        raise Skip(hook.rig.kafka_missing)
    make_topic(hook)
    pulling = Hook(hook.rig, hook.entry, hook.rig.kafka())
    try:
        a = pulling.client("u1")
        bodies = [f"kept {i}".encode() for i in range(5)]
        for i, body in enumerate(bodies):
            ack = a.send(f"o-{i}", body, to="u2")
            expect(ack["status"] == "SENT", f"ack {ack}")
        expect(pulling.gateway.metric("mics_offline_notified_total") == 5, "the tenant was not notified of 5 messages")
        got = []
        until("the pull has all five", lambda: pull(pulling, got) == bodies, 60)
        order = [body for body in got if body in bodies]
        expect(order == bodies, f"pulled {order}")
    finally:
        pulling.end()


def make_topic(hook):
    """The event topic is there before the program starts, as operators are told; a first event makes it."""
    rig = hook.rig
    brokers = rig.kafka().brokers
    mock = hook_mock(rig.binary, rig.log_folder, {}, {hook.tenant: SECRET})
    gateway = None
    try:
        gateway = Gateway(rig.binary, {hook.tenant: mock.base}, rig.log_folder, {"KAFKA__BOOTSTRAP_SERVERS": brokers})
        PlainClient(gateway.url, "u1", tenant=hook.tenant).close()
        until("the topic is there", lambda: gateway.metric("mics_mq_published_total", topic="event") >= 1, 60)
    finally:
        mock.stop()
        if gateway:
            gateway.stop()


def pull(hook, got):
    """Connects u2 with a new device and adds what comes before its own live message to `got`, repetitions left out."""
    client = hook.client("u2", uuid.uuid4().hex)
    try:
        marker = uuid.uuid4().bytes
        client.send(uuid.uuid4().hex, marker, to="u2")
        client.received(marker)
        for _, _, body in client.deliveries:
            if body.startswith(b"kept") and body not in got:
                got.append(body)
        return got
    finally:
        client.close()


def no_signature(hook):
    """Unsigned requests are refused with `invalid sign`."""
    for path, rest in (("/auth", hook.auth()), ("/check-message", hook.check(b"x"))):
        hook.refuses(path, hook.signed(rest, sign=""), "invalid sign")
    for path, rest in (("/get-group-members", wire.message((2, GROUP[0]))), ("/get-offline-messages", wire.message((2, "u1")))):
        status, answer = hook.post(path, hook.signed(rest, sign=""))
        expect(status in (200, 400, 401, 403), f"{path}: HTTP {status}")
        expect(status != 200 or 2 not in wire.fields(answer), f"{path} answers an unsigned request: {answer!r}")
    _, answer = hook.post("/get-group-members", hook.signed(wire.message((2, GROUP[0]))))
    members = [user.decode() for user in wire.fields(answer).get(2, [])]
    expect(members == GROUP[1], f"a signed one gives {members}")


def wrong_signature(hook):
    """Another key, and text that is no signature, are refused with `invalid sign`."""
    hook.refuses("/auth", hook.signed(hook.auth(), secret="another"), "invalid sign")
    hook.refuses("/auth", hook.signed(hook.auth(), sign="not base64!"), "invalid sign")


def unknown_tenant(hook):
    """A tenant without a secret, and none at all, are refused."""
    hook.refuses("/auth", hook.signed(hook.auth(), tenant="nobody"))
    hook.refuses("/auth", hook.auth())


def changed_byte(hook):
    """One byte of a signed body changed: refused."""
    body = bytearray(hook.signed(hook.check(b"pay 10")))
    at = bytes(body).index(b"pay 10") + 4
    body[at] = ord("9")
    hook.refuses("/check-message", bytes(body), "invalid sign")


def unknown_fields(hook):
    """Fields that the SDK does not know, in the request, its meta and the message, are covered and harmless."""
    extra = wire.message((150, "from the future"), (151, 7))
    ok, said = hook.accepted("/auth", hook.signed(hook.auth() + extra, meta_extra=extra))
    expect(ok, f"/auth: {said}")
    chat = wire.message((1, hook.tenant), (2, "u1"), (4, "m-1"), (6, "u2"), (8, b"x")) + extra
    ok, said = hook.accepted("/check-message", hook.signed(wire.message((2, chat))))
    expect(ok, f"/check-message: {said}")
    signed = hook.signed(hook.auth() + extra)
    hook.refuses("/auth", signed[:-1] + b"\x08", "invalid sign")


def replayed(hook):
    """The same signed request a second time is refused."""
    body = hook.signed(hook.check(b"x"))
    ok, said = hook.accepted("/check-message", body)
    expect(ok, f"the first time: {said}")
    hook.refuses("/check-message", body)


def stale(hook):
    """A request signed an hour ago, or for an hour from now, is refused."""
    for hour in (-3_600_000, 3_600_000):
        hook.refuses("/auth", hook.signed(hook.auth(), at_ms=int(time.time() * 1000) + hour))


def huge_body(hook):
    """10 MB are refused, and not read to the end before."""
    body = hook.signed(hook.check(os.urandom(10 << 20)))
    status, _ = hook.post("/check-message", body)
    expect(status in (0, 400, 413), f"HTTP {status}")
    # Without a content-length, in chunks.
    status, _ = hook.post("/check-message", (body[at:at + 65536] for at in range(0, len(body), 65536)))
    expect(status in (0, 400, 411, 413), f"in chunks: HTTP {status}")
    hook.still_serves()


def stalled(hook):
    """Twenty requests that never end keep nobody else waiting."""
    body = hook.signed(hook.auth())
    head = f"POST /auth HTTP/1.1\r\nHost: x\r\nContent-Type: application/protobuf\r\nContent-Length: {len(body)}\r\n\r\n"
    sockets = [socket.create_connection(("127.0.0.1", hook.port), HANG) for _ in range(20)]
    try:
        for open_socket in sockets:
            open_socket.sendall(head.encode() + body[:10])
        hook.still_serves()
    finally:
        for open_socket in sockets:
            open_socket.close()


def parallel(hook):
    """200 requests from 20 connections at a time are all answered, each with its own answer."""
    def one(number):
        denied = number % 2
        ok, _ = hook.accepted("/check-message", hook.signed(hook.check(b"deny" if denied else b"fine")))
        return ok != bool(denied)
    with ThreadPoolExecutor(20) as pool:
        right = list(pool.map(one, range(200)))
    expect(all(right), f"{right.count(False)} of 200 got a wrong answer")


def garbage(hook):
    """Bytes that are no protobuf are answered 400, or with a refusal, and harm nobody."""
    for body in (b"\xff\xff not a protobuf", b"\x0a", b"\x0a\x05\x01", b""):
        for path in ("/auth", "/check-message", "/get-group-members", "/get-offline-messages"):
            status, answer = hook.post(path, body)
            refused = 400 <= status < 500 or (status == 200 and not wire.number(wire.fields(answer), 2))
            expect(refused, f"{path} {body!r}: HTTP {status} {answer!r}")
    hook.still_serves()


def get(hook):
    """GET is answered 405, another path 404."""
    status, _ = hook.post("/auth", None, "GET")
    expect(status == 405, f"GET /auth: HTTP {status}")
    status, _ = hook.post("/nothing", hook.signed(hook.auth()))
    expect(status == 404, f"POST /nothing: HTTP {status}")
    hook.still_serves()


SCENARIOS = {
    "valid-token": valid_token, "invalid-token": invalid_token, "denied": denied, "group": group,
    "no-signature": no_signature, "wrong-signature": wrong_signature, "unknown-tenant": unknown_tenant,
    "changed-byte": changed_byte, "unknown-fields": unknown_fields, "replayed": replayed, "stale": stale,
    "huge-body": huge_body, "stalled": stalled, "parallel": parallel, "garbage": garbage, "get": get, "offline-pull": offline_pull,
}
