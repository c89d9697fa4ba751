"""Random numbers for the states that start at random, the same however a batch is cut into parts.

Nothing is saved for them: what is drawn is a function of seed and step in training, and of
puzzle and segment in an evaluation. So a resumed run repeats its draws, micro-batches and
recomputing see those of the whole batch, and an answer does not depend on which puzzles are solved
beside it.

B slots.
"""

from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from tinyreason.device import widest


class Noise(ABC):
    """Abstract."""

    @abstractmethod
    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape, type and device of `like` (B ...), new ones at
        every call.
        """

    @abstractmethod
    def at(self, t: int) -> "Noise":
        """That of recursion `t` of the segment: the same numbers however often it is computed."""

    def truncated_normal(self, like: Tensor, std: float, cut: float) -> Tensor:
        """Normal numbers of deviation `std` before all beyond `cut` deviations are drawn again, by
        inversion.
        """
        drawn = self.normal(like).to(widest(like.device))
        uniform = 0.5 * torch.erfc(-drawn / 2**0.5)
        low = 0.5 * torch.erfc(torch.tensor(cut / 2**0.5, dtype=torch.float64)).to(drawn)
        inside = low + (1 - 2 * low) * uniform
        return (
            (std * 2**0.5 * torch.erfinv(2 * inside - 1))
            .clamp(-cut * std, cut * std)
            .to(like.dtype)
        )


class StepNoise(Noise):
    """That of one training step, for some `rows` of its `slots`."""

    def __init__(self, seed: int, step: int, slots: int, rows: slice, device: torch.device):
        self.seed, self.slots = seed_of(seed, step), slots
        self.rows, self.device = rows, device

    def at(self, t: int) -> "StepNoise":
        return StepNoise(self.seed, t + 1, self.slots, self.rows, self.device)

    @cached_property
    def generator(self) -> torch.Generator:
        """Made only for models that draw."""
        return torch.Generator(self.device).manual_seed(self.seed)

    def normal(self, like: Tensor) -> Tensor:
        shape = (self.slots, *like.shape[1:])
        drawn = torch.randn(shape, generator=self.generator, device=self.device)
        return drawn[self.rows].to(like.dtype)


class PuzzleNoise(Noise):
    """That of puzzles by their number, wherever and beside whatever they are solved."""

    def __init__(self, segments: list[int], numbers: list[int]):
        """`segments` that each puzzle has had, and its number."""
        pairs = zip(segments, numbers, strict=True)
        self.seeds = [seed_of(segment, number) for segment, number in pairs]

    def at(self, t: int) -> "PuzzleNoise":
        return PuzzleNoise(self.seeds, [t + 1] * len(self.seeds))

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """One for each puzzle; made only for models that draw."""
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def normal(self, like: Tensor) -> Tensor:
        drawn = [torch.randn(like.shape[1:], generator=one) for one in self.generators]
        return torch.stack(drawn).to(like.device, like.dtype)


class NoNoise(Noise):
    """Zeros, where only shapes matter."""

    def normal(self, like: Tensor) -> Tensor:
        return torch.zeros_like(like)

    def at(self, t: int) -> "NoNoise":
        return self


def seed_of(seed: int, number: int) -> int:
    """A generator's seed from two numbers: a run's and a step, or a segment and a puzzle.

    Seeds differ in their low 32 bits, which are all that a generator on the CPU looks at.
    """
    return (seed * 0x9E3779B97F4A7C15 + number) % (1 << 63)
