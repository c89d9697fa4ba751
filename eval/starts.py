"""Several random starts for each puzzle, of which the one that settled best answers.

Source: EqR, arXiv 2605.21488: the start with the smallest mean over the last three changes, from
segment to segment, of the logits.

N puzzles, M starts.
"""

from dataclasses import fields, replace

import numpy as np

from tinyreason.errors import UserError
from tinyreason.noise import NoNoise, StepNoise
from tinyreason.puzzle import Batch, Facts, Rows
from tinyreason.solver import Attempt, Solver

CHANGES = 3  # the last ones


def best_of(solver: Solver, rows: Rows, facts: Facts, starts: int) -> tuple[Attempt, np.ndarray]:
    """The attempt that moved least in the end, puzzle by puzzle, and (M, N) bool: which of all were
    exact. Raises UserError where starts do not differ, or nothing moves.
    """
    if solver.segments < 2:
        raise UserError("starts= compares how segments change; use segments=2 or more")
    refuse_fixed(solver, rows, facts)
    attempts = [replace(solver, start=start)(rows, facts) for start in range(starts)]
    left = np.stack([one.moved[:, 1:][:, -CHANGES:].mean(1) for one in attempts])
    return chosen(attempts, left.argmin(0)), np.stack([one.exact[:, -1] for one in attempts])


def chosen(attempts: list[Attempt], which: np.ndarray) -> Attempt:
    """Of each puzzle the attempt `which` (N,)."""
    columns = {}
    for field in fields(Attempt):
        stacked = np.stack([getattr(one, field.name) for one in attempts])
        columns[field.name] = stacked[which, np.arange(len(which))]
    return Attempt(**columns)


def refuse_fixed(solver: Solver, rows: Rows, facts: Facts) -> None:
    """Raises UserError for a model that draws no start."""
    batch = Batch.of(Rows(*(field[:1] for field in rows)), facts, solver.device)
    x = solver.model.encode(batch)
    drawn = StepNoise(0, 0, 1, slice(None), solver.device)
    pairs = zip(solver.model.start(x, drawn), solver.model.start(x, NoNoise()), strict=True)
    if all((a == b).all() for a, b in pairs):
        name = solver.model.config.name
        raise UserError(f"model.name={name} starts every puzzle alike; leave starts= out")
