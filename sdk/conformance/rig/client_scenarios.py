"""What every client SDK must do, against a real gateway. One function per scenario; its docstring is the requirement."""

import os
import signal
import time

from .failure import Failure, expect
from .plain_client import PlainClient
from .processes import Gateway, set_faults, until
from .program import Program

# How long nothing must happen before "it stays so" is believed: many times the pause before a reconnect (50..500 ms).
QUIET = 2.0
# What an address must encode.
ODD = " + 50%&a=b#c?d/ü😀"
KEYS = [bytes(range(size)).hex() for size in (16, 24, 32)]


class Client:
    """One SDK in one scenario: its programs, its users, and what is to be cleaned up."""

    def __init__(self, rig, entry, attempt):
        self.rig, self.entry, self.gateway = rig, entry, rig.gateway
        self.prefix, self.cleanup = f"{entry.name}-{attempt}", []
        self.late_before = rig.gateway.late_hooks()

    def user(self, name):
        return f"{self.prefix}-{name}"

    def program(self, entry=None):
        entry = entry or self.entry
        program = Program(entry.name, entry.run, entry.folder, self.rig.log_folder)
        self.cleanup.append(program.close)
        return program

    def pair(self, gateway=None, **options):
        """Two connected programs, users a and b."""
        url = (gateway or self.gateway).url
        a, b = self.program(), self.program()
        a.connected(url, self.user("a"), **options)
        b.connected(url, self.user("b"), **options)
        return a, b

    def own_gateway(self):
        gateway = Gateway(self.rig.binary, {"t1": self.rig.mock.base}, self.rig.log_folder)
        self.cleanup.append(gateway.stop)
        self.gateway = gateway
        return gateway

    def plain(self, *args, **kwargs):
        client = PlainClient(self.gateway.url, *args, **kwargs)
        self.cleanup.append(client.close)
        return client

    def attempts(self):
        """Connections that reached the gateway's /auth so far."""
        return self.gateway.metric("mics_hook_requests_total", op="Auth")

    def late_hooks(self):
        """Hook calls of this scenario that had no answer in time."""
        late = self.rig.gateway.late_hooks() - self.late_before
        if self.gateway is not self.rig.gateway:
            try:
                late += self.gateway.late_hooks()
            except OSError:  # it isn't running at this moment
                pass
        return late

    def stays_away(self, program, since):
        """No further attempt to connect. A negative needs a span of time; it's the only wait of the rig."""
        before = self.attempts()
        time.sleep(QUIET)
        expect(self.attempts() == before, "it connected again")
        again = [e for e in program.events[since:] if e.get("state") in ("reconnecting", "connected")]
        expect(not again, f"events after the end: {again}")

    def end(self):
        while self.cleanup:
            self.cleanup.pop()()


def refused(client, program, answer, code):
    """A connect that the gateway refused for good."""
    expect(not answer.get("ok"), f"connect was answered {answer}")
    told = answer.get("code") == code or any(e["event"] == "closed" and e["code"] == code for e in program.events)
    expect(told, f"code {code} was not told: {answer}, {program.events}")
    hopeful = [e for e in program.events if e["event"] == "closed" and not e["terminal"]]
    expect(not hopeful, f"not taken as terminal: {hopeful}")
    client.stays_away(program, program.mark())


def connect(client):
    """The session is told; ids with signs that an address must encode arrive as they are."""
    a, b = client.program(), client.program()
    user = client.user("a")
    session = a.connected(client.gateway.url, user, "d1")
    expect((session["tenantId"], session["userId"], session["deviceId"]) == ("t1", user, "d1"), f"session {session}")
    expect(session["nodeId"] == "node-a" and len(session["traceId"]) == 32, f"session {session}")
    a.wait("state", state="connected")
    expect(a.wait("connected")["session"] == session, "the event's session differs")
    session = b.connected(client.gateway.url, user + ODD, "device" + ODD)
    expect((session["userId"], session["deviceId"]) == (user + ODD, "device" + ODD), f"ids were changed: {session}")


def wrong_token(client):
    """A refused token ends it: 4001, at the first connect and at a reconnect."""
    program = client.program()
    refused(client, program, program.connect(client.gateway.url, "", tokens=["wrong"]), 4001)
    gateway = client.own_gateway()
    late = client.program()
    late.connected(gateway.url, "", tokens=[f"valid:{client.user('a')}", "wrong"])
    gateway.signal(signal.SIGTERM)
    gateway.wait()
    gateway.start()
    late.wait("closed", code=4001, terminal=True)
    late.wait("state", state="disconnected")
    client.stays_away(late, late.mark())


def unknown_tenant(client):
    """An unknown tenant ends it: 4002."""
    program = client.program()
    refused(client, program, program.connect(client.gateway.url, "u", tenant="nobody"), 4002)


def send(client):
    """A message arrives at all devices of the recipient, once and unchanged, with sender and id."""
    a, b = client.pair()
    second = client.program()
    second.connected(client.gateway.url, client.user("b"), "d2")
    body = bytes(range(256))
    ack = a.sent(client.user("b"), body)
    for receiver in (b, second):
        got = receiver.wait("delivery", msgId=ack["msgId"])
        expect(receiver.deliveries() == [(client.user("a"), body)], f"got {receiver.deliveries()}")
        expect(not got.get("group"), f"a single message with a group: {got}")
    expect(len(ack["msgId"]) >= 26, f"the id {ack['msgId']!r} is not globally unique")
    other = a.sent(client.user("b"), b"2", msg_id="my-id")
    expect(other["msgId"] == "my-id", f"the caller's id was not used: {other}")
    long = os.urandom(30_000)
    b.sent(client.user("a"), long)
    expect(a.wait_deliveries(1) == [(client.user("b"), long)], "30 kB were changed")


def group(client):
    """A group message reaches every member, the sender, too."""
    a, b = client.program(), client.program()
    members = client.rig.group_of(client.entry)
    a.connected(client.gateway.url, members[0])
    b.connected(client.gateway.url, members[1])
    ack = a.sent("", b"to all", group=client.rig.group_name(client.entry))
    for receiver in (a, b):
        got = receiver.wait("delivery", msgId=ack["msgId"])
        expect(got["group"] == client.rig.group_name(client.entry), f"group of {got}")
        expect(got["from"] == members[0], f"sender of {got}")


def offline(client):
    """What was sent to an absent user comes when it connects, in order, before live messages."""
    a, b = client.program(), client.program()
    a.connected(client.gateway.url, client.user("a"))
    bodies = [f"kept {i}".encode() for i in range(5)]
    for body in bodies:
        a.sent(client.user("b"), body)
    b.connected(client.gateway.url, client.user("b"))
    a.sent(client.user("b"), b"live")
    got = [body for _, body in b.wait_deliveries(6)]
    expect(got == [*bodies, b"live"], f"got {got}")


def encrypt(client):
    """Bodies are encrypted on the wire; an SDK of another language, the next in the ring, reads them."""
    other, key = client.rig.next_client(client.entry), KEYS[client.rig.place(client.entry) % len(KEYS)]
    a, b = client.program(), client.program(other)
    sender, receiver = client.user("a"), client.user("b")
    a.connected(client.gateway.url, sender, key=key)
    b.connected(client.gateway.url, receiver, key=key)
    body = f"secret of {client.entry.name} to {other.name}: grüße".encode()
    a.sent(receiver, body)
    expect(b.wait_deliveries(1) == [(sender, body)], f"{other.name} got {b.deliveries()}")
    b.sent(sender, body[::-1])
    expect(a.wait_deliveries(1) == [(receiver, body[::-1])], f"got {a.deliveries()} from {other.name}")
    seen = client.plain(client.user("c"))
    seen.send("plain", b"not encrypted", to=sender)
    expect(a.wait_deliveries(2)[1][1] == b"not encrypted", f"a body that can't be opened was changed: {a.deliveries()}")
    a.sent(client.user("c"), body)
    a.sent(client.user("c"), body)
    first, second = (seen.delivery(i)[2] for i in (0, 1))
    expect(len(first) == 29 + len(body) and first[0] == 1, f"no envelope on the wire: {first!r}")
    expect(first[1:13] != second[1:13], "two messages with one nonce")


def denied(client):
    """A refusal of the tenant is an ack FAILED with its reason, and nothing is delivered."""
    a, b = client.pair()
    set_faults(client.rig.mock, {"check-message": {"deny": True}})
    try:
        ack = a.send(client.user("b"), b"no")
    finally:
        set_faults(client.rig.mock, {})
    expect((ack["status"], ack["reason"]) == ("FAILED", "denied by mock"), f"ack {ack}")
    a.sent(client.user("b"), b"yes")
    got = b.wait_deliveries(1)
    expect(got == [(client.user("a"), b"yes")], f"got {got}")


def duplicate_id(client):
    """The same id twice is one message."""
    a, b = client.pair()
    a.sent(client.user("b"), b"once", msg_id="same")
    again = a.sent(client.user("b"), b"once", msg_id="same")
    expect(again["reason"] in ("duplicate", ""), f"ack {again}")
    a.sent(client.user("b"), b"end")
    b.wait_deliveries(2)
    expect([body for _, body in b.deliveries()] == [b"once", b"end"], f"got {b.deliveries()}")


def order(client):
    """500 messages arrive in the order of the calls, none lost, none twice."""
    a, b = client.pair()
    window, sent = [], 0
    while sent < 500 or window:
        while sent < 500 and len(window) < 100:
            window.append(a.send_start(client.user("b"), str(sent).encode()))
            sent += 1
        ack = a.ack(window.pop(0))
        expect(ack["status"] == "SENT", f"ack {ack}")
    got = [int(body) for _, body in b.wait_deliveries(500)]
    if got != list(range(500)):
        wrong = next((i, n) for i, n in enumerate(got) if i != n)
        raise Failure(f"at place {wrong[0]} came message {wrong[1]}, {len(got)} in all")


def drain(client):
    """A draining node (4200) is left, and the client comes back with the next token of its provider."""
    gateway = client.own_gateway()
    a = client.program()
    users = [client.user("first"), client.user("second")]
    a.connected(gateway.url, "", tokens=[f"valid:{user}" for user in users])
    before = a.mark()
    gateway.signal(signal.SIGTERM)
    a.wait("closed", since=before, code=4200, terminal=False)
    a.wait("state", since=before, state="reconnecting")
    gateway.wait()
    gateway.start()
    session = a.wait("connected", since=before)["session"]
    expect(session["userId"] == users[1], f"it came back as {session['userId']}")
    a.sent(users[1], b"to myself")
    expect(a.wait_deliveries(1) == [(users[1], b"to myself")], f"got {a.deliveries()}")


def kill(client):
    """After kill -9 the client comes back, and what was sent meanwhile is delivered under its id."""
    gateway = client.own_gateway()
    a, b = client.pair()
    marks = a.mark(), b.mark()
    gateway.signal(signal.SIGKILL)
    gateway.wait()
    a.wait("closed", since=marks[0], code=1006, terminal=False)
    number = a.send_start(client.user("b"), b"meanwhile", msg_id="m-1")
    gateway.start()
    a.wait("connected", since=marks[0])
    b.wait("connected", since=marks[1])
    ack = a.ack(number)
    expect((ack["status"], ack["msgId"]) == ("SENT", "m-1"), f"ack {ack}")
    expect(b.wait_deliveries(1) == [(client.user("a"), b"meanwhile")], f"got {b.deliveries()}")


def replaced(client):
    """A newer connection of the same device ends the older one for good: 4409."""
    old, new = client.program(), client.program()
    user = client.user("a")
    old.connected(client.gateway.url, user)
    before = old.mark()
    new.connected(client.gateway.url, user)
    old.wait("closed", since=before, code=4409, terminal=True)
    old.wait("state", since=before, state="disconnected")
    client.stays_away(old, old.mark())
    new.sent(user, b"still here")
    expect(new.wait_deliveries(1) == [(user, b"still here")], f"got {new.deliveries()}")


def rate_limited(client):
    """Beyond the tenant's rate: FAILED `tenant qps limited`, the connection stays and later messages pass."""
    a = client.program()
    user = client.user("a")
    a.connected(client.gateway.url, user, tenant="limited")
    acks = [a.ack(number) for number in [a.send_start(user, b"x") for _ in range(20)]]
    limited = [ack for ack in acks if (ack["status"], ack["reason"]) == ("FAILED", "tenant qps limited")]
    expect(limited and len(limited) + sum(ack["status"] == "SENT" for ack in acks) == 20, f"acks {acks}")
    until("a later message passes", lambda: a.send(user, b"later")["status"] == "SENT")


def connection_limit(client):
    """Beyond the connections of a user: 4429, which is told; later the same program can connect."""
    user = client.user("a")
    other = client.plain(user, "other", "limited")
    a = client.program()
    answer = a.connect(client.gateway.url, user, tenant="limited", autoReconnect=False)
    told = answer.get("code") == 4429 or any(e["event"] == "closed" and e["code"] == 4429 for e in a.events)
    expect(not answer.get("ok") and told, f"connect was answered {answer}, {a.events}")
    other.close()
    until("it connects once there is room", lambda: a.connect(client.gateway.url, user, tenant="limited").get("ok"))


def huge_body(client):
    """Bodies beyond the gateway's limits end with FAILED or an error, soon; the connection stays of use."""
    a, b = client.pair(ackTimeoutMs=3000)
    ack = a.send(client.user("b"), b"x" * 40_000)
    expect((ack["status"], ack["reason"]) == ("FAILED", "msg_body_too_large"), f"40 kB: {ack}")
    before = a.mark()
    answer = a.answer(a.send_start(client.user("b"), os.urandom(200_000)))
    expect(not answer.get("ok") or answer["ack"]["status"] == "FAILED", f"200 kB: {answer}")
    a.sent(client.user("b"), b"small")
    expect(b.wait_deliveries(1) == [(client.user("a"), b"small")], f"got {len(b.deliveries())} deliveries")
    lost = [e for e in a.events[before:] if e["event"] == "closed"]
    expect(not lost, f"the connection was lost: {lost}")


def disconnect(client):
    """After disconnect() it is and stays disconnected; the gateway knows at once."""
    program = client.program()
    program.connected(client.gateway.url, client.user("a"))
    sessions = client.gateway.metric("mics_ws_connections")
    expect(program.call("disconnect").get("ok"), "disconnect failed")
    program.wait("state", state="disconnected")
    until("the session is gone", lambda: client.gateway.metric("mics_ws_connections") < sessions)
    client.stays_away(program, program.mark())
    answer = program.answer(program.send_start("x", b"x"))
    expect(not answer.get("ok") or answer["ack"]["status"] == "FAILED", f"a send after disconnect: {answer}")


def leave_while_away(client):
    """disconnect() during a reconnect ends it: the gateway comes back, the client does not."""
    gateway = client.own_gateway()
    a = client.program()
    a.connected(gateway.url, client.user("a"))
    before = a.mark()
    gateway.signal(signal.SIGKILL)
    gateway.wait()
    a.wait("state", since=before, state="reconnecting")
    expect(a.call("disconnect").get("ok"), "disconnect failed")
    a.wait("state", since=before, state="disconnected")
    gateway.start()
    client.stays_away(a, a.mark())


def retry(client):
    """A message without an ack is sent again under its id, and is delivered once."""
    gateway = client.own_gateway()
    a, b = client.pair(ackTimeoutMs=200, maxSendAttempts=50)
    gateway.signal(signal.SIGSTOP)
    try:
        number = a.send_start(client.user("b"), b"again", msg_id="m-1")
        time.sleep(1)  # several time-outs of the ack; what follows shows whether they led to repetitions
    finally:
        gateway.signal(signal.SIGCONT)
    ack = a.ack(number)
    expect((ack["status"], ack["msgId"]) == ("SENT", "m-1"), f"ack {ack}")
    until("the gateway saw repetitions", lambda: gateway.metric("mics_dedup_hits_total") > 0)
    a.sent(client.user("b"), b"end")
    got = [body for _, body in b.wait_deliveries(2)]
    expect(got == [b"again", b"end"], f"got {got}")


def frozen(client):
    """A gateway that is silent but open is noticed by the watchdog; once it runs again the client is back."""
    gateway = client.own_gateway()
    a = client.program()
    a.connected(gateway.url, client.user("a"), heartbeatIntervalMs=300)
    before = a.mark()
    gateway.signal(signal.SIGSTOP)
    try:
        a.wait("closed", since=before, terminal=False)
    finally:
        gateway.signal(signal.SIGCONT)
    a.wait("connected", since=before)
    a.sent(client.user("a"), b"back")
    a.wait_deliveries(1)


SCENARIOS = {
    "connect": connect, "wrong-token": wrong_token, "unknown-tenant": unknown_tenant, "send": send, "group": group,
    "offline": offline, "encrypt": encrypt, "denied": denied, "duplicate-id": duplicate_id, "order": order,
    "drain": drain, "kill": kill, "replaced": replaced, "rate-limited": rate_limited,
    "connection-limit": connection_limit, "huge-body": huge_body, "disconnect": disconnect,
    "leave-while-away": leave_while_away, "retry": retry, "frozen": frozen,
}
