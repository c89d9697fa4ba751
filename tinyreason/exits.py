"""When an evaluation may leave the recursion: criteria that look at each whole recursion.

Every cell has a value; a puzzle leaves by that of all its cells (`pool`). Sources: Huginn, arXiv
2502.05171, and its code (the convergence criteria); Ouro, arXiv 2510.25741 (gate); deep thinking,
arXiv 2202.05826 (confidence).

B batch, S cells, D width, V vocabulary.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyreason.errors import UserError
from tinyreason.halting import Halting
from tinyreason.models.base import Read
from tinyreason.options import chosen

POOLS = ("mean", "worst", "all")
Memory = tuple[Tensor, ...]  # of what was seen before, (B ...) each


class Exit(ABC):
    """Abstract. A criterion."""

    threshold: ClassVar[float]  # as published
    falls = True  # a cell is done below the threshold; else from it on
    again = False  # a later recursion that leaves replaces an earlier one
    needs_gate = False

    def __init__(self, threshold: float | None, pool: str):
        self.limit = self.threshold if threshold is None else threshold
        self.pool = pool

    @abstractmethod
    def begin(self, z: Tensor, vocab: int) -> Memory:
        """Of puzzles whose cells start at z (B S D)."""

    @abstractmethod
    def look(self, memory: Memory, z: Tensor, read: Read) -> tuple[Tensor, Memory]:
        """The value of each cell (B S) after a recursion that came to z (B S D)."""

    def leaves(self, value: Tensor) -> Tensor:
        """(B S) -> (B,) bool."""
        if self.pool == "all":
            return self.done(value).all(-1)
        worst = value.amax(-1) if self.falls else value.amin(-1)
        return self.done(value.mean(-1) if self.pool == "mean" else worst)

    def done(self, value: Tensor) -> Tensor:
        return value < self.limit if self.falls else value >= self.limit


class Entropy(Exit):
    """The entropy of the answer hardly changes."""

    threshold = 1e-3

    def begin(self, z: Tensor, vocab: int) -> Memory:
        return (z.new_full(z.shape[:2], 100.0, dtype=torch.float32),)

    def look(self, memory: Memory, z: Tensor, read: Read) -> tuple[Tensor, Memory]:
        p = read.logits.float().softmax(-1)
        entropy = -(p * (p + 1e-10).log()).sum(-1)
        return (entropy - memory[0]).abs(), (entropy,)


class KL(Exit):
    """What is likely hardly changes: the divergence of the answer before from this one."""

    threshold = 1e-3

    def begin(self, z: Tensor, vocab: int) -> Memory:
        return (z.new_full((*z.shape[:2], vocab), -math.log(vocab), dtype=torch.float32),)

    def look(self, memory: Memory, z: Tensor, read: Read) -> tuple[Tensor, Memory]:
        now, before = self.likely(read.logits.float()), memory[0]
        return (before.exp() * (before - now)).sum(-1), (now,)

    def likely(self, logits: Tensor) -> Tensor:
        """Logarithms of probabilities."""
        return logits.log_softmax(-1)


class MinP(KL):
    """The same, where probabilities below a tenth of the largest count as 1 / V, and all are scaled
    to sum to 1.
    """

    threshold = 1e-5

    def likely(self, logits: Tensor) -> Tensor:
        p = logits.softmax(-1)
        kept = torch.where(p >= 0.1 * p.amax(-1, keepdim=True), p, 1 / p.shape[-1])
        return (kept / kept.sum(-1, keepdim=True)).log()


class Latent(Exit):
    """The latent hardly moves, by its length."""

    threshold = 0.03

    def begin(self, z: Tensor, vocab: int) -> Memory:
        return (z,)

    def look(self, memory: Memory, z: Tensor, read: Read) -> tuple[Tensor, Memory]:
        moved = (z - memory[0]).float().norm(dim=-1)
        return moved / z.float().norm(dim=-1), (z,)


class Cosine(Latent):
    """The latent hardly turns."""

    threshold = 1e-3

    def look(self, memory: Memory, z: Tensor, read: Read) -> tuple[Tensor, Memory]:
        return 1 - F.cosine_similarity(z.float(), memory[0].float(), dim=-1), (z,)


class Stability(Exit):
    """The answer has been the same for so many recursions in a row."""

    threshold = 5
    falls = False

    def begin(self, z: Tensor, vocab: int) -> Memory:
        count = z.new_zeros(z.shape[:2], dtype=torch.float32)
        return torch.full_like(count, -1, dtype=torch.int64), count

    def look(self, memory: Memory, z: Tensor, read: Read) -> tuple[Tensor, Memory]:
        answer, count = read.answer, memory[1]
        count = torch.where(answer == memory[0], count + 1, 0)
        return count, (answer, count)


class Gate(Exit):
    """The model's own gate: the probabilities of leaving so far come to q. At q = 1 none leaves."""

    threshold = 0.5
    falls = False
    needs_gate = True

    def begin(self, z: Tensor, vocab: int) -> Memory:
        return (z.new_ones(z.shape[:2], dtype=torch.float32),)

    def look(self, memory: Memory, z: Tensor, read: Read) -> tuple[Tensor, Memory]:
        stay = memory[0] * (1 - read.gate.sigmoid())
        return 1 - stay, (stay,)

    def done(self, value: Tensor) -> Tensor:
        return super().done(value) & (self.limit < 1)


class Confidence(Exit):
    """The answer of the recursion that was surest so far; it goes on to the last."""

    threshold = 0.0
    falls = False
    again = True

    def begin(self, z: Tensor, vocab: int) -> Memory:
        return (z.new_full(z.shape[:1], -1.0, dtype=torch.float32),)

    def look(self, memory: Memory, z: Tensor, read: Read) -> tuple[Tensor, Memory]:
        sure = read.logits.float().softmax(-1).amax(-1).sum(-1)
        better = sure - memory[0]
        return torch.where(better > 0, better, -1)[:, None], (torch.maximum(sure, memory[0]),)


class Head(Exit):
    """The halting head says that the puzzle is finished."""

    threshold = 1
    falls = False
    halting: Halting

    def begin(self, z: Tensor, vocab: int) -> Memory:
        return ()

    def look(self, memory: Memory, z: Tensor, read: Read) -> tuple[Tensor, Memory]:
        return self.halting.wants(read).float()[:, None], ()


EXITS: dict[str, type[Exit]] = {
    "entropy": Entropy,
    "kl": KL,
    "minp_kl": MinP,
    "latent": Latent,
    "cosine": Cosine,
    "stability": Stability,
    "gate": Gate,
    "confidence": Confidence,
    "head": Head,
}


class ExitConfig(NamedTuple):
    """A criterion by name, "none" or one of EXITS; its threshold, None: as published; its pool."""

    name: str
    threshold: float | None
    pool: str


def make_exit(config: ExitConfig, halting: Halting) -> Exit | None:
    """Raises UserError, with the names that there are, if there is none of that name."""
    if config.name == "none":
        return None
    made = chosen(EXITS, "exit", config.name)(config.threshold, config.pool)
    if config.pool not in POOLS:
        raise UserError(f"pool={config.pool} is unknown; use one of {', '.join(POOLS)}")
    made.halting = halting
    return made


def refuse_exit(name: str, gates: bool, plain: bool) -> None:
    """Raise UserError for an exit that a model with or without a gate does not have, or that looks
    at recursions which a gradient scheme does not make one by one (not `plain`).
    """
    if name != "none" and chosen(EXITS, "exit", name).needs_gate and not gates:
        raise UserError(f"exit={name} needs a model with a gate, as model=ouro; use exit=kl")
    if name != "none" and not plain:
        raise UserError(
            f"exit={name} looks at recursions one by one; use gradient=bptt, or no exit"
        )


class Watch:
    """A criterion at work on the slots of a batch."""

    def __init__(self, exit: Exit):
        self.exit, self.memory = exit, None

    def begin(self, fresh: Tensor, z: Tensor, vocab: int) -> None:
        """The slots `fresh` (B,) bool start at z (B S D)."""
        new = self.exit.begin(z, vocab)
        if self.memory is None:
            self.memory = new
        self.memory = tuple(
            torch.where(fresh.view(-1, *[1] * (a.ndim - 1)), a, b)
            for a, b in zip(new, self.memory, strict=True)
        )

    def leaves(self, z: Tensor, read: Read) -> Tensor:
        """(B,) bool, after a whole recursion."""
        value, self.memory = self.exit.look(self.memory, z, read)
        return self.exit.leaves(value)


def cells_of(z: Tensor, cells: int) -> Tensor:
    """The latent of the cells alone (B S D); of a state with lanes or chains, their mean."""
    z = z.mean(1) if z.ndim > 3 else z
    return z[:, -cells:]
