"""A WebSocket client of the gateway for the acceptance: speaks protobuf frames, keeps what arrives, and can misbehave. The
protobuf classes are made from proto/Protos when this is imported (needs the packages of setup.py)."""

import atexit
import pathlib
import queue
import shutil
import sys
import tempfile
import threading
import uuid
from urllib.parse import urlencode

import tools
from grpc_tools import protoc
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

_made = tempfile.mkdtemp(prefix="mics-proto-")
atexit.register(shutil.rmtree, _made, ignore_errors=True)
_files = ["Protos/mics_message.proto", "Protos/mics_hook.proto"]
if protoc.main(["protoc", f"--proto_path={tools.ROOT / 'proto'}", f"--python_out={_made}", *_files]) != 0:
    raise RuntimeError("the .proto files do not compile")
sys.path.insert(0, str(pathlib.Path(_made)))

from Protos import mics_hook_pb2 as hook  # noqa: E402, F401
from Protos import mics_message_pb2 as message  # noqa: E402

PATIENCE = 10


class Closed(Exception):
    """The gateway closed the connection: `code`, `reason`."""

    def __init__(self, code, reason):
        super().__init__(f"closed with {code} {reason!r}")
        self.code, self.reason = code, reason


class Client:
    """One connection. Raises Closed when the gateway refuses it; `session` is its ConnectAck."""

    def __init__(self, address, user, tenant="t1", device="d1", token=None):
        query = urlencode({"tenantId": tenant, "token": token or f"valid:{user}", "deviceId": device})
        self.user, self.acks, self.errors, self.pongs = user, {}, queue.Queue(), queue.Queue()
        self.deliveries, self._arrived, self._end = [], threading.Condition(), None
        self.socket = connect(f"ws://{address}/ws?{query}", compression=None, ping_interval=None, max_size=None, open_timeout=PATIENCE)
        try:
            frame = message.ServerFrame.FromString(self.socket.recv(PATIENCE))
        except ConnectionClosed:
            raise Closed(self.socket.protocol.close_code, self.socket.protocol.close_reason) from None
        self.session = frame.connect_ack
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            while True:
                self._keep(message.ServerFrame.FromString(self.socket.recv()))
        except (ConnectionClosed, OSError):
            with self._arrived:
                protocol = self.socket.protocol
                self._end = Closed(protocol.close_code, protocol.close_reason)
                self._arrived.notify_all()

    def _keep(self, frame):
        kind = frame.WhichOneof("payload")
        with self._arrived:
            if kind == "delivery":
                self.deliveries.append(frame.delivery.message)
            elif kind == "ack":
                self.acks[frame.ack.msg_id] = frame.ack
            elif kind == "error":
                self.errors.put(frame.error)
            elif kind == "heartbeat_pong":
                self.pongs.put(frame.heartbeat_pong)
            self._arrived.notify_all()

    def send(self, body=b"hello", to="", group="", msg_id=None, **fields):
        """Sends a message and returns its id at once."""
        msg_id = msg_id if msg_id is not None else str(uuid.uuid4())
        kind = message.GROUP_CHAT if group else message.SINGLE_CHAT
        said = message.MessageRequest(msg_id=msg_id, msg_type=kind, to_user_id=to, group_id=group, msg_body=body, **fields)
        self.socket.send(message.ClientFrame(message=said).SerializeToString())
        return msg_id

    def say(self, *args, **fields):
        """Sends a message and returns its ack."""
        msg_id = self.send(*args, **fields)
        return self.ack(msg_id)

    def ack(self, msg_id):
        self._wait(lambda: msg_id in self.acks, f"ack of {msg_id}")
        return self.acks.pop(msg_id)

    def ping(self):
        self.socket.send(message.ClientFrame(heartbeat_ping=message.HeartbeatPing(timestamp_ms=1)).SerializeToString())
        return self.pongs.get(timeout=PATIENCE)

    def bodies(self, count, seconds=PATIENCE):
        """The bodies of all deliveries so far, once there are at least `count`."""
        self._wait(lambda: len(self.deliveries) >= count, f"{count} deliveries to {self.user}, {len(self.deliveries)} came", seconds)
        return [each.msg_body for each in self.deliveries]

    def closed(self, seconds=PATIENCE):
        """Waits for the end: (code, reason)."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._end, seconds):
                raise TimeoutError(f"{self.user} was not closed within {seconds} s")
        return self._end.code, self._end.reason

    def open(self):
        return self._end is None

    def close(self):
        self.socket.close()

    def _wait(self, holds, what, seconds=PATIENCE):
        with self._arrived:
            if not self._arrived.wait_for(lambda: holds() or self._end, seconds):
                raise TimeoutError(f"not within {seconds} s: {what}")
            if not holds():
                raise self._end


def refused(address, **options):
    """(code, reason) of a connection that must not be accepted."""
    try:
        client = Client(address, options.pop("user", "nobody"), **options)
    except Closed as closed:
        return closed.code, closed.reason
    client.close()
    raise AssertionError(f"accepted: {client.session}")
