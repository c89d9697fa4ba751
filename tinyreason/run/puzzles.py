"""What a run remembers of its puzzles: `puzzles.json` and `puzzle_keys.npy` in its folder.

The digests tell whether the puzzles are still the same when a run goes on; the keys, equal for
puzzles that are symmetric to each other, which puzzles of other files it was trained on.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyreason.described import About
from tinyreason.errors import UserError
from tinyreason.plain import from_plain
from tinyreason.puzzle import Puzzles
from tinyreason.run.atomic import write_whole
from tinyreason.untrusted import read_npy, read_object

ABOUT, KEYS = "puzzles.json", "puzzle_keys.npy"
MOST_KEYS = 4_000_000  # 8 bytes each
MAX_ABOUT = 8 << 20  # bytes; the names of 2,000 ARC tasks take 150,000
ROWS = 1 << 16  # examples hashed at once


@dataclass
class Remembered(About):
    """What stands in `puzzles.json`."""

    splits: dict[str, Any]  # name: {"examples": ..., "sha256": ...}
    source: Any  # where the puzzles came from, as the user wrote it


def digests(splits: Mapping[str, Puzzles]) -> dict[str, dict[str, Any]]:
    """The number of examples and the sha256 of each split: its arrays, in their order."""
    return {
        name: {"examples": len(puzzles), "sha256": digest(puzzles)}
        for name, puzzles in splits.items()
    }


def digest(puzzles: Puzzles) -> str:
    """sha256 of what a split holds."""
    sha = hashlib.sha256()
    for array in (puzzles.inputs, puzzles.labels):
        for start in range(0, len(array), ROWS):
            sha.update(np.ascontiguousarray(array[start : start + ROWS]))
    for array in (puzzles.puzzle_identifiers, puzzles.puzzle_indices, puzzles.group_indices):
        sha.update(np.ascontiguousarray(array))
    return sha.hexdigest()


def write(run: Path, about: Remembered, keys: np.ndarray | None) -> None:
    """Both files; without keys (of a task that has no symmetries to compare by) the first alone."""
    if keys is not None:
        write_whole(run / KEYS, npy_bytes(np.unique(keys)[:MOST_KEYS]))
    write_whole(run / ABOUT, (json.dumps(asdict(about), indent=1) + "\n").encode())


def npy_bytes(array: np.ndarray) -> bytes:
    """An array as an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def read(run: Path) -> Remembered | None:
    """What a run says of its puzzles; None where an earlier version made it. Raises UserError."""
    path = run / ABOUT
    if not path.is_file():
        return None
    try:
        found = from_plain(Remembered, read_object(path, MAX_ABOUT))
        found.settle()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return found


def read_keys(run: Path) -> np.ndarray | None:
    """(N,) uint64 keys of the training puzzles, sorted; None where there are none."""
    return read_npy(run / KEYS, np.uint64, 1) if (run / KEYS).is_file() else None
