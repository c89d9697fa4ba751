"""Files that are there whole or not at all, whenever a process is killed, the power fails or a disk
fills up.

A file is written under a temporary name beside its place, flushed to disk and renamed; then its
directory is flushed to disk. The temporary name ends in the number of the process, so that two do
not write to the same one.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Replace the file at `path`, on disk before this returns.

    Raises OSError; then the old file stands there.
    """
    with staged(path, content) as temporary:
        rename(temporary, path)


def append(path: Path, line: bytes) -> None:
    """Add `line` to the end of a file, all of it or nothing.

    Raises OSError. A killed process loses none of it.
    """
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            if file.write(line) < len(line):
                raise OSError(ENOSPC, os.strerror(ENOSPC), str(path))
        except OSError:
            file.truncate(size)
            raise


def sync(path: Path) -> None:
    """The file at `path`, if there is one, is on disk before this returns. Raises OSError."""
    if path.exists():
        with path.open("r+b") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())


@contextmanager
def staged(path: Path, content: bytes | memoryview) -> Iterator[Path]:
    """`content` on disk under the temporary name of `path`, to be renamed in the block; gone where
    the block fails.
    """
    temporary = temporary_of(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except BaseException:
        with suppress(OSError):  # what went wrong first is what is told
            temporary.unlink(missing_ok=True)
        raise


def rename(old: Path, new: Path) -> None:
    """Give a file another name in its directory, replacing what has it; on disk before this
    returns.
    """
    os.replace(old, new)
    if os.name != "nt":  # Windows opens no directories, and keeps them in order by itself
        descriptor = os.open(new.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def temporary_of(path: Path) -> Path:
    """Where this process writes what is to become `path`."""
    return path.with_name(f"{path.name}.tmp.{os.getpid()}")


def leftovers(directory: Path) -> list[Path]:
    """Temporary files in a directory, in name order: of processes that are dead, where one alone
    may write there.
    """
    return sorted(
        path for path in directory.glob("*.tmp.*") if re.search(r"\.tmp\.[1-9][0-9]*$", path.name)
    )
