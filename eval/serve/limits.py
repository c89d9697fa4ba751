"""What a visitor may ask: from where, how much at once, and how often.

A page in a browser may talk to any server on its machine, so the names of the server are checked
(against DNS rebinding), the origin of a question (against other pages) and its type (against
forms). Bodies, waiting questions and time are limited, so that no visitor keeps others out for
long.
"""

import asyncio
import ipaddress
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MOST_BODY = 64 << 10  # bytes
MOST_DROPPED = 32 << 20  # bytes
MOST_WAITING = 4  # questions beside the one that is being answered
BODY_SECONDS = 10
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Connection": "close",
}


class Refused(Exception):
    """A question that is not answered: an HTTP status and one line."""

    def __init__(self, status: int, line: str):
        super().__init__(line)
        self.status = status


class Guarded:
    """An application behind the checks of every request, whose answers carry our headers."""

    def __init__(self, app: ASGIApp, host: str, port: int):
        self.app, self.host, self.port = app, host, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        if line := self.why_not(Headers(scope=scope)):
            refusal = JSONResponse({"error": line}, 403)
            await refusal(scope, receive, with_headers)
            return
        await self.app(scope, receive, with_headers)

    def why_not(self, headers: Headers) -> str | None:
        """Why a request is not ours to answer."""
        host = headers.get("host", "")
        if not served(host, self.host, self.port):
            return "this server does not go by that name"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return "questions of other pages are not answered"
        return None


def served(host: str, bound: str, port: int) -> bool:
    """A Host header that names this server: an address, or a name of its own, and its port."""
    name, _, asked = host.rpartition(":") if not host.endswith("]") else (host, "", "80")
    if not name:
        name, asked = host, "80"
    name = name.strip("[]").lower()
    if asked != str(port):
        return False
    if name in LOOPBACK or name == bound.lower():
        return True
    if bound in LOOPBACK:
        return False
    return is_address(name) or name == socket.gethostname().lower()


def is_address(name: str) -> bool:
    """Of the internet protocol: no name that somebody else may point at us."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def asked(request: Request) -> dict[str, Any]:
    """The JSON object of a question. Raises Refused."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise Refused(415, "a question is JSON: use Content-Type: application/json")
    try:
        content = await asyncio.wait_for(body(request), BODY_SECONDS)
    except TimeoutError:
        raise Refused(408, f"the question took more than {BODY_SECONDS} seconds") from None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise Refused(400, "the question is no JSON") from None
    if not isinstance(found, dict):
        raise Refused(400, "the question is no JSON object")
    return found


async def body(request: Request) -> bytes:
    """All of it. Raises Refused beyond MOST_BODY; a little more is read and dropped first, since
    whoever is still sending may not hear an answer.
    """
    content, count = bytearray(), 0
    async for part in request.stream():
        count += len(part)
        if count <= MOST_BODY:
            content += part
        if count > MOST_DROPPED:
            break
    if count > MOST_BODY:
        raise Refused(413, f"more than {MOST_BODY >> 10} KB")
    return bytes(content)


class OneAtATime:
    """One inference, a few questions that wait for it, and no more."""

    def __init__(self):
        self.lock = asyncio.Lock()
        self.waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises Refused where too many wait."""
        if self.waiting > MOST_WAITING:
            raise Refused(429, "too many questions at once; try again in a moment")
        self.waiting += 1
        try:
            async with self.lock:
                yield
        finally:
            self.waiting -= 1
