"""A stand-in for Telegram's Bot API: takes what mkat sends and remembers when each message arrived."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "123456:watched-cluster"
CHAT = "4711"


class BotApi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        # (monotonic time, text) of every message, in the order of arrival.
        self.messages = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Who asked is gone, at the end of the story."""

    def answer(self, method, fields):
        if method == "sendMessage":
            if str(fields.get("chat_id")) != CHAT:
                return 400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
            self.messages.append((time.monotonic(), fields["text"]))
            chat = {"id": int(CHAT), "type": "private"}
            return 200, {"ok": True, "result": {"message_id": len(self.messages), "date": int(time.time()), "chat": chat}}
        if method == "getMe":
            return 200, {"ok": True, "result": {"id": 123456, "is_bot": True, "first_name": "watch", "username": "watch_bot"}}
        if method == "getUpdates":
            # Nobody presses buttons here.
            time.sleep(min(float(fields.get("timeout", 0)), 5))
            return 200, {"ok": True, "result": []}
        return 200, {"ok": True, "result": True}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        bot, _, method = self.path.lstrip("/").partition("/")
        if bot != "bot" + TOKEN:
            status, answer = 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
        else:
            status, answer = self.server.answer(method, json.loads(body or b"{}"))
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST

    def log_message(self, *_):
        pass
