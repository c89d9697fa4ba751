"""One process at a time in a folder.

The lock is filelock's: the system's own on Linux, macOS and Windows, gone with the process that
held it however that ended; where there is none, a file.
"""

import os
import warnings
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tinyreason.errors import UserError
from tinyreason.run.console import warn

LOCK, HOLDER = "lock", "lock.holder"


class Lock:
    """Holds a run's folder until it is released or this process ends, however it ends."""

    def __init__(self, folder: Path):
        self.path, self.holder = folder / LOCK, folder / HOLDER
        with warnings.catch_warnings(action="ignore"):  # of a system that has no locks of its own
            self.lock = FileLock(self.path, timeout=0)
        try:
            with warnings.catch_warnings(action="ignore"):
                self.lock.acquire()
        except Timeout:
            raise UserError(
                f"{folder} is in use by process {self.told_holder()}; wait for it, or use name=NEW"
            ) from None
        except OSError as error:  # a file system that knows no locks
            warn(
                f"{self.path}: cannot be locked ({error.strerror}); "
                "see to it that no other run has this name"
            )
        with suppress(OSError):
            self.holder.write_text(f"{os.getpid()}\n")

    def told_holder(self) -> str:
        """The process that says it has the lock."""
        try:
            return self.holder.read_text(errors="replace")[:20].strip() or "another"
        except OSError:
            return "another"

    def release(self) -> None:
        self.lock.release()

    def remove(self) -> None:
        """Its files, where nothing is to be left."""
        for path in (self.holder, self.path):
            with suppress(OSError):
                path.unlink(missing_ok=True)
