"""The cells of a grid that somebody wrote down: a string, lines, cells apart, a Python list, an
array.

What has two readings is refused.
"""

import math
import re
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from tinyreason.errors import UserError

MOST = 100_000  # characters of a text; a puzzle of 30 x 30 with a space between cells has 1,800
CELL = re.compile(r".|[1-9][0-9]{1,2}", re.ASCII)  # a character, or a number from 10 on
FRAME = re.compile(r"[-+|=*:#_.\s]*[-+=*]{2,}[-+|=*:#_.\s]*")  # a line that only draws boxes


class Cells(NamedTuple):
    """Cells row by row: characters, or numbers where they came as such."""

    rows: int
    columns: int
    values: list[str | int]

    @property
    def size(self) -> str:
        return f"{self.rows} rows of {self.columns} cells"


def cells_of(grid: Any, wanted: tuple[int, int], where: str, keep_spaces: bool) -> Cells:
    """The cells of a text, of nested lists or of an array.

    `wanted` (rows, columns) says how a single row of cells is to be cut where that many are there.
    With `keep_spaces` a space is a cell (an open one of a maze). Raises UserError.
    """
    if isinstance(grid, str):
        return of_text(grid, wanted, where, keep_spaces)
    if isinstance(grid, np.ndarray):
        grid = grid.tolist()
    if not isinstance(grid, list | tuple) or not len(grid):
        raise UserError(
            f"{where}: not a text, a list of rows or an array, but {type(grid).__name__}"
        )
    if all(isinstance(row, str) and len(row) > 1 for row in grid):
        return of_text("\n".join(grid), wanted, where, keep_spaces)
    if not any(isinstance(row, list | tuple) for row in grid):
        return cut([cell_of(cell, where) for cell in grid], wanted, where)
    if not all(isinstance(row, list | tuple) and len(row) == len(grid[0]) for row in grid):
        raise UserError(f"{where}: its rows are not of one length")
    values = [cell_of(cell, where) for row in grid for cell in row]
    return Cells(len(grid), len(grid[0]), values)


def cell_of(cell: Any, where: str) -> str | int:
    """A number, a character, or 0 for None."""
    if cell is None:
        return 0
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, Integral) and not isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, str) and len(cell) == 1:
        return cell
    raise UserError(f"{where}: a cell is {str(cell)[:20]!r}, not a number or a character")


def of_text(text: str, wanted: tuple[int, int], where: str, keep_spaces: bool) -> Cells:
    """A text: all cells in a row, or a line a row."""
    rows = rows_in(text, where, keep_spaces)
    if len(rows) == 1:
        return cut(rows[0], wanted, where)
    if len({len(row) for row in rows}) > 1:
        sizes = sorted({len(row) for row in rows})
        raise UserError(f"{where}: its rows have {sizes[0]} to {sizes[-1]} cells, not all as many")
    return Cells(len(rows), len(rows[0]), [cell for row in rows for cell in row])


def rows_in(text: str, where: str, keep_spaces: bool) -> list[list[str | int]]:
    """The cells of each line. Raises UserError for what is far too long, or empty."""
    if len(text) > MOST:
        raise UserError(f"{where}: longer than {MOST:,} characters")
    lines = text.replace("\r\n", "\n").split("\n")
    if not keep_spaces:
        lines = [line.strip() for line in lines]
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f"{where}: empty")
    if keep_spaces:
        return [list(line) for line in lines]
    rows = [row for row in map(cells_in, unframed(lines)) if row]
    if not rows:
        raise UserError(f"{where}: empty")
    return rows


def unframed(lines: list[str]) -> list[str]:
    """The lines without those that only draw boxes, where there are more lines than a grid has."""
    if len(lines) < 2:
        return lines
    inside = [line for line in lines if not FRAME.fullmatch(line)]
    framed = any("|" in line for line in lines) or any("+" in line for line in lines)
    # a row of blanks may be written "---------": it is one where the rows then make a square
    width = len(cells_in(inside[-1])) if inside else 0
    kept = inside if framed or len(lines) != width else lines
    return [line.replace("|", " ") for line in kept] if framed else kept


def cells_in(line: str) -> list[str | int]:
    """One line of cells, together or apart."""
    apart = [part for part in re.split(r"[\s,;|\[\]()'\"]+", line) if part]
    if len(apart) > 1 and all(CELL.fullmatch(part) for part in apart):
        return [part if len(part) == 1 else int(part) for part in apart]
    return list("".join(apart))


def cut(cells: list[str | int], wanted: tuple[int, int], where: str) -> Cells:
    """A row of cells as the grid that is wanted, or as a square."""
    if len(cells) == math.prod(wanted):
        return Cells(*wanted, cells)
    side = math.isqrt(len(cells))
    if side * side != len(cells):
        rows, columns = wanted
        raise UserError(
            f"{where}: {len(cells)} cells, not {rows * columns} ({rows} rows of {columns})"
        )
    return Cells(side, side, cells)
