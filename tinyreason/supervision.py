"""Which reads of a segment are scored, and with which weights.

B batch, S cells, R reads (one of each tracked recursion, or the last alone).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyreason.losses import Judged, Loss, mean_of_scored
from tinyreason.options import Options, chosen, option


@dataclass
class SupervisionConfig(Options):
    """The supervision axis of a run; the values stand in `conf/supervision/*.yaml`."""

    name: str  # in SUPERVISIONS


class Supervision(ABC):
    """Abstract. The losses of the answers."""

    Config: type[SupervisionConfig] = SupervisionConfig
    every: bool  # each tracked recursion is read
    needs_gate = False  # it takes models whose reads have a gate

    def __init__(self, config: SupervisionConfig):
        self.config = config

    @abstractmethod
    def losses(self, judged: Judged) -> dict[str, Loss]:
        """By name."""


class Last(Supervision):
    """The answer at the end of the segment alone: HRM, TRM, and most others."""

    every = False

    def losses(self, judged: Judged) -> dict[str, Loss]:
        return {"answer_loss": Loss(mean_of_scored(judged.cells[-1], judged.scored))}


class Every(Supervision):
    """The answers after all tracked recursions, alike."""

    every = True

    def losses(self, judged: Judged) -> dict[str, Loss]:
        return {"answer_loss": Loss(mean_of_scored(judged.cells, judged.scored).mean(0))}


@dataclass
class ExitGateConfig(SupervisionConfig):
    """Of `ExitGate`."""

    beta: float = option(least=0)  # weight of the entropy of the exits


class ExitGate(Supervision):
    """The expected loss over the recursions at which each cell may leave, less an entropy bonus.

    The first stage of Ouro, arXiv 2510.25741: sum_t p_t CE_t - beta H(p), the mean over scored
    cells. The bonus keeps the gate from settling on one recursion before the answers have been
    learnt.
    """

    Config = ExitGateConfig
    every = True
    needs_gate = True

    def losses(self, judged: Judged) -> dict[str, Loss]:
        p = exit_probability(torch.stack([read.gate for read in judged.reads]))
        expected = (p * judged.cells).sum(0)
        entropy = -(p * p.clamp(min=1e-10).log()).sum(0) * judged.scored
        return {
            "answer_loss": Loss(mean_of_scored(expected, judged.scored)),
            "exit_entropy": Loss(mean_of_scored(entropy, judged.scored), -self.config.beta),
        }


def exit_probability(gates: Tensor) -> Tensor:
    """(R ...) logits of leaving at each recursion -> (R ...) probabilities that sum to 1: at the
    last one all leave.
    """
    leave = gates.sigmoid()
    stay = torch.cat((torch.ones_like(leave[:1]), (1 - leave[:-1]).cumprod(0)))
    leave = torch.cat((leave[:-1], torch.ones_like(leave[-1:])))
    return leave * stay


SUPERVISIONS: dict[str, type[Supervision]] = {"last": Last, "every": Every, "exit_gate": ExitGate}


def make_supervision(config: SupervisionConfig) -> Supervision:
    """The supervision of the name in `supervision.name`. Raises UserError if there is none."""
    return chosen(SUPERVISIONS, "supervision.name", config.name)(config)
