"""Depths that grow while a run trains: functions of the step, without chance."""

from dataclasses import dataclass
from itertools import pairwise

import torch

from tinyreason.depth.base import DepthConfig, DepthRule
from tinyreason.errors import UserError
from tinyreason.gradient import make_gradient
from tinyreason.options import option
from tinyreason.recursion import Depth

MOST_STAGES = 64


@dataclass
class CurriculumConfig(DepthConfig):
    """Of `Curriculum`."""

    # recursions (cycles of a model with cycles) at the start; None: as many as are tracked
    first: int | None = option(least=1)
    by: int = option(least=1)  # so many more
    every: int = option(least=1)  # steps


class Curriculum(DepthRule):
    """`by` more every so many steps, up to what the model states.

    Source: Yang et al., looped transformers, arXiv 2311.12424: from the tracked window T on, 2 more
    every 500 steps.
    """

    Config = CurriculumConfig
    config: CurriculumConfig
    drawn = False

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        first = self.config.first or self.window
        grown = first + self.config.by * (step // self.config.every)
        return self.depth(min(grown, self.units) * self.unit)


@dataclass
class StagesConfig(DepthConfig):
    """Of `Stages` and `Cgar`."""

    begins: list[float]  # of each stage, shares of the run's steps
    shares: list[float]  # of what the model states, stage by stage

    def check_together(self, prefix: str) -> None:
        begins, shares = self.begins, self.shares
        for name, numbers in (("begins", begins), ("shares", shares)):
            if not all(isinstance(n, int | float) for n in numbers):
                raise UserError(f"{prefix}{name}={numbers} must be numbers, one for each stage")
        if not 1 <= len(begins) == len(shares) <= MOST_STAGES:
            told = f"{prefix}begins and {prefix}shares must have one number for each stage"
            raise UserError(f"{told}, {MOST_STAGES} at most")
        rising = all(one < after for one, after in pairwise([*begins, 1]))
        if begins[0] != 0 or not rising:
            raise UserError(f"{prefix}begins={begins} must rise from 0 and stay below 1")
        if not all(0 < share <= 1 for share in shares):
            raise UserError(f"{prefix}shares={shares} must each be above 0 and at most 1")


class Stages(DepthRule):
    """A share of what the model states, the next one from a given share of the run on: a schedule
    of the number of recursions, or of whole cycles.
    """

    Config = StagesConfig
    config: StagesConfig
    drawn = False

    def share(self, step: int) -> float:
        """Of the stage that a step is in."""
        progress = step / self.steps
        stage = max(i for i, begin in enumerate(self.config.begins) if begin <= progress)
        return self.config.shares[stage]

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        return self.depth(scaled(self.share(step), self.units) * self.unit)


class Cgar(Stages):
    """The same, of both the number of cycles and their length: the last recursions of each of the
    last cycles are run. A model without cycles has its recursions alone.

    Source: curriculum-guided adaptive recursion, arXiv 2511.08653, its progressive depth: TRM with
    (n, T) = (2, 1) for the first 30 % of the run, (4, 2) up to 60 %, then (6, 3). Where a gradient
    scheme looks for a fixed point of whole cycles, these keep their length.
    """

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        if not self.gradient.plain:
            return super().draw(step, slots, generator)
        share = self.share(step)
        length, count = scaled(share, self.unit), scaled(share, self.units)
        if self.gradient.cycle is None or length == self.unit:
            return self.depth(count * self.unit)
        cycles = range(self.units - count, self.units)
        kept = range(self.unit - length, self.unit)
        numbers = tuple(cycle * self.unit + t for cycle in cycles for t in kept)
        gradient = make_gradient(self.gradient.config, length)  # that of a model of such cycles
        return Depth(len(numbers), gradient.tracked(len(numbers)), numbers=numbers)


def scaled(share: float, whole: int) -> int:
    """The nearest number, at least 1."""
    return max(1, round(share * whole))
