"""When a puzzle leaves its slot, and how that is learnt (the papers' ACT).

A rule answers two questions of a segment's read: which slots are done, and what the halting head
should have said. In training a slot also leaves at `segments`, and with probability `exploration`
is made to stay for a random number of segments, drawn anew at every segment as in both references
(HRM's paper draws it once for a puzzle).

Sources: HRM, arXiv 2506.21734, section 2 "ACT"; TRM, arXiv 2510.04871, section 4.6, and the
references' code.

B batch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyreason.losses import Loss
from tinyreason.models.base import Read
from tinyreason.options import Options, chosen, option
from tinyreason.ranks import ALONE, Ranks


@dataclass
class HaltingConfig(Options):
    """The halting axis of a run; the values stand in `conf/halting/*.yaml`."""

    rule: str  # a name in RULES
    # most that a puzzle stays; N_sup in TRM's paper
    segments: int = option(least=1, shared_most=4096)
    exploration: float = option(least=0, most=1)  # probability that a slot is made to stay
    weight: float = option(least=0)  # of each loss of the halting head; 1/2 in both references

    def check_together(self, prefix: str) -> None:
        chosen(RULES, f"{prefix}rule", self.rule)


class Halting(ABC):
    """Abstract. A rule: when a puzzle is finished, and what the halting head should have said."""

    learns = True  # it has a loss
    looks_ahead = False  # its loss needs what the segment after this one says

    def __init__(self, config: HaltingConfig):
        self.segments, self.exploration = config.segments, config.exploration
        self.weight = config.weight

    @torch.no_grad()
    def done(
        self, read: Read, segments: Tensor, generator: torch.Generator, ranks: Ranks = ALONE
    ) -> Tensor:
        """(B,) bool: the slots that a new puzzle takes over in training.

        `segments` (B,) counts the one just read. Chance is drawn for the slots of all ranks, whose
        generators are equal.
        """
        random = {"generator": generator, "device": segments.device}
        slots = (ranks.world * len(segments),)
        stay = ranks.own(torch.rand(slots, **random)) < self.exploration
        least = ranks.own(torch.randint(2, max(self.segments, 2) + 1, slots, **random))
        return (segments >= self.segments) | (self.wants(read) & (~stay | (segments >= least)))

    @abstractmethod
    def wants(self, read: Read) -> Tensor:
        """(B,) bool: the head says that the puzzle is finished."""

    @abstractmethod
    def losses(
        self, read: Read, correct: Tensor, last: Tensor, ahead: Read | None
    ) -> dict[str, Loss]:
        """The losses of the halting head by name.

        `correct` and `last` (B,) bool: the answer is exact; the slot is at its last segment.
        `ahead` is the read of the segment after this one, without gradient, for a rule that
        `looks_ahead`.
        """


class Fixed(Halting):
    """Every puzzle stays for all segments and nothing is learnt: deep supervision without ACT."""

    learns = False

    def wants(self, read: Read) -> Tensor:
        return torch.zeros_like(read.halt[:, 0], dtype=torch.bool)

    def losses(
        self, read: Read, correct: Tensor, last: Tensor, ahead: Read | None
    ) -> dict[str, Loss]:
        return {}


class Correctness(Halting):
    """TRM: the head learns whether the answer is right; a puzzle is finished when it says so."""

    def wants(self, read: Read) -> Tensor:
        return read.halt[:, 0] > 0

    def losses(
        self, read: Read, correct: Tensor, last: Tensor, ahead: Read | None
    ) -> dict[str, Loss]:
        return {"q_halt_loss": Loss(binary(read.halt[:, 0], correct), self.weight)}


class QLearning(Halting):
    """HRM: the head learns the values of halting and of going on, the latter bootstrapped from the
    next segment.

    No replay and no target network: the batch is large enough (parallel Q-networks, arXiv
    2407.04811).
    """

    looks_ahead = True

    def wants(self, read: Read) -> Tensor:
        return read.halt[:, 0] > read.halt[:, 1]

    def losses(
        self, read: Read, correct: Tensor, last: Tensor, ahead: Read | None
    ) -> dict[str, Loss]:
        value = torch.where(last, ahead.halt[:, 0], ahead.halt.amax(-1)).sigmoid()
        return {
            "q_halt_loss": Loss(binary(read.halt[:, 0], correct), self.weight),
            "q_continue_loss": Loss(binary(read.halt[:, 1], value), self.weight),
        }


RULES: dict[str, type[Halting]] = {
    "fixed": Fixed,
    "correctness": Correctness,
    "q_learning": QLearning,
}


def make_halting(config: HaltingConfig) -> Halting:
    """The rule of the name in `halting.rule`. Raises UserError if there is none."""
    rule = chosen(RULES, "halting.rule", config.rule)
    config.check("halting.")
    return rule(config)


def binary(logits: Tensor, target: Tensor) -> Tensor:
    """(B,) binary cross-entropy."""
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
