"""What a program tells its user.

Where nobody can read it, a closed pipe or a full disk, that is no reason to end.
"""

import os
import sys
from typing import TextIO

from tqdm import tqdm

from tinyreason.run.place import is_first


def say(line: str) -> None:
    """A line on stdout, above the progress bar. Of several ranks, the first speaks."""
    if is_first():
        tell(line, sys.stdout)


def warn(message: str) -> None:
    """A line on stderr."""
    if is_first():
        tell(f"warning: {message}", sys.stderr)


def tell(line: str, stream: TextIO | None) -> None:
    if stream is None:  # closed before Python began
        return
    try:
        tqdm.write(line, file=stream)
        stream.flush()
    except OSError:
        # what is still buffered goes there, too
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
