"""Depths drawn at random, one for all slots of a step.

Sources: Huginn, arXiv 2502.05171, its code's sampling schemes; deep thinking, arXiv 2202.05826.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyreason.depth.base import DepthConfig, DepthRule, second, unlimited
from tinyreason.errors import UserError
from tinyreason.gradient import Last
from tinyreason.options import option
from tinyreason.recursion import Depth


@dataclass
class RampedConfig(DepthConfig):
    """Of the rules whose means can begin small."""

    # steps in which the means grow to what they shall be; 0: they are that from the start
    ramp: int = option(least=0)


class Ramped(DepthRule):
    """Abstract. Draws around a mean number of free states and a number of tracked ones, both of
    which grow in the first `ramp` steps.
    """

    Config = RampedConfig
    config: RampedConfig

    def progress(self, step: int) -> float:
        """Along the ramp, 0 to 1."""
        return step / self.config.ramp if step < self.config.ramp else 1.0

    def means(self, step: int) -> tuple[int, int]:
        """Free and tracked, in units, at a step."""
        share = self.progress(step)
        return self.free_at(share), self.tracked_at(share)

    def free_at(self, share: float) -> int:
        return math.ceil(share * (self.units - self.window))

    def tracked_at(self, share: float) -> int:
        return max(math.ceil(share * self.window), 1)

    def tracked(self, units: int, window: int) -> int:
        """Recursions that are tracked of so many units, when `window` of them should be; all, if
        the gradient scheme knows no limit.
        """
        found = self.gradient.tracked(units * self.unit)
        limits = not unlimited(self.gradient)
        return min(found, window * self.unit) if limits and window < self.window else found

    def limited(self, units: int, window: int) -> Depth:
        """Of so many units, when `window` of them should be tracked."""
        return Depth(units * self.unit, self.tracked(units, window))


@dataclass
class PoissonConfig(RampedConfig):
    """Of `Poisson` and `PoissonFill`."""

    sigma: float = option(least=0)  # deviation of the logarithm of the rate; 0: a plain Poisson law


class Poisson(Ramped):
    """1 + Poisson(rate), log rate ~ N(log r - sigma^2 / 2, sigma^2), so the mean is r + 1, r what
    the model states.

    Source: Huginn, sigma 1/2 ("poisson-lognormal-filling"): a long tail, and many steps of few
    recursions. Of a model with cycles, whole cycles are drawn.
    """

    Config = PoissonConfig
    config: PoissonConfig

    def rate(self, step: int, generator: torch.Generator) -> Tensor:
        """(1,) what the Poisson law of a step has for its mean."""
        return drawn_rate(sum(self.means(step)), self.config.sigma, generator)

    @property
    def whole_gradient(self) -> bool:
        return unlimited(self.gradient)

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        units = 1 + int(torch.poisson(self.rate(step, generator), generator=generator))
        return self.limited(units, self.means(step)[1])


class PoissonFill(Ramped):
    """Poisson(rate) free, and as many tracked as the gradient scheme says: the mean is what the
    model states.

    Source: Huginn's "poisson-fill", and with a sigma "poisson-lognormal-fill".
    """

    Config = PoissonConfig
    config: PoissonConfig

    def rate(self, step: int, generator: torch.Generator) -> Tensor:
        """(1,) what the Poisson law of a step has for its mean."""
        return drawn_rate(self.means(step)[0], self.config.sigma, generator)

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        free = int(torch.poisson(self.rate(step, generator), generator=generator))
        window = self.means(step)[1]
        return self.limited(free + window, window)


class Simple(Ramped):
    """Free ~ U{0 .. 2(r - k) - 1} and tracked ~ U{1 .. 2k}, r what the model states and k what
    `gradient=last` says.

    Source: Huginn's "simple".
    """

    def check_gradient(self) -> None:
        if not isinstance(self.gradient, Last):
            draws = "depth=simple draws how many recursions are tracked, around those of"
            raise UserError(f"{draws} gradient=last; use gradient=last gradient.recursions=N")

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        free, window = self.means(step)
        before = below(2 * free, generator) if free else 0
        tracked = 1 + below(2 * window, second(generator))
        return Depth((before + tracked) * self.unit, tracked * self.unit)


class Uniform(DepthRule):
    """Free n ~ U{0 .. m - 1}, then k ~ U{1 .. m - n}, m what the model states; of the k, the
    gradient scheme tracks as many as it would of a segment of that length.

    Source: deep thinking's progressive training, which tracks all k (`gradient=bptt`).
    """

    @property
    def whole_gradient(self) -> bool:
        return self.units == 1 and super().whole_gradient

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        free = below(self.units, generator)
        last = 1 + below(self.units - free, generator)
        return Depth((free + last) * self.unit, self.gradient.tracked(last * self.unit))


def drawn_rate(mean: float, sigma: float, generator: torch.Generator) -> Tensor:
    """(1,) log-normal of that mean, `sigma` the deviation of the logarithm."""
    rate = torch.tensor([float(mean)])
    if sigma and mean:
        rate.log_normal_(math.log(mean) - sigma**2 / 2, sigma, generator=generator)
    return rate


def below(bound: int, generator: torch.Generator) -> int:
    """Uniform among 0 .. bound - 1."""
    return int(torch.randint(bound, (1,), generator=generator))
