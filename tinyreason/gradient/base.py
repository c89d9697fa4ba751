"""What a gradient scheme is: through how many of the last recursions, or how, it flows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from tinyreason.noise import Noise
from tinyreason.options import Options
from tinyreason.recursion import Depth, Recur, State, unroll


@dataclass
class GradientConfig(Options):
    """The gradient axis of a run; the values stand in `conf/gradient/*.yaml`."""

    name: str  # in GRADIENTS


class Gradient(ABC):
    """Abstract. How many recursions carry gradient, and how the states of those come about."""

    Config: type[GradientConfig] = GradientConfig
    plain = True  # the states are those of `unroll`
    twice = False  # its losses hold a gradient, of which the gradient is taken
    static = False  # nothing ends where numbers say so: to count what it costs

    def __init__(self, config: GradientConfig, cycle: int | None):
        """`cycle`: recursions between two whole states, as L_cycles of TRM; None where each of them
        is one.
        """
        self.config = config
        self.cycle = cycle

    @abstractmethod
    def tracked(self, total: int) -> int:
        """How many of `total` recursions carry gradient."""

    def states(self, recur: Recur, state: State, x: Tensor, depth: Depth) -> Iterator[State]:
        """The states after each tracked recursion, one at a time."""
        return unroll(recur, state, x, depth)

    def penalties(
        self, recur: Recur, state: State, x: Tensor, depth: Depth, noise: Noise
    ) -> dict[str, Tensor]:
        """Losses of the scheme's own at the last state of a training segment, by name, weighted:
        (B,) each.
        """
        return {}
