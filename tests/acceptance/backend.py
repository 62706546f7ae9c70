"""A tenant's back end for the acceptance: the four hooks over HTTP, with knobs that a test turns while the gateway runs.
Token `valid:<user>` is that user; every signature is checked, by the contract's rule and not by the gateway's code."""

import base64
import hashlib
import hmac
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from wire import hook


def signature(secret, request):
    """Of a request whose meta.sign is empty: HMAC-SHA256 over its bytes, the request id and the time (8 bytes, little endian)."""
    signed = request.SerializeToString(deterministic=True) + request.meta.request_id.encode()
    signed += request.meta.timestamp_ms.to_bytes(8, "little", signed=True)
    return base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()


class Tenant:
    """What one tenant answers. Change the attributes at any time."""

    def __init__(self, secret, **config):
        self.secret = secret
        self.config = config
        self.groups = {"group-1": ["u1", "u2", "u3"]}
        self.stored = []
        self.delay = {}
        self.status = {}
        self.calls = []
        self.bad_signatures = 0


class Backend(ThreadingHTTPServer):
    """Serves all tenants on one port; the tenant is the one of meta.tenant_id."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, **tenants):
        super().__init__(("127.0.0.1", 0), Handler)
        self.tenants = tenants
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, path, body):
        """(status, bytes)."""
        request_type, answer = OPERATIONS[path]
        request = request_type.FromString(body)
        tenant = self.tenants[request.meta.tenant_id]
        tenant.calls.append(path)
        time.sleep(tenant.delay.get(path, 0))
        if path in tenant.status:
            return tenant.status[path], b""
        sign, request.meta.sign = request.meta.sign, ""
        if not hmac.compare_digest(sign, signature(tenant.secret, request)):
            tenant.bad_signatures += 1
        return 200, answer(self, tenant, request).SerializeToString()

    def auth(self, tenant, request):
        ok = request.token.startswith("valid:")
        if not ok:
            return hook.AuthResponse(ok=False, reason="invalid token")
        config = hook.TenantRuntimeConfig(hook_base_url=self.url, tenant_secret=tenant.secret, **tenant.config)
        return hook.AuthResponse(ok=True, user_id=request.token.removeprefix("valid:"), device_id=request.device_id, config=config)

    def check(self, tenant, request):
        allow = not request.message.msg_body.startswith(b"deny")
        return hook.CheckMessageResponse(allow=allow, reason="" if allow else "denied")

    def members(self, tenant, request):
        return hook.GetGroupMembersResponse(user_ids=tenant.groups.get(request.group_id, []))

    def offline(self, tenant, request):
        mine = [each for each in tenant.stored if each.to_user_id == request.user_id]
        at = int(request.cursor or 0)
        page = mine[at : at + request.max_messages]
        more = at + len(page) < len(mine)
        return hook.GetOfflineMessagesResponse(ok=True, messages=page, has_more=more, next_cursor=str(at + len(page)) if more else "")


OPERATIONS = {
    "/auth": (hook.AuthRequest, Backend.auth),
    "/check-message": (hook.CheckMessageRequest, Backend.check),
    "/get-group-members": (hook.GetGroupMembersRequest, Backend.members),
    "/get-offline-messages": (hook.GetOfflineMessagesRequest, Backend.offline),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        status, answer = self.server.answer(self.path, body)
        head = f"HTTP/1.1 {status} x\r\ncontent-type: application/protobuf\r\ncontent-length: {len(answer)}\r\n\r\n"
        # In one piece: two would wait for an acknowledgement between them.
        self.wfile.write(head.encode() + answer)

    def log_message(self, *_):
        pass
