"""A tenant with tight limits, which the hook mock has no setting for: 2 messages a second, 1 connection per user."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import wire


class _Hooks(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = wire.fields(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/auth":
            config = wire.message((1, self.server.base), (5, 1), (6, 2))
            answer = wire.message((2, True), (3, wire.text(request, 2).removeprefix("valid:")), (5, config))
        else:
            answer = wire.message((2, True))
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class LimitedTenant:
    def __init__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Hooks)
        self.base = self.server.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
