"""Puzzles that were read from a file, as arrays, and where each of them stood."""

from pathlib import Path
from typing import NamedTuple

import numpy as np


class Read(NamedTuple):
    """Some puzzles of one file."""

    path: Path
    rows: np.ndarray  # (N,) line in the file, or number of the entry
    inputs: np.ndarray  # (N, S) uint8
    labels: np.ndarray  # (N, S) uint8, PAD where there is no answer

    def select(self, which: np.ndarray) -> "Read":
        """The puzzles `which`, indices or (N,) bool."""
        return Read(self.path, self.rows[which], self.inputs[which], self.labels[which])
