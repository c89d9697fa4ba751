"""What leaves a Sudoku the same puzzle: drawing such maps, undoing them, and a key that they cannot
change.

The symmetries: permute the digits; permute the bands, the rows inside a band, the stacks, the
columns inside a stack; transpose, where boxes are square (a 6x6 grid has boxes of 2 rows x 3
columns and is never transposed).

N grids, S cells (row-major), V tokens (PAD 0, blank 1, digits 2..side+1).
"""

from collections.abc import Collection
from itertools import combinations
from typing import NamedTuple

import numpy as np

from tinyreason.rules.sudoku import BOX

Box = tuple[int, int]  # rows and columns

ROUNDS = 3  # of refinement
CHUNK = 1024  # puzzles at a time: what they need stays in the processor's cache
SALT, ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1342543DE82EF95)  # arbitrary


class Symmetry(NamedTuple):
    """One symmetry a row: the new cell c holds what the old cell `cells[c]` held, its token renamed
    by `tokens`.
    """

    cells: np.ndarray  # (N, S) int
    tokens: np.ndarray  # (N, V) uint8

    def apply(self, grids: np.ndarray) -> np.ndarray:
        """The images (N, S) of `grids` (N, S), both tokens."""
        # places in the flat arrays: twice as fast as take_along_axis
        row = np.arange(len(grids))[:, None]
        moved = grids.reshape(-1)[self.cells + row * grids.shape[1]]
        return self.tokens.reshape(-1)[moved + row * self.tokens.shape[1]].astype(grids.dtype)

    def inverse(self) -> "Symmetry":
        """The symmetries that undo these."""
        return Symmetry(_inverse(self.cells), _inverse(self.tokens))


KINDS = ("rows", "columns", "transposed", "digits")


def kinds_of(box: Box) -> tuple[str, ...]:
    """Those that a grid with such boxes has."""
    return tuple(kind for kind in KINDS if kind != "transposed" or box[0] == box[1])


def draw(
    n: int,
    side: int,
    rng: np.random.Generator,
    box: Box | None = None,
    kinds: Collection[str] = KINDS,
) -> Symmetry:
    """`n` symmetries, each uniform over the whole group and independent of the others. `box`: None
    for the usual one of the side; `kinds`: a part of the group alone.
    """
    high, wide = box or BOX[side]
    still = np.tile(np.arange(side), (n, 1))
    rows = _lines(n, side, high, rng) if "rows" in kinds else still
    columns = _lines(n, side, wide, rng) if "columns" in kinds else still
    cells = rows[:, :, None] * side + columns[:, None, :]
    if high == wide and "transposed" in kinds:
        flip = rng.integers(2, size=n).astype(bool) | (len(kinds) == 1)
        cells[flip] = cells[flip].swapaxes(1, 2)
    tokens = np.tile(np.arange(side + 2, dtype=np.uint8), (n, 1))
    if "digits" in kinds:
        tokens[:, 2:] = rng.permuted(tokens[:, 2:], axis=1)
    return Symmetry(cells.reshape(n, side * side), tokens)


def _lines(n: int, side: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """(n, side): an order of the bands, each of `size` lines, and of the lines inside each."""
    bands = rng.permuted(np.tile(np.arange(side // size), (n, 1)), axis=1)
    inside = rng.permuted(np.tile(np.arange(size), (n, side // size, 1)), axis=2)
    return (bands[:, :, None] * size + inside).reshape(n, side)


def _inverse(maps: np.ndarray) -> np.ndarray:
    """The inverse permutation of each row."""
    return np.argsort(maps, axis=1).astype(maps.dtype)


def key(inputs: np.ndarray, labels: np.ndarray, side: int, box: Box | None = None) -> np.ndarray:
    """(N,) uint64, equal for symmetric puzzles; `inputs` and `labels` (N, S) tokens.

    Never separates symmetric puzzles, so "no two keys equal" proves "no two puzzles symmetric". In
    principle it may merge others (colour refinement is no complete test): every cell starts as
    given or blank and with its number of rectangles, then takes up the colours of its row, band,
    column, stack, box and of its digit in the solution, until all parts have seen all others.
    139,260 puzzles of the published lists, no two symmetric, get as many keys.
    """
    parts = [slice(start, start + CHUNK) for start in range(0, max(len(inputs), 1), CHUNK)]
    return np.concatenate([_key(inputs[part], labels[part], box or BOX[side]) for part in parts])


def _key(inputs: np.ndarray, labels: np.ndarray, box: Box) -> np.ndarray:
    high, wide = box
    side = high * wide
    digit = labels.reshape(-1, side, side).astype(np.intp) - 2
    colour = _mix((inputs > 1).reshape(digit.shape) + 2 * _rectangles(digit))
    for _ in range(ROUNDS):
        row = _group(colour.sum(2), high)
        column = _group(colour.sum(1), wide)
        boxes = colour.reshape(-1, side // high, high, side // wide, wide).sum((2, 4))
        boxes = boxes.repeat(high, 1).repeat(wide, 2)
        same = _mix(
            np.stack([np.where(digit == d, colour, 0).sum((1, 2)) for d in range(side)], axis=1)
        )
        same = np.take_along_axis(same[:, None], digit, axis=2)
        lines = row[:, :, None] + column[:, None, :]  # a sum, so that transposing changes nothing
        colour = _mix(colour + _mix(lines + _mix(boxes + SALT) + same * ODD))
    return _mix(colour.sum((1, 2)))


def _rectangles(digit: np.ndarray) -> np.ndarray:
    """(N, side, side) uint64: of how many rectangles d e / e d of the solution each cell is a
    corner.

    Refinement alone sees no difference between full grids, nor much between nearly full ones.
    """
    column = np.argsort(digit, axis=2)  # [n, row, digit]
    count = np.zeros(digit.shape, np.uint64)
    for a, b in combinations(range(digit.shape[1]), 2):
        # where row a has the digit below its own
        opposite = np.take_along_axis(column[:, a], digit[:, b], 1)
        corner = np.take_along_axis(digit[:, b], opposite, 1) == digit[:, a]
        count[:, a] += corner
        count[:, b] += corner
    return count


def _group(lines: np.ndarray, size: int) -> np.ndarray:
    """(N, side): the colour of each line, given its sum (N, side), with that of its band of `size`
    lines.
    """
    lines = _mix(lines)
    bands = _mix(lines.reshape(len(lines), lines.shape[1] // size, size).sum(2))
    return _mix(lines + bands.repeat(size, 1) * ODD)


def _mix(x: np.ndarray) -> np.ndarray:
    """A bijection of the 64-bit integers that spreads every bit over all (the finaliser of
    splitmix64; wraps).
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
