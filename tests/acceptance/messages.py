"""Acceptance of chapter 8: nodes and messages (A6, A7, A10 to A14, X1)."""

import hashlib
import json
import os
import subprocess
import time
import uuid

import tools
from backend import hook
from items import item
from wire import Client, message, refused


@item("A6", "nodes come, stop and fail")
def nodes(stage):
    a, b = stage.nodes(2)
    c = stage.node()
    tools.wait_until("the new node is seen by all", lambda: all(n.metric("mics_cluster_nodes") == 3 for n in (a, b, c)))
    sender = Client(a.address, "sender")
    stopped, killed = Client(b.address, "on b"), Client(c.address, "on c")
    assert sender.say(b"x", to="on c").status == 0 and killed.bodies(1)
    b.stop()
    assert stopped.closed()[0] == 4200
    tools.wait_until("the stopped node's route is gone", lambda: stage.ask_redis("EXISTS", "mics:{t1:on b}:online") == "0")
    c.kill()
    start = time.monotonic()
    tools.wait_until("the killed node's route is gone", lambda: stage.ask_redis("EXISTS", "mics:{t1:on c}:online") == "0", 30)
    after = time.monotonic() - start
    assert sender.say(b"kept", to="on c").status == 0
    assert Client(a.address, "on c").bodies(1) == [b"kept"]
    return f"a third node joined without configuration of the others; a stopped one's routes vanished at once, a killed one's after {after:.1f} s (bar 30 s)"


@item("A7", "forwarding between nodes")
def forwarding(stage):
    stage.mock()
    a, b = stage.nodes(2)
    report = stage.load(a, to=b, mode="single-chat", connections=40, sendQpsPerConn=10, durationSeconds=5, payloadBytes=128)
    nothing_wrong(report, 500)
    return f"{report['deliveries']} messages from node to node: {faults(report)}; p50 {ms(report, 'p50')}, p99 {ms(report, 'p99')} (bar 5 ms, quiet machine)"


def nothing_wrong(report, least):
    assert report["exit"] == 0 and report["deliveries"] >= least, report
    assert report["lost"] == report["duplicated"] == report["out_of_order"] == 0, report


def faults(report):
    return f"{report['lost']} lost, {report['duplicated']} twice, {report['out_of_order']} out of order"


def ms(report, which):
    return f"{report['delivery'][f'{which}_us'] / 1000:.2f} ms"


@item("A10", "single and group chat, meaning of acks")
def chat(stage):
    a, b = stage.nodes(2)
    u1, u2, u3 = Client(a.address, "u1"), Client(b.address, "u2"), Client(a.address, "u3")
    bodies = [os.urandom(1 + number * 17 % 3000) for number in range(300)]
    for ack_of in [u1.send(body, to="u2") for body in bodies]:
        assert u1.ack(ack_of).status == 0
    assert digest(u2.bodies(300)) == digest(bodies)
    for ack_of in [u1.send(body, group="group-1") for body in bodies[:50]]:
        ack = u1.ack(ack_of)
        assert (ack.status, ack.partial_delivery, ack.offline_buffered_users) == (0, False, 0)
    assert digest(u2.bodies(350)[300:]) == digest(u3.bodies(50)) == digest(u1.bodies(50)) == digest(bodies[:50])
    u3.close()
    tools.wait_until("u3 has left", lambda: stage.ask_redis("EXISTS", "mics:{t1:u3}:online") == "0")
    assert u1.say(b"x", group="group-1").offline_buffered_users == 1
    reasons = [u1.say(b"x").reason, u1.say(b"deny", to="u2").reason, u1.say(b"x", group="nobody's").reason]
    assert reasons == ["missing to_user_id", "denied", "group members empty"], reasons
    return (
        "300 one-to-one and 50 group messages over 2 nodes: same SHA-256 at each receiver, in order; SENT, buffered count and FAILED reasons as in the contract"
    )


def digest(bodies):
    return hashlib.sha256(b"".join(len(body).to_bytes(4, "big") + body for body in bodies)).hexdigest()


@item("A11", "offline buffer")
def offline(stage):
    a, b = stage.nodes(2, OFFLINE_BUFFER_MAX_MESSAGES_PER_USER=10)
    sender = Client(a.address, "u1")
    for number in range(15):
        assert sender.say(str(number).encode(), to="later").status == 0
    got = Client(b.address, "later").bodies(10)
    assert got == [str(number).encode() for number in range(5, 15)], got
    assert Client(b.address, "later", device="second").deliveries == []
    return "15 messages to a user who is away, room for 10: the last 10 came on connect to another node, in order, once (time to live: A4; two copies: V2)"


@item("A12", "de-duplication, encrypted bodies")
def repetition(stage):
    node = stage.node()
    u1, u2 = Client(node.address, "u1"), Client(node.address, "u2")
    vectors = json.loads((tools.ROOT / "proto/vectors/envelopes.json").read_text())["vectors"]
    sealed = [bytes.fromhex(vector["envelope_hex"]) for vector in vectors if vector["envelope_hex"]]
    for body in sealed:
        same = str(uuid.uuid4())
        reasons = [u1.say(body, to="u2", msg_id=same).reason for _ in range(3)]
        assert reasons == ["", "duplicate", "duplicate"], reasons
    u1.say(b"the last", to="u2")
    assert u2.bodies(len(sealed) + 1) == [*sealed, b"the last"]
    return f"each of {len(sealed)} messages sent three times under one id came once; the AES-GCM envelopes of proto/vectors arrived byte for byte"


@item("A13", "hooks: time-out, degrade policy, circuit")
def hooks(stage):
    node = stage.node(HOOK_BREAKER_OPEN_MS=1000, HOOK_DENY_WHEN_DEGRADED='{"t2":true}')
    u1, other = Client(node.address, "u1"), Client(node.address, "u1", tenant="t2")

    def count(result, op="CheckMessage"):
        return node.metric("mics_hook_requests_total", tenant="t1", op=op, result=result)

    stage.t1.delay["/check-message"] = stage.t2.delay["/check-message"] = 0.4
    assert u1.say(b"deny", to="u2").status == 0 and count("timeout") == 1
    assert (ack := other.say(b"x", to="u2")).status == 1 and ack.reason == "hook degraded"
    stage.t1.delay.clear()
    stage.t1.status |= {"/check-message": 500, "/get-group-members": 503}
    for _ in range(6):
        assert u1.say(b"deny", to="u2").status == 0
    asked = stage.t1.calls.count("/check-message")
    assert u1.say(b"deny", to="u2").status == 0 and stage.t1.calls.count("/check-message") == asked, "asked though the circuit is open"
    assert u1.say(b"x", group="group-1").reason == "hook degraded"
    stage.t1.status.clear()
    tools.wait_until("the circuit closes", lambda: u1.say(b"deny", to="u2").reason == "denied", 15)
    stage.t1.status["/auth"] = 500
    assert refused(node.address, user="u9")[0] == 4001
    return "150 ms passed: message SENT unchecked (or FAILED where HOOK_DENY_WHEN_DEGRADED); 5 failures open the circuit, a probe closes it; members: FAILED; auth: 4001"


@item("A14", "events, signatures, dead letters")
def events(stage):
    stage.broker()
    node = stage.node(MAX_MESSAGE_BYTES=100000)
    u1 = Client(node.address, "u1")
    for number in range(20):
        u1.say(str(number).encode(), to="u2")
    u1.say(b"x", group="group-1")
    u1.close()
    read = stage.consume("im-mics-t1-event", 23)
    kinds = [hook.EventType.Name(event.event_type) for _, event in read]
    assert kinds == ["CONNECT_ONLINE", *["SINGLE_CHAT_MSG"] * 20, "GROUP_CHAT_MSG", "CONNECT_OFFLINE"], kinds
    assert all(key == b"u1" and stage.signed(event) for key, event in read)
    stage.most_bytes("im-mics-t1-event", 2000)
    u1 = Client(node.address, "u1")
    u1.say(os.urandom(5000), to="u2")
    letters = stage.consume("im-mics-t1-event-dlq", 1)
    assert stage.signed(letters[0][1])
    stage.most_bytes("im-mics-t1-event", 1048588)
    replay = [stage.program, "dlq", "replay", "--tenant", "t1", "--json", f"--KAFKA__BOOTSTRAP_SERVERS={stage.kafka}"]
    result = subprocess.run(replay, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert any(event.SerializeToString() == letters[0][1].SerializeToString() for _, event in stage.consume("im-mics-t1-event", 25))
    return "23 events of a session in order, keyed by user, signatures right by an independent check; an event that the topic refused became a dead letter and was replayed"


@item("X1", "new fields do not break old peers")
def unknown_fields(stage):
    a, b = stage.nodes(2)
    u1, u2 = Client(a.address, "u1"), Client(b.address, "u2")
    said = message.MessageRequest(msg_id="m", to_user_id="u2", msg_body=b"x").SerializeToString()
    # Field 200, text "new"; and beside the message a field 201 of the frame.
    said += bytes([0xC2, 0x0C, 3]) + b"new"
    u1.socket.send(bytes([0x0A, len(said)]) + said + bytes([0xC8, 0x0C, 1]))
    assert u1.ack("m").status == 0
    u2.bodies(1)
    assert bytes([0xC2, 0x0C, 3]) + b"new" in u2.deliveries[0].SerializeToString()
    return "a message with an unknown field, in a frame with another, was SENT and arrived on the other node with its field"
