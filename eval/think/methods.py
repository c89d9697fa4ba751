"""Several answers to each puzzle from one model: other starts, symmetric images, noise.

Chain 0 is always the model as it is. What chain m draws depends on the seed, m and the puzzle
alone, so more chains or another batch change nothing in those that were there before.

N puzzles, B of them at once, S cells or positions, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.task import Task
from eval.trajectory import Disturb
from tinyreason.errors import UserError
from tinyreason.layers import CUT_DEVIATION
from tinyreason.noise import Noise, NoNoise, PuzzleNoise
from tinyreason.puzzle import Batch, Rows
from tinyreason.solver import Solver

CHAINS = 4096  # at most: their numbers times `STRIDE` stay in 32 bits
CUT = 2  # deviations of the uncut normal, as where fixed starts were drawn


@dataclass
class Setting:
    """What all chains share."""

    solver: Solver
    task: Task
    rows: Rows
    seed: int = 0
    sigma: float = 0.0

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
    if begins(setting) == "drawn":
        return Chain(replace(setting.solver, start=number), setting.rows)

    def disturb(state: NamedTuple, k: int, noise: Noise) -> NamedTuple:
        return changed(state, drawn, noise.at(number)) if k == 0 else state

    return Chain(setting.solver, setting.rows, disturb)


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
    number = setting.number(chain)

    def shaken(z: Tensor, noise: Noise) -> Tensor:
        size = z.float().square().flatten(1).mean(1).sqrt()
        size = size.view(-1, *[1] * (z.ndim - 1)).to(z.dtype)
        return z + setting.sigma * size * noise.normal(z)

    def disturb(state: NamedTuple, k: int, noise: Noise) -> NamedTuple:
        return changed(state, shaken, noise.at(number))

    return Chain(setting.solver, setting.rows, disturb)


METHODS: dict[str, Callable[[Setting, int], Chain]] = {
    "restarts": restarted,
    "symmetries": imaged,
    "noise": disturbed,
}


def drawn(z: Tensor, noise: Noise) -> Tensor:
    """A start like the fixed vectors, but another at each position."""
    return noise.truncated_normal(z, 1 / CUT_DEVIATION, CUT)


def changed(
    state: NamedTuple, change: Callable[[Tensor, Noise], Tensor], noise: Noise
) -> NamedTuple:
    """The state with `change` applied to its latents, (B ... S D); what a model counts beside them
    stays as it is.
    """
    return type(state)(
        *(change(z, noise) if z.is_floating_point() and z.ndim > 2 else z for z in state)
    )


@torch.no_grad()
def begins(setting: Setting) -> str:
    """How a model starts: "drawn", "fixed" or with the "puzzle" itself."""
    solver = setting.solver
    solver.model.eval()
    batch = Batch.of(part(setting.rows, 0), setting.task.facts, solver.device)
    x = solver.model.encode(batch)
    plain = solver.model.start(x, NoNoise())
    if differ(plain, solver.model.start(x, PuzzleNoise([0], [0]))):
        return "drawn"
    return "puzzle" if differ(plain, solver.model.start(x + 1, NoNoise())) else "fixed"


def differ(one: NamedTuple, other: NamedTuple) -> bool:
    """In any latent."""
    return any((a != b).any().item() for a, b in zip(one, other, strict=True))


def part(rows: Rows, i: int) -> Rows:
    """The puzzle i alone."""
    return Rows(*(field[i : i + 1] for field in rows))


def refuse_method(setting: Setting, method: str) -> None:
    """Raises UserError for what makes no sense for the task or the model."""
    if method == "symmetries" and not setting.task.kinds:
        raise UserError("method=symmetries: no symmetry of these puzzles is known; use noise")
    if method == "restarts" and begins(setting) == "puzzle":
        name = f"model.name={setting.solver.model.config.name}"
        raise UserError(f"method=restarts: {name} starts with the puzzle itself; use noise")
