"""The bit patterns behind the Sudoku solver, for every side and box in one code path.

All candidates of a grid are one Python integer: bit `d * S + c` says that cell c may still hold
digit d + 1. What must hold something exactly once is a *house*: a cell its digit; a row, a column,
a box each digit. A house is gathered in two steps: neighbouring candidates form a *mini* (the cells
that a row shares with a box; the same of a column; a few digits of a cell), and minis form the
house. Minis of rows and columns are also where digits lock between line and box.

S cells, row-major.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from tinyreason.rules.sudoku import BOX


class Span(NamedTuple):
    """Some equally distant positions, gathered at the first of them, for all groups of the board at
    once.
    """

    shifts: tuple[int, ...]  # from each further position down to the first
    spread: int  # times the first position = all positions
    heads: int  # the first positions themselves

    @classmethod
    def of(cls, count: int, stride: int, heads: int) -> "Span":
        return cls(tuple(i * stride for i in range(1, count)), spread(count, stride), heads)


def spread(count: int, stride: int) -> int:
    """`count` bits, `stride` apart, from bit 0."""
    return sum(1 << i * stride for i in range(count))


class Board:
    """The patterns of one grid. Shared and never changed: get it from `board`."""

    def __init__(self, box: tuple[int, int]):
        high, wide = self.box = box
        side = high * wide
        cells = side * side
        self.side, self.cells = side, cells
        self.full = (1 << side * cells) - 1
        self.layer = (1 << cells) - 1  # one digit in all cells
        self.column = spread(side, cells)  # all digits in cell 0
        row_minis = self.column * spread(side, side) * spread(high, wide)
        column_minis = self.column * spread(side, 1) * spread(wide, high * side)
        boxes = self.column * spread(wide, high * side) * spread(high, wide)
        self.row_mini = Span.of(wide, 1, row_minis)
        self.row = Span.of(high, wide, self.column * spread(side, side))
        self.row_box = Span.of(high, side, boxes)
        self.column_mini = Span.of(high, side, column_minis)
        # a column of the grid
        self.line = Span.of(wide, high * side, self.column * spread(side, 1))
        self.line_box = Span.of(wide, 1, boxes)
        self.cell_mini = Span.of(wide, cells, self.layer * spread(high, wide * cells))
        self.cell = Span.of(high, wide * cells, self.layer)
        self.row_cells = self.row_mini.spread * self.row.spread
        self.line_cells = self.column_mini.spread * self.line.spread
        self.box_cells = self.row_mini.spread * self.row_box.spread
        self.keep = [self._keep(digit, cell) for digit in range(side) for cell in range(cells)]

    def _keep(self, digit: int, cell: int) -> int:
        """All candidates but those that `digit` in `cell` rules out."""
        gone = self.column << cell
        for other in range(self.cells):
            if any(a == b for a, b in zip(self.houses(cell), self.houses(other), strict=True)):
                gone |= 1 << digit * self.cells + other
        return self.full & ~gone | 1 << digit * self.cells + cell

    def houses(self, cell: int) -> tuple[int, int, int]:
        """The row, column and box of a cell."""
        (row, column), (high, wide) = divmod(cell, self.side), self.box
        return row, column, row // high * high + column // wide

    def place(self, bits: Sequence[int]) -> tuple[int, int]:
        """(candidates, fixed) after placing the candidates numbered `bits` on an empty board."""
        x, fixed = self.full, 0
        for bit in bits:
            x &= self.keep[bit]
            fixed |= 1 << bit
        return x, fixed

    def bits(self, grid: str | Sequence[int]) -> list[int]:
        """The candidate numbers of a grid's givens. ValueError if it is no grid of this side."""
        digits = [0 if value == "." else int(value) for value in grid]
        if len(digits) != self.cells or not all(0 <= digit <= self.side for digit in digits):
            raise ValueError(
                f"not a grid of {self.cells} cells with digits up to {self.side}: {grid!r}"
            )
        return [(digit - 1) * self.cells + cell for cell, digit in enumerate(digits) if digit]

    def digits(self, x: int) -> tuple[int, ...]:
        """The digits of a solved board."""
        digits = [0] * self.cells
        while x:
            low = x & -x
            digit, cell = divmod(low.bit_length() - 1, self.cells)
            digits[cell] = digit + 1
            x ^= low
        return tuple(digits)


@cache
def board(side: int, box: tuple[int, int] | None = None) -> Board:
    """The board of a side, with the usual boxes or others (rows, columns)."""
    return Board(box or BOX[side])
