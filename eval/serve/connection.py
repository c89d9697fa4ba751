"""A connection that does not wait forever: uvicorn has no limit of its own for a request that is
begun and never finished, so a few idle clients could keep everybody else out.
"""

import asyncio

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from eval.serve.limits import Guarded

HEAD_SECONDS = 10  # until the head of a request is there
MOST = 256  # connections at once
FULL = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 10\r\nContent-Length: 0\r\n"
FULL += b"Connection: close\r\n\r\n"


class Impatient(H11Protocol):
    """Closed where the head of its only request does not come in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.write(FULL)
            transport.close()
            return
        self.loop.call_later(HEAD_SECONDS, self.give_up)

    def give_up(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def server_of(app: Guarded) -> Server:
    """What runs the application; our answers close their connection."""
    config = Config(
        app,
        http=Impatient,
        log_level="error",
        timeout_graceful_shutdown=2,
        server_header=False,
        ws="none",
        lifespan="off",
    )
    return Server(config)
