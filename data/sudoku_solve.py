"""A Sudoku solver in plain Python: singles and locked candidates, then guesses, with a cap on the
work.

- One pass of shifts over one big integer (see `data/sudoku_board.py`) finds the naked and the
  hidden singles of all houses at once, so plain Python solves more than a thousand 17-clue puzzles
  a second.
- Own code, because difficulty is counted in *its* guesses and generation asks what no library
  answers quickly: "is there a solution whose cell c is not d?". python-sat is the independent
  oracle in the tests.
- The guess count is not the published rating of sudoku-extreme (that one counts the guesses of the
  tdoku solver), and symmetric puzzles may differ in it: ties between cells go to the first.

S cells, row-major. A grid is a string of S characters ("." or "0" for a blank) or a sequence of S
integers (0 for a blank). `x` is the integer of candidates; `fixed` those of them that were placed
already.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data.sudoku_board import Board, Span, board

# positions looked at before a search is given up; the hardest published puzzles need hundreds
NODE_CAP = 100_000
RATING = (
    "guesses of this project's solver (singles, locked candidates, then the cell of fewest "
    "candidates); not tdoku's"
)


class UndecidedError(Exception):
    """The node cap was reached before the question was answered."""


class Solved(NamedTuple):
    """The first solution met, and how hard it was to reach."""

    answer: tuple[int, ...]  # S digits, 1..side
    # candidates tried where logic gave out; the last candidate of a cell is forced, hence not
    # counted
    guesses: int


def solve(
    side: int,
    puzzle: str | Sequence[int],
    node_cap: int = NODE_CAP,
    box: tuple[int, int] | None = None,
) -> Solved | None:
    """The first solution of `puzzle`, None if it has none.

    UndecidedError at the cap, ValueError for no grid.
    """
    b = board(side, box)
    found = next(search(b, *b.place(b.bits(puzzle)), node_cap), None)
    return found and Solved(b.digits(found[0]), found[1])


def count_solutions(
    side: int, puzzle: str | Sequence[int], limit: int = 2, node_cap: int = NODE_CAP
) -> int | None:
    """How many solutions `puzzle` has, counting no further than `limit`; None if the cap was
    reached first.
    """
    b, found = board(side), 0
    try:
        for _ in search(b, *b.place(b.bits(puzzle)), node_cap):
            found += 1
            if found == limit:
                break
    except UndecidedError:
        return None
    return found


def search(
    b: Board, x: int, fixed: int, node_cap: int = NODE_CAP, order=None
) -> Iterator[tuple[int, int]]:
    """Every solution below (x, fixed) as (candidates, guesses so far), depth first.

    `order[cell]` lists the digits (from 0) in the order in which to try them; ascending if None.
    Raises UndecidedError once more than `node_cap` positions were looked at.
    """
    stack, nodes, guesses = [(x, fixed, 0)], 0, 0
    while stack:
        x, fixed, guess = stack.pop()
        nodes, guesses = nodes + 1, guesses + guess
        if nodes > node_cap:
            raise UndecidedError(f"undecided after {node_cap} positions")
        state = deduce(b, x, fixed)
        if state is None:
            continue
        x, fixed = state
        if x.bit_count() == b.cells:
            yield x, guesses
            continue
        cell = fewest(b, x)
        tries = order[cell] if order is not None else range(b.side)
        bits = [bit for bit in (digit * b.cells + cell for digit in tries) if x >> bit & 1]
        stack += [
            (x & b.keep[bit], fixed | 1 << bit, int(bit != bits[-1])) for bit in reversed(bits)
        ]


def deduce(b: Board, x: int, fixed: int) -> tuple[int, int] | None:
    """(x, fixed) when neither singles nor locked candidates say more; None where a house has no
    candidate left.
    """
    while True:
        state = singles(b, x, fixed)
        if state is None or state[0].bit_count() == b.cells:
            return state
        x, fixed = state
        left = (
            x & ~dead(x, b.row_mini, b.row, b.row_box) & ~dead(x, b.column_mini, b.line, b.line_box)
        )
        if left == x:
            return x, fixed
        x = left


def singles(b: Board, x: int, fixed: int) -> tuple[int, int] | None:
    """(x, fixed) with every naked and hidden single placed; None where a house has no candidate
    left.
    """
    while True:
        minis = fold(x, 0, b.row_mini.shifts)
        row, rows = fold(*minis, b.row.shifts)
        box, boxes = fold(*minis, b.row_box.shifts)
        line, lines = fold(*fold(x, 0, b.column_mini.shifts), b.line.shifts)
        cell, cells = fold(*fold(x, 0, b.cell_mini.shifts), b.cell.shifts)
        if (
            ~cell & b.cell.heads
            or ~row & b.row.heads
            or ~line & b.line.heads
            or ~box & b.row_box.heads
        ):
            return None
        single = (b.cell.heads & ~cells) * b.column | (b.row.heads & ~rows) * b.row_cells
        single |= (b.line.heads & ~lines) * b.line_cells | (b.row_box.heads & ~boxes) * b.box_cells
        new = single & x & ~fixed
        if not new:
            return x, fixed
        fixed |= new
        while new:
            low = new & -new
            x &= b.keep[low.bit_length() - 1]
            new ^= low


def fold(once: int, twice: int, shifts: tuple[int, ...]) -> tuple[int, int]:
    """Counts capped at two (seen once, seen twice) of each position and those `shifts` above it,
    taken together.
    """
    one, two = once, twice
    for shift in shifts:
        other = once >> shift
        two |= one & other | twice >> shift
        one |= other
    return one, two


def dead(x: int, mini: Span, line: Span, box: Span) -> int:
    """Candidates ruled out because a digit is locked into the mini of a line and a box."""
    held = fold(x, 0, mini.shifts)[0] & mini.heads
    out = 0
    for here, there in ((line, box), (box, line)):
        locked = (here.heads & ~fold(held, 0, here.shifts)[1]) * here.spread & held
        out |= (there.heads & fold(locked, 0, there.shifts)[0]) * there.spread & held & ~locked
    return out * mini.spread


def fewest(b: Board, x: int) -> int:
    """The first cell among those with the fewest candidates, at least two."""
    once = twice = thrice = 0
    for digit in range(b.side):
        layer = x >> digit * b.cells & b.layer
        thrice |= twice & layer
        twice |= once & layer
        once |= layer
    pairs = twice & ~thrice
    if pairs:
        return (pairs & -pairs).bit_length() - 1
    counts = [(x >> cell & b.column).bit_count() for cell in range(b.cells)]
    return counts.index(min(count for count in counts if count > 1))
