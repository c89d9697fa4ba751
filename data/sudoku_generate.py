"""Sudoku puzzles from nothing: a random full grid, then clues taken away in random order while one
solution remains.

Seeded, integer draws only, no order of a set or dict anywhere: the same seed gives the same puzzles
on any machine. Grids come from randomised solving (every cell tries the digits in an order of its
own), not from the symmetries of one.

S cells, row-major; grids are tuples of S integers, 0 for a blank.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data import sudoku_symmetry
from data.sudoku_board import Board, board
from data.sudoku_solve import UndecidedError, search, solve
from data.workers import Spread
from tinyreason.errors import UserError

FEWEST_CLUES = {
    4: 4,
    6: 8,
    9: 17,
}  # side -> fewer givens never leave one solution (9: McGuire et al. 2012)
CHUNK = 32  # attempts between two looks at the keys; what is made does not depend on it
MOST_ATTEMPTS = 2000  # attempts without a new puzzle before generation gives up

Grid = tuple[int, ...]


class Drawn(NamedTuple):
    """All that is random in one attempt, so that any process may make it."""

    order: np.ndarray  # (S, side): the digits of each cell, as they are tried
    cells: np.ndarray  # (S,): as their givens are taken away


class Attempts(NamedTuple):
    """Some attempts at puzzles of a kind."""

    side: int
    clues: int | None
    min_guesses: int
    drawn: list[Drawn]


class Made(NamedTuple):
    """A puzzle with exactly one solution, and that solution."""

    puzzle: Grid
    answer: Grid


def distinct(
    side: int,
    count: int,
    clues: int | None,
    min_guesses: int,
    rng: np.random.Generator,
    seen: set[int],
    spread: Spread = map,
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels (count, S) uint8, tokens, of puzzles not symmetric to each other nor to
    those in `seen`.

    `seen` holds the keys of `sudoku_symmetry.key` and grows. `spread` shares the work. UserError
    where MOST_ATTEMPTS attempts bring nothing new.
    """
    new, idle = [], 0
    tried = iter(spread(puzzles_of, attempts(side, clues, min_guesses, rng)))
    with tqdm(
        total=count, desc=f"generating {side}x{side}", unit="puzzle", disable=None, leave=False
    ) as bar:
        while len(new) < count:
            if idle >= MOST_ATTEMPTS:
                raise UserError(_exhausted(side, count, clues, min_guesses, len(new), len(seen)))
            found = next(tried)
            before = len(new)
            _add(new, found, count, side, seen)
            idle = 0 if len(new) > before else idle + CHUNK
            bar.update(len(new) - before)
    tokens = np.array(new, np.uint8).reshape(count, 2, side * side) + np.uint8(1)
    return tokens[:, 0].copy(), tokens[:, 1].copy()


def attempts(
    side: int, clues: int | None, min_guesses: int, rng: np.random.Generator
) -> Iterator[Attempts]:
    """CHUNK at a time, without end."""
    while True:
        drawn = [draw(side, rng) for _ in range(CHUNK)]
        yield Attempts(side, clues, min_guesses, drawn)


def draw(side: int, rng: np.random.Generator) -> Drawn:
    """One attempt's."""
    cells = board(side).cells
    order = rng.permuted(np.tile(np.arange(side), (cells, 1)), axis=1)
    return Drawn(order, rng.permutation(cells))


def puzzles_of(given: Attempts) -> list[Made]:
    """Of the attempts that did not fail, in order."""
    tried = (make(given.side, given.clues, given.min_guesses, drawn) for drawn in given.drawn)
    return [made for made in tried if made]


def _add(new: list[Made], found: list[Made], count: int, side: int, seen: set[int]) -> None:
    """Move what is found to `new`, up to `count`, where its key is not yet in `seen`."""
    tokens = np.array(found, np.uint8).reshape(len(found), 2, side * side) + np.uint8(1)
    for made, key in zip(
        found, sudoku_symmetry.key(tokens[:, 0], tokens[:, 1], side).tolist(), strict=True
    ):
        if len(new) < count and key not in seen:
            seen.add(key)
            new.append(made)


def _exhausted(
    side: int, count: int, clues: int | None, min_guesses: int, found: int, total: int
) -> str:
    shown = "null" if clues is None else clues
    what = f"task.side={side} task.clues={shown} task.min_guesses={min_guesses}"
    return (
        f"{what}: {count} puzzles wanted, {found} found ({total} "
        f"in all splits), then nothing new in {MOST_ATTEMPTS} "
        "attempts; ask for fewer puzzles, a larger side, another number of clues or fewer guesses"
    )


def full_grid(side: int, order: list[list[int]]) -> Grid:
    """A solved grid, random as the `order` (S, side) in which each cell tries its digits.

    The first row is any permutation: starting from it only saves guesses.
    """
    b = board(side)
    x, fixed = b.place([digit * b.cells + cell for cell, digit in enumerate(order[0])])
    return b.digits(next(search(b, x, fixed, order=order))[0])


def make(side: int, clues: int | None, min_guesses: int, drawn: Drawn) -> Made | None:
    """One attempt at a puzzle: with exactly `clues` givens, or minimal if None (no given can be
    spared).

    None where the attempt failed: it went minimal above `clues`, or its solver needs fewer than
    `min_guesses` guesses.
    """
    b = board(side)
    answer = full_grid(side, drawn.order.tolist())
    try:
        kept = _thin(b, b.bits(answer), drawn.cells.tolist(), clues or 0)
    except UndecidedError:
        return None
    if clues is not None and len(kept) != clues:
        return None
    given = {bit % b.cells for bit in kept}
    puzzle = tuple(digit if cell in given else 0 for cell, digit in enumerate(answer))
    if min_guesses and solve(side, puzzle).guesses < min_guesses:
        return None
    return Made(puzzle, answer)


def _thin(b: Board, bits: list[int], order: list[int], least: int) -> list[int]:
    """The givens left after trying each cell of `order` once; stops at `least` of them."""
    kept = bits
    for cell in order:
        if len(kept) == least:
            break
        rest = [bit for bit in kept if bit % b.cells != cell]
        if not _other(b, rest, bits[cell]):
            kept = rest
    return kept


def _other(b: Board, rest: list[int], bit: int) -> bool:
    """Whether the givens `rest` allow a solution without candidate `bit`, which the known solution
    holds.
    """
    x, fixed = b.place(rest)
    x &= ~(1 << bit)
    if (
        not x >> bit % b.cells & b.column
    ):  # its cell has nothing else: most of the early tests end here
        return False
    return next(search(b, x, fixed), None) is not None
