"""The symmetries of a maze on its canvas: eight of a square, four of a rectangle.

N mazes, S cells of the canvas.
"""

from functools import lru_cache

import numpy as np

from tinyreason.rules.base import PAD

NAMES = ("as it is", "turned by 90", "turned by 180", "turned by 270")
NAMES += ("left-right", "up-down", "transposed", "anti-transposed")
RECTANGLE = (0, 2, 4, 5)  # those that keep the shape of a canvas that is no square


def symmetries(grid: tuple[int, int]) -> int:
    """How many keep the shape of a canvas."""
    return 8 if grid[0] == grid[1] else 4


def names_of(grid: tuple[int, int]) -> tuple[str, ...]:
    """What each of them is, in the order of `turning`."""
    return NAMES if grid[0] == grid[1] else tuple(NAMES[k] for k in RECTANGLE)


@lru_cache(maxsize=1024)
def turning(size: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """(8 or 4, S) the cell that each cell of the canvas takes over from a maze of `size` at its top
    left; S, one past the last, beside it.

    In the references' order; of a canvas that is not square, those that do not transpose.
    """
    cells = np.arange(grid[0] * grid[1]).reshape(grid)[: size[0], : size[1]]
    turns = [np.rot90(cells, k) for k in range(4)]
    all_eight = [*turns, np.fliplr(cells), np.flipud(cells), cells.T, np.fliplr(np.rot90(cells))]
    kept = all_eight if grid[0] == grid[1] else [all_eight[k] for k in RECTANGLE]
    tables = np.full((len(kept), *grid), grid[0] * grid[1])
    for table, turned in zip(tables, kept, strict=True):
        table[: turned.shape[0], : turned.shape[1]] = turned
    return tables.reshape(len(kept), -1)


def gathered(cells: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(N, S) the cells that `table` (N, S) names; PAD for S."""
    padded = np.pad(cells, ((0, 0), (0, 1)), constant_values=PAD)
    # places in the flat array: twice as fast as take_along_axis
    return padded.reshape(-1)[table + np.arange(len(cells))[:, None] * padded.shape[1]]


def undone(table: np.ndarray) -> np.ndarray:
    """(N, S) the tables that undo `table` (N, S) for the cells of a maze; S for those beside it."""
    count, cells = table.shape
    undo = np.full((count, cells + 1), cells)
    np.put_along_axis(undo, table, np.broadcast_to(np.arange(cells), table.shape), 1)
    return undo[:, :cells]
