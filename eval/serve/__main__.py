"""Ask a trained model in a browser: `python -m eval.serve run=runs/NAME [port=8000]`

A page on this machine where a puzzle is typed, pasted, drawn or made, and solved before your eyes,
deeper than trained if you like. Stop it with Ctrl-C.
"""

import errno
import socket
from dataclasses import dataclass

from omegaconf import DictConfig

from conf.cli import command
from conf.schema import typed
from eval.load import open_run
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.run.console import say


@dataclass
class ServeConfig:
    """Which model, and where."""

    run: str
    checkpoint: str
    weights: str
    device: str
    host: str
    port: int


def main(words: DictConfig) -> None:
    options = typed(ServeConfig, words)
    if not 0 <= options.port <= 65535:
        raise UserError(f"port={options.port}: must be from 0 to 65535; 0 takes a free one")
    try:
        from eval.serve.app import application
        from eval.serve.connection import server_of
        from eval.serve.limits import LOOPBACK
    except ImportError:
        raise UserError("for the page, pip install -e '.[viz]'") from None
    from eval.serve.answers import Answers

    device = pick_device(options.device)
    trained = open_run(options.run, options.checkpoint, options.weights, device)
    answers = Answers(trained)
    bound = bind(options.host, options.port)
    port = bound.getsockname()[1]
    if options.host not in LOOPBACK:
        say(f"warning: host={options.host}: everybody who reaches this machine can ask this model")
    name = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host
    say(f"http://{f'[{name}]' if ':' in name else name}:{port}/ (stop with Ctrl-C)")
    try:
        server_of(application(answers, options.host, port)).run(sockets=[bound])
    except KeyboardInterrupt:  # how it is meant to be stopped
        say("stopped")
    finally:
        bound.close()


def advice(error: OSError | UnicodeError) -> str:
    """What is wrong with an address, and what to do."""
    why = getattr(error, "strerror", None) or "no such address"
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return f"{why}; use port=0 for a free one"
    if getattr(error, "errno", None) == errno.EACCES:
        return f"{why}; use a port from 1024"
    return f"{why}; use host=127.0.0.1, or an address of this machine"


def bind(host: str, port: int) -> socket.socket:
    """A socket of our own, so that a taken port is said in a line. Raises UserError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except (OSError, UnicodeError) as error:
        found.close()
        raise UserError(f"host={host} port={port}: {advice(error)}") from None
    return found


if __name__ == "__main__":
    command("serve", main)
