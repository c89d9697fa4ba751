"""Asking a run to stop: SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 finish the step, save, and leave with
128 + the signal.

A second SIGINT leaves at once, and nothing is saved beyond the last checkpoint.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tinyreason.run.place import is_first

NAMES = ("SIGTERM", "SIGINT", "SIGUSR1")  # the last is not on Windows
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class Stopped(BaseException):
    """A signal came while nothing was under way that has to be finished.

    Compilers make errors of their own of every Exception that crosses them, so it is none.
    """


class Stop:
    """Listens while it is a context. `signal` is the one that came, or None."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.idle = self.interrupted = False

    def __enter__(self) -> "Stop":
        main = threading.current_thread() is threading.main_thread()
        # only the main thread may listen; in another, as in a notebook's, nothing is caught
        self.before = {s: signal.signal(s, self.heard) for s in SIGNALS} if main else {}
        return self

    def __exit__(self, *_) -> None:
        for s, handler in self.before.items():
            signal.signal(s, handler)

    def heard(self, number: int, _) -> None:
        """Remember the first signal; the loop looks at the end of each step."""
        if number == signal.SIGINT and self.interrupted:
            os._exit(128 + number)  # asked twice
        self.interrupted |= number == signal.SIGINT
        if self.signal is None:
            self.signal = signal.Signals(number)
            if is_first():
                self.say_so()
        if self.idle:
            raise Stopped

    def say_so(self) -> None:
        # nobody may be reading; and print, of all things, may be what was interrupted
        with suppress(OSError):
            os.write(2, f"\n{self.signal.name}: finishing this step, then saving\n".encode())

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Work that changes nothing and may be cut short by Stopped: an evaluation."""
        self.idle = True
        try:
            if self.signal:
                raise Stopped
            yield
        finally:
            self.idle = False

    def agree(self, largest: Callable[[int], list[int]]) -> None:
        """On the signal that the ranks got, whichever of them did."""
        (number,) = largest(self.signal or 0)
        self.signal = signal.Signals(number) if number else None

    @property
    def code(self) -> int:
        """The exit code that the signal asks for."""
        return 128 + self.signal
