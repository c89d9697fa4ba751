"""A depth for each row of the batch.

Source: Parcae, arXiv 2604.12946: fewer spikes of the loss than with one depth for the whole batch.

B slots.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyreason.depth.base import of_rows, unlimited
from tinyreason.depth.drawn import Ramped, RampedConfig
from tinyreason.errors import UserError
from tinyreason.options import option
from tinyreason.recursion import Depth


def poisson(free: int, window: int, slots: int, generator: torch.Generator) -> Tensor:
    """At least 1, around all of them."""
    return plain_poisson(free + window, slots, generator).clamp(min=1)


def fill(free: int, window: int, slots: int, generator: torch.Generator) -> Tensor:
    """The free ones are drawn."""
    return plain_poisson(free, slots, generator) + window


def fixed(free: int, window: int, slots: int, generator: torch.Generator) -> Tensor:
    """Nothing is drawn; for a ramp without chance."""
    return torch.full((slots,), free + window)


# (mean free, tracked, slots, generator) -> (B,) int, the totals
LAWS: dict[str, Callable[[int, int, int, torch.Generator], Tensor]] = {
    "poisson": poisson,
    "fill": fill,
    "fixed": fixed,
}
SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda share: share,
    "sqrt": lambda share: 1 - math.sqrt(1 - share),  # slow at first
}


@dataclass
class PerRowConfig(RampedConfig):
    """Of `PerRow`."""

    law: str = option(choices=tuple(LAWS))  # of the totals
    ramp_shape: str = option(choices=tuple(SHAPES))
    ramp_of: str = option(choices=("free", "tracked", "both"))  # means that the ramp makes small


class PerRow(Ramped):
    """A total for each row, drawn around what the model states; the gradient scheme says how many
    of them are tracked.

    With `gradient=last` and the law `poisson` that is Parcae's scheme ("poisson-truncated-full"),
    with `gradient=bptt` its "poisson-full". Both parts of a segment are as long as their longest
    row. Each recursion is told its number in the segment, which for a row that has stood still is
    higher than the count of its own.
    """

    Config = PerRowConfig
    config: PerRowConfig

    def check_gradient(self) -> None:
        self.needs_plain_gradient()
        if self.config.ramp and self.config.ramp_of == "free" and self.window == self.units:
            grows = "depth.ramp_of=free has nothing to grow where every recursion is tracked"
            raise UserError(f"{grows}; use depth.ramp_of=both")
        tracked = self.gradient.tracked(self.recursions)
        if tracked > self.unit and tracked % self.unit:
            asked = f"gradient.recursions={tracked} with depth={self.config.name}"
            raise UserError(f"{asked} must be whole cycles; use a multiple of {self.unit}, or less")

    def progress(self, step: int) -> float:
        return SHAPES[self.config.ramp_shape](super().progress(step))

    def means(self, step: int) -> tuple[int, int]:
        share, ramped = self.progress(step), self.config.ramp_of
        free = self.free_at(1.0 if ramped == "tracked" else share)
        window = self.tracked_at(1.0 if ramped == "free" else share)
        return free, window

    @property
    def whole_gradient(self) -> bool:
        return unlimited(self.gradient)

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        free, window = self.means(step)
        units = LAWS[self.config.law](free, window, slots, generator)
        tracked = torch.tensor([self.tracked(n, window) for n in units.tolist()])
        return of_rows(units * self.unit - tracked, tracked)


def plain_poisson(mean: int, slots: int, generator: torch.Generator) -> Tensor:
    """(B,) int."""
    return torch.poisson(torch.full((slots,), float(mean)), generator=generator).long()
