"""What a depth rule is, and the plainest: always what the model states.

Rules count whole states: recursions, or cycles where the model has cycles.

B slots.
"""

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyreason.errors import UserError
from tinyreason.gradient import GRADIENTS, Gradient
from tinyreason.noise import seed_of
from tinyreason.options import Options
from tinyreason.recursion import Depth

STEP_SEED = 514_229  # of Huginn's own code, plus the step: so its published draws are repeated
SECOND_SEED = 317_811  # of its second generator, plus the step


@dataclass
class DepthConfig(Options):
    """The depth axis of a run; the values stand in `conf/depth/*.yaml`."""

    name: str  # in DEPTHS


class DepthRule(ABC):
    """Abstract. The depth of each training step."""

    Config: type[DepthConfig] = DepthConfig
    drawn = True  # at random; else it is a function of the step alone, and of all slots alike

    def __init__(self, config: DepthConfig, recursions: int, gradient: Gradient, steps: int):
        """`recursions`: what the model states. `gradient` says how many of them are tracked.
        `steps`: of the whole run. Raises UserError for a gradient that does not go with the rule.
        """
        self.config = config
        self.recursions = recursions
        self.gradient = gradient
        self.steps = steps
        self.unit = gradient.cycle or 1  # recursions
        self.units = recursions // self.unit
        # of those, how many the gradient scheme tracks or begins to track
        self.window = math.ceil(gradient.tracked(recursions) / self.unit)
        self.check_gradient()

    def depth(self, total: int) -> Depth:
        """Of so many recursions."""
        return stated(total, self.gradient)

    @property
    def full(self) -> Depth:
        """Of an evaluation."""
        return self.depth(self.recursions)

    @property
    def whole_gradient(self) -> bool:
        """Every recursion carries gradient, in any step of a run."""
        return self.full.tracked == self.full.total

    @abstractmethod
    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        """Of training step number `step`, from 0, for so many slots; `generator` is that step's, on
        the CPU.
        """

    def check_gradient(self) -> None:  # noqa: B027, most rules go with every scheme
        """Raises UserError for a gradient scheme that does not go with the rule."""

    def needs_plain_gradient(self) -> None:
        """Raises UserError unless recursions are unrolled one by one."""
        if self.gradient.plain:
            return
        plain = ", ".join(name for name, scheme in GRADIENTS.items() if scheme.plain)
        name = self.config.name
        given = self.gradient.config.name
        raise UserError(f"depth={name} does not go with gradient={given}; use one of {plain}")


class Fixed(DepthRule):
    """Always what the model states."""

    drawn = False

    def draw(self, step: int, slots: int, generator: torch.Generator) -> Depth:
        return self.full


def stated(recursions: int, gradient: Gradient) -> Depth:
    """That many recursions, tracked as the gradient scheme says: what an evaluation takes,
    whatever the rule of the training was.
    """
    return Depth(recursions, gradient.tracked(recursions))


def unlimited(gradient: Gradient) -> bool:
    """The scheme tracks all recursions, however many there are."""
    return gradient.tracked(sys.maxsize) == sys.maxsize


def of_rows(free: Tensor, tracked: Tensor) -> Depth:
    """Each row its own: `free` and `tracked` (B) int recursions.

    The free recursions are as many as the row with most of them needs, then so are the tracked
    ones; a row moves in the first ones of either part and then stands still.
    """
    most_free, most_tracked = int(free.max()), int(tracked.max())
    free_live = torch.arange(most_free)[:, None] < free
    tracked_live = torch.arange(most_tracked)[:, None] < tracked
    live = torch.cat((free_live, tracked_live))
    return Depth(most_free + most_tracked, most_tracked, live)


def generator_of(seed: int, step: int) -> torch.Generator:
    """The generator of a step, on the CPU: a function of its arguments, so there is nothing to
    save.
    """
    return torch.Generator().manual_seed(seed_of(seed, STEP_SEED + step))


def second(generator: torch.Generator) -> torch.Generator:
    """The other generator of the same seed and step."""
    seed = generator.initial_seed() - STEP_SEED + SECOND_SEED
    return torch.Generator().manual_seed(seed % (1 << 63))
