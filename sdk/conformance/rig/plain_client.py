"""A WebSocket client without any SDK, so that hook programs can be tried alone and bodies be seen as they travel."""

import base64
import os
import socket
import struct
import threading
from urllib.parse import urlencode, urlsplit

from . import wire
from .failure import Failure
from .processes import HANG


class PlainClient:
    """Connects in the constructor. `close_code` is set when the gateway refused or closed."""

    def __init__(self, url, user, device="plain", tenant="t1", token=None):
        where = urlsplit(url)
        query = urlencode({"tenantId": tenant, "token": token or f"valid:{user}", "deviceId": device})
        self.socket = socket.create_connection((where.hostname, where.port), timeout=HANG)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {where.path}?{query} HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        status = self.file.readline().split()
        if len(status) < 2 or status[1] != b"101":
            raise Failure(f"no upgrade: {status}")
        while self.file.readline().strip():
            pass
        self.session, self.close_code, self.close_reason = None, None, ""
        self.acks, self.deliveries, self.changed = {}, [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self._wait("connect_ack", lambda: self.session or self.close_code)

    def _read(self):
        try:
            while self._frame():
                pass
        except (OSError, ValueError, IndexError, struct.error):
            pass
        with self.changed:
            self.close_code = self.close_code or 1006
            self.changed.notify_all()

    def _frame(self):
        """Reads one frame; the gateway does not fragment."""
        head = self.file.read(2)
        if len(head) < 2:
            return False
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack(">H", self.file.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.file.read(8))[0]
        data = self.file.read(size)
        with self.changed:
            self._take(head[0] & 0x0F, data)
            self.changed.notify_all()
        return True

    def _take(self, opcode, data):
        if opcode == 8:
            self.close_code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 1005
            self.close_reason = data[2:].decode()
        if opcode != 2:
            return
        frame = wire.fields(data)
        if 1 in frame:
            ack = wire.sub(frame, 1)
            self.session = {"userId": wire.text(ack, 3), "code": wire.number(ack, 1)}
        elif 2 in frame:
            chat = wire.sub(wire.sub(frame, 2), 1)
            body = chat.get(8, [b""])[-1]
            self.deliveries.append((wire.text(chat, 2), wire.text(chat, 4), body))
        elif 3 in frame:
            ack = wire.sub(frame, 3)
            status = "FAILED" if wire.number(ack, 2) else "SENT"
            self.acks[wire.text(ack, 1)] = {"status": status, "reason": wire.text(ack, 4)}

    def _wait(self, what, find):
        with self.changed:
            self.changed.wait_for(lambda: find() or self.close_code, HANG)
            found = find()
            if not found:
                raise Failure(f"{what}: closed {self.close_code} {self.close_reason}, deliveries {self.deliveries[-3:]}")
            return found

    def _write(self, opcode, data):
        mask = os.urandom(4)
        size = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, len(data))
        if len(data) < 126:
            size = struct.pack(">BB", 0x80 | opcode, 0x80 | len(data))
        self.socket.sendall(size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def send(self, msg_id, body, to="", group=""):
        """Sends a message below 64 KiB and gives its ack."""
        self._write(2, wire.chat(msg_id, body, to, group))
        return self._wait(f"ack of {msg_id}", lambda: self.acks.get(msg_id))

    def received(self, body):
        """Waits for a delivery with this body and gives (sender, msg_id, body)."""
        return self._wait(f"delivery {body!r}", lambda: next((d for d in self.deliveries if d[2] == body), None))

    def delivery(self, position):
        """Waits for that many deliveries and gives the one at `position`."""
        return self._wait(f"delivery {position}", lambda: self.deliveries[position:position + 1])[0]

    def close(self):
        try:
            self._write(8, struct.pack(">H", 1000))
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.socket.close()
