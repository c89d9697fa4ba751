"""Which reads of a segment are scored, and with which weights.

B batch, S cells, R reads (one of each tracked recursion, or the last alone).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyreason.chains import of_chain
from tinyreason.losses import CrossEntropy, Judged, Loss, judge, mean_of_scored
from tinyreason.models.base import Read, RecursiveModel
from tinyreason.options import Options, chosen, option
from tinyreason.segment import Trace


@dataclass
class SupervisionConfig(Options):
    """The supervision axis of a run; the values stand in `conf/supervision/*.yaml`."""

    name: str  # in SUPERVISIONS


class Supervision(ABC):
    """Abstract. The losses of the answers."""

    Config: type[SupervisionConfig] = SupervisionConfig
    every: bool  # each tracked recursion is read
    needs_gate = False  # it takes models whose reads have a gate
    frozen = False  # no gradient reaches the state
    chains = False  # it chooses among the chains of a model that has some
    two_depths = False  # its reads are one at the drawn depth, and one at the stated depth

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


@dataclass
class BySegmentConfig(SupervisionConfig):
    """Of `BySegment`."""

    decay: float = option(least=0, most=1)  # of the weight, from one segment to the next


class BySegment(Supervision):
    """The answer at the end of the segment, weighted by decay^k, k the segments before it.

    Source: hierarchical supervision weighting of CGAR, arXiv 2511.08653, decay 0.7: early segments,
    whose gradients are large, count more. Not divided by the sum of the weights, which Adam would
    not notice.
    """

    Config = BySegmentConfig
    every = False

    def losses(self, judged: Judged) -> dict[str, Loss]:
        weights = self.config.decay ** (judged.segments - 1).float()
        return {"answer_loss": Loss(weights * mean_of_scored(judged.cells[-1], judged.scored))}


class Every(Supervision):
    """The answers after all tracked recursions, alike."""

    every = True

    def losses(self, judged: Judged) -> dict[str, Loss]:
        return {"answer_loss": Loss(mean_of_scored(judged.cells, judged.scored).mean(0))}


@dataclass
class CorrectionConfig(SupervisionConfig):
    """Of `Correction`."""

    weights: str = option(choices=("exponential", "linear"))
    gamma: float = option(least=0, most=1)  # of exponential: from one read to the one before


class Correction(Supervision):
    """The answers after all tracked recursions, the later the heavier: so that each is a step
    towards the last.

    Source: fixed-point correction of torchdeq, arXiv 2310.18605. Weights gamma^k, or 1 - 0.9 k / R,
    of the read k before the last.
    """

    Config = CorrectionConfig
    every = True

    def losses(self, judged: Judged) -> dict[str, Loss]:
        each = mean_of_scored(judged.cells, judged.scored)
        before = torch.arange(len(each) - 1, -1, -1).to(each)
        if self.config.weights == "exponential":
            weights = self.config.gamma**before
        else:
            weights = 1 - 0.9 * before / len(each)
        return {"answer_loss": Loss((weights[:, None] * each).sum(0))}


@dataclass
class WindowConfig(SupervisionConfig):
    """Of `Window`."""

    recursions: int = option(least=1)  # T


class Window(Supervision):
    """The answers after the last T tracked recursions, alike; the gradient flows through and across
    them.

    Source: looped transformers, arXiv 2311.12424. As published, `gradient=last` tracks T too.
    """

    Config = WindowConfig
    every = True

    def losses(self, judged: Judged) -> dict[str, Loss]:
        cells = judged.cells[-self.config.recursions :]
        return {"answer_loss": Loss(mean_of_scored(cells, judged.scored).mean(0))}


@dataclass
class ProgressiveConfig(SupervisionConfig):
    """Of `Progressive`."""

    alpha: float = option(least=0, most=1)  # weight of the drawn depth


class Progressive(Supervision):
    """(1 - alpha) times the loss at the stated depth, all of it tracked, and alpha times that at
    the drawn one, which starts somewhere on the way: so the core learns to go on from anywhere.

    Source: deep thinking, arXiv 2202.05826, "progressive loss"; `depth=uniform` draws as it does.
    """

    Config = ProgressiveConfig
    every = False
    two_depths = True

    def losses(self, judged: Judged) -> dict[str, Loss]:
        drawn, stated = mean_of_scored(judged.cells[[0, -1]], judged.scored)
        alpha = self.config.alpha
        return {
            "answer_loss": Loss(stated, 1 - alpha),
            "progressive_loss": Loss(drawn, alpha),
        }


class Winner(Last):
    """The answer of the chain whose loss is the lowest; no gradient reaches the others.

    Source: winner takes all, arXiv 2601.19085.
    """

    chains = True

    def followed(
        self, model: RecursiveModel, trace: Trace, labels: Tensor, cross_entropy: CrossEntropy
    ) -> Trace:
        """The segment as that of each puzzle's best chain, and the state that is carried on."""
        reads = model.chain_reads(trace.state)
        with torch.no_grad():
            judged = judge(cross_entropy, reads, labels, labels[:, 0])
            order = mean_of_scored(judged.cells, judged.scored).argsort(0).T
        logits, halt = (
            of_chain(torch.stack(column, dim=1), order[:, 0])
            for column in zip(*((read.logits, read.halt) for read in reads), strict=True)
        )
        state = model.followed(trace.before, trace.state, order)
        return trace._replace(state=state, reads=[Read(logits, halt)])


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


@dataclass
class GateConfig(SupervisionConfig):
    """Of `Gate`."""

    sharpness: float = option(least=0)  # k
    margin: float = option(least=0)  # gamma, of cross-entropy


class Gate(Supervision):
    """The gate alone, on a model that is frozen: it should stay where the next recursion makes the
    answer better.

    The second stage of Ouro, arXiv 2510.25741: with I_t = max(0, CE_{t-1} - CE_t), recursion t
    should not be left with probability sigmoid(k (I_t - gamma)), t from 2 on; the mean over scored
    cells and recursions.
    """

    Config = GateConfig
    every = True
    needs_gate = True
    frozen = True

    def losses(self, judged: Judged) -> dict[str, Loss]:
        cells = judged.cells.detach()
        better = (cells[:-1] - cells[1:]).clamp(min=0)
        stay = torch.sigmoid(self.config.sharpness * (better - self.config.margin))
        leave = torch.stack([read.gate for read in judged.reads[1:]]).sigmoid()
        kept = (1 - leave).clamp(1e-7, 1 - 1e-7)
        wrong = -(stay * kept.log() + (1 - stay) * (1 - kept).log()) * judged.scored
        return {
            "answer_loss": Loss(mean_of_scored(cells[-1], judged.scored), 0.0),
            "gate_loss": Loss(mean_of_scored(wrong, judged.scored).mean(0)),
        }


def exit_probability(gates: Tensor) -> Tensor:
    """(R ...) logits of leaving at each recursion -> (R ...) probabilities that sum to 1: at the
    last one all leave.
    """
    leave = gates.sigmoid()
    stay = torch.cat((torch.ones_like(leave[:1]), (1 - leave[:-1]).cumprod(0)))
    leave = torch.cat((leave[:-1], torch.ones_like(leave[-1:])))
    return leave * stay


SUPERVISIONS: dict[str, type[Supervision]] = {
    "last": Last,
    "by_segment": BySegment,
    "every": Every,
    "correction": Correction,
    "window": Window,
    "progressive": Progressive,
    "winner": Winner,
    "exit_gate": ExitGate,
    "gate": Gate,
}


def make_supervision(config: SupervisionConfig) -> Supervision:
    """The supervision of the name in `supervision.name`. Raises UserError if there is none."""
    return chosen(SUPERVISIONS, "supervision.name", config.name)(config)
