"""Sudoku puzzles from nothing: a random full grid, then clues taken away in random order while one solution remains.

Seeded, integer draws only, no order of a set or dict anywhere: the same seed gives the same puzzles on any machine.
Grids come from randomised solving (every cell tries the digits in an order of its own), not from the symmetries of one.

S cells, row-major; grids are tuples of S integers, 0 for a blank.
"""

from typing import NamedTuple

import numpy as np

from data.sudoku_board import Board, board
from data.sudoku_solve import UndecidedError, search, solve

Grid = tuple[int, ...]


class Made(NamedTuple):
    """A puzzle with exactly one solution, and that solution."""

    puzzle: Grid
    answer: Grid


def full_grid(side: int, rng: np.random.Generator) -> Grid:
    """A random solved grid."""
    b = board(side)
    order = rng.permuted(np.tile(np.arange(side), (b.cells, 1)), axis=1).tolist()
    x, _ = next(search(b, b.full, 0, order=order))
    return b.digits(x)


def make(side: int, clues: int | None, min_guesses: int, rng: np.random.Generator) -> Made | None:
    """One attempt at a puzzle: with exactly `clues` givens, or minimal if None (no given can be spared).

    None where the attempt failed: it went minimal above `clues`, or its solver needs fewer than `min_guesses` guesses.
    """
    b = board(side)
    answer = full_grid(side, rng)
    try:
        kept = _thin(b, b.bits(answer), rng.permutation(b.cells).tolist(), clues or 0)
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
    """Whether the givens `rest` allow a solution without candidate `bit`, which the known solution holds."""
    x, fixed = b.place(rest)
    return next(search(b, x & ~(1 << bit), fixed), None) is not None
