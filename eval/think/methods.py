"""Several answers to each puzzle from one model: other starts, symmetric images, noise.

Chain 0 is always the model as it is. What chain m draws depends on the seed, m and the puzzle
alone, so more chains or another batch change nothing in those that were there before.

N puzzles, B of them at once, S cells or positions, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from data.task import Task
from eval import disturb
from eval.disturb import seeded
from eval.trajectory import Disturb
from tinyreason.errors import UserError
from tinyreason.puzzle import Rows
from tinyreason.solver import Solver

CHAINS = 4096  # at most: their numbers times `STRIDE` stay in 32 bits


@dataclass
class Setting:
    """What all chains share."""

    solver: Solver
    task: Task
    rows: Rows
    seed: int = 0
    sigma: float = 0.0

    @cached_property
    def begins(self) -> str:
        """How the model starts, see `eval.disturb.begins`."""
        return disturb.begins(self.solver, self.rows, self.task.facts)

    def number(self, chain: int) -> int:
        """That of the random numbers of a chain from 1; 0 is the model's own."""
        return self.seed * CHAINS + chain


def unmoved(answers: np.ndarray) -> np.ndarray:
    """The way back of rows that stayed as they were."""
    return answers


class Chain(NamedTuple):
    """One way through the segments."""

    solver: Solver
    rows: Rows
    disturb: Disturb | None = None
    back: Callable[[np.ndarray], np.ndarray] = unmoved  # (N, S) answers to `rows` -> to the puzzles


# ---- methods


def restarted(setting: Setting, chain: int) -> Chain:
    """From another start: drawn as the model draws it, or, where it is fixed, from a truncated
    normal of deviation 1 in each latent and position. Raises UserError where the puzzle itself is
    the start.
    """
    number = setting.number(chain)
    if setting.begins == "drawn":
        return Chain(replace(setting.solver, start=number), setting.rows)
    return Chain(setting.solver, setting.rows, seeded(disturb.restarted, number))


def imaged(setting: Setting, chain: int) -> Chain:
    """Of a random symmetry of each puzzle; answers are mapped back."""
    rows, task = setting.rows, setting.task
    images = [
        task.image(part(rows, i), np.random.default_rng((setting.seed, chain, i)))
        for i in range(len(rows.inputs))
    ]
    columns = zip(*(image.rows for image in images), strict=True)
    moved = Rows(*(np.concatenate(column) for column in columns))

    def back(answers: np.ndarray) -> np.ndarray:
        mapped = [image.back(answers[i : i + 1]) for i, image in enumerate(images)]
        return np.concatenate(mapped)

    return Chain(setting.solver, moved, back=back)


def disturbed(setting: Setting, chain: int) -> Chain:
    """With Gaussian noise in every latent at the start of every segment, of deviation `sigma` times
    the root mean square of the latent of the puzzle. PTRM, arXiv 2605.19943.
    """
    noise = seeded(disturb.noisy(setting.sigma), setting.number(chain))
    return Chain(setting.solver, setting.rows, noise)


METHODS: dict[str, Callable[[Setting, int], Chain]] = {
    "restarts": restarted,
    "symmetries": imaged,
    "noise": disturbed,
}


def part(rows: Rows, i: int) -> Rows:
    """The puzzle i alone."""
    return Rows(*(field[i : i + 1] for field in rows))


def refuse_method(setting: Setting, method: str) -> None:
    """Raises UserError for what makes no sense for the task or the model."""
    if method == "symmetries" and not setting.task.kinds:
        raise UserError("method=symmetries: no symmetry of these puzzles is known; use noise")
    if method == "restarts" and setting.begins == "puzzle":
        name = f"model.name={setting.solver.model.config.name}"
        raise UserError(f"method=restarts: {name} starts with the puzzle itself; use noise")
