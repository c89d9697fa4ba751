"""One process at a time in a folder."""

import fcntl
import os
from pathlib import Path

from tinyreason.errors import UserError
from tinyreason.run.console import warn


class Lock:
    """Holds a run's folder until it is released or this process ends, however it ends."""

    def __init__(self, folder: Path):
        path = folder / "lock"
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self.descriptor, 20).decode(errors="replace").strip() or "another"
            self.release()
            raise UserError(
                f"{folder} is in use by process {holder}; wait for it, or use name=NEW"
            ) from None
        except OSError as error:  # a file system that knows no locks
            warn(
                f"{path}: cannot be locked ({error.strerror}); "
                "see to it that no other run has this name"
            )
        os.ftruncate(self.descriptor, 0)
        os.write(self.descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        os.close(self.descriptor)
