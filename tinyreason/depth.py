"""How many recursions a segment has.

A model states the number that it was published with; a depth rule follows it or draws anew for each
step. Evaluation takes the stated number always.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from tinyreason.gradient import Gradient
from tinyreason.noise import seed_of
from tinyreason.options import Options, chosen, option
from tinyreason.recursion import Depth

STEP_SEED = 514_229  # of Huginn's own code, plus the step: so its published draws are repeated


@dataclass
class DepthConfig(Options):
    """The depth axis of a run; the values stand in `conf/depth/*.yaml`."""

    name: str  # in DEPTHS


class DepthRule(ABC):
    """Abstract. The depth of each training step."""

    Config: type[DepthConfig] = DepthConfig

    def __init__(self, config: DepthConfig, recursions: int, gradient: Gradient):
        """`recursions`: what the model states. `gradient` says how many of them are tracked."""
        self.config = config
        self.recursions = recursions
        self.gradient = gradient

    def depth(self, total: int) -> Depth:
        """Of so many recursions."""
        return Depth(total, self.gradient.tracked(total))

    @property
    def full(self) -> Depth:
        """Of an evaluation."""
        return self.depth(self.recursions)

    @abstractmethod
    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        """Of training step number `step`, from 0; `generator` is that step's, on the CPU."""


class Fixed(DepthRule):
    """Always what the model states."""

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        return self.full


@dataclass
class PoissonConfig(DepthConfig):
    """Of `Poisson`."""

    sigma: float = option(least=0)  # deviation of the logarithm of the rate; 0: a plain Poisson law


class Poisson(DepthRule):
    """1 + Poisson(rate), log rate ~ N(log r - sigma^2 / 2, sigma^2), so the mean is r + 1, r what
    the model states.

    Source: Huginn, arXiv 2502.05171, sigma 1/2: a long tail, and many steps of few recursions. Of a
    model with cycles, whole cycles are drawn.
    """

    Config = PoissonConfig

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        unit = self.gradient.cycle or 1
        rate = torch.tensor([self.recursions / unit])
        if self.config.sigma:
            location = math.log(self.recursions / unit) - self.config.sigma**2 / 2
            rate.log_normal_(location, self.config.sigma, generator=generator)
        return self.depth(unit * (1 + int(torch.poisson(rate, generator=generator))))


DEPTHS: dict[str, type[DepthRule]] = {"fixed": Fixed, "poisson": Poisson}


def make_depth(config: DepthConfig, recursions: int, gradient: Gradient) -> DepthRule:
    """The rule of the name in `depth.name`. Raises UserError if there is none."""
    return chosen(DEPTHS, "depth.name", config.name)(config, recursions, gradient)


def generator_of(seed: int, step: int) -> torch.Generator:
    """The generator of a step, on the CPU: a function of its arguments, so there is nothing to
    save.
    """
    return torch.Generator().manual_seed(seed_of(seed, STEP_SEED + step))
