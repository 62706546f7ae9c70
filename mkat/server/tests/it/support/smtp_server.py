"""A real SMTP server for tests: aiosmtpd, with or without TLS, sign-in and refused recipients.

Usage: smtp_server.py <mail folder> <plain|starttls|tls> [certificate key]
Prints `listening on <port>`; every accepted mail becomes a file in the folder. The recipient refused@example.com is
refused with 550; with TLS, the sign-in watch/secret is demanded.
"""

import asyncio
import pathlib
import ssl
import sys
import uuid

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

folder, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
secured = mode != "plain"


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("busy@"):
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        head = f"X-Envelope-To: {','.join(envelope.rcpt_tos)}\r\nX-Tls: {session.ssl is not None or mode == 'tls'}\r\n"
        part = folder / f"{uuid.uuid4().hex}.part"
        part.write_bytes(head.encode() + envelope.content)
        part.rename(part.with_suffix(".eml"))
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"watch", b"secret")
    return AuthResult(success=good, handled=False) if not good else AuthResult(success=True)


def protocol():
    return SMTP(
        Handler(),
        hostname="localhost",
        tls_context=context if mode == "starttls" else None,
        require_starttls=mode == "starttls",
        authenticator=authenticate if secured else None,
        auth_required=secured,
        auth_require_tls=mode == "starttls",
    )


async def main():
    server = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", 0, ssl=context if mode == "tls" else None
    )
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


context = None
if secured:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
asyncio.run(main())
