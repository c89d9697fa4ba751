"""Recordings of winner takes all: the losses of four chains, and what is carried on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.recording import Recording, absolute, relative
from tinyreason.chains import carried
from tinyreason.losses import Judged, judge, mean_of_scored, smoothed
from tinyreason.models.base import LoopState, Read
from tinyreason.segment import Trace
from tinyreason.supervision import SupervisionConfig, Winner


class Chains(nn.Module):
    """Stands for a model: its reads are those that were recorded, and it notes the order."""

    def __init__(self, logits: Tensor, q: Tensor):
        super().__init__()
        self.logits, self.q = logits, q

    def chain_reads(self, state: LoopState) -> list[Read]:
        halt = torch.stack((self.q, torch.zeros_like(self.q)), dim=-1)
        pairs = zip(self.logits.unbind(1), halt.unbind(1), strict=True)
        return [Read(*pair) for pair in pairs]

    def followed(self, before: LoopState, state: LoopState, order: Tensor) -> LoopState:
        self.order = order
        return state


def differences(recording: Recording) -> dict[str, float]:
    sizes = recording.config
    assert sizes["label_smoothing"] == 0.2, "the loss is made for the published smoothing"
    logits = recording.tensor("input/logits").requires_grad_()
    q = recording.tensor("input/q_halt").requires_grad_()
    labels, running = recording.tensor("input/labels"), recording.tensor("input/running").float()
    model = Chains(logits, q)
    z = LoopState(recording.tensor("input/z"))
    supervision = Winner(SupervisionConfig("winner"))
    trace = supervision.followed(model, Trace(z, [], z, {}), labels, smoothed)
    (read,) = trace.reads
    correct = (read.answer == labels).all(-1).float()
    judged = judge(smoothed, [read], labels, labels[:, 0])
    answer = mean_of(supervision.losses(judged)["answer_loss"].value, running)
    wrong = F.binary_cross_entropy_with_logits(read.halt[:, 0], correct, reduction="none")
    halting = mean_of(wrong, running)
    loss = answer + sizes["q_halt_weight"] * halting
    loss.backward()
    every: Judged = judge(smoothed, model.chain_reads(z), labels, labels[:, 0])
    losses = mean_of_scored(every.cells, every.scored).T
    return {
        "states": max(carry(recording, policy, model.order) for policy in policies(recording)),
        "losses": max(
            relative(losses, recording.tensor("out/losses")),
            relative(answer, recording.tensor("out/lm_loss")),
            relative(halting, recording.tensor("out/q_halt_loss")),
            relative(loss, recording.tensor("out/loss")),
        ),
        "gradients": max(
            relative(logits.grad, recording.tensor("grad/logits")),
            relative(q.grad, recording.tensor("grad/q_halt")),
        ),
        "decisions": max(
            absolute(model.order[:, 0], recording.tensor("out/winner")),
            absolute(correct, recording.tensor("out/correct")),
        ),
    }


def mean_of(values: Tensor, running: Tensor) -> Tensor:
    """Over the slots that hold a puzzle."""
    return (values * running).sum() / running.sum()


def policies(recording: Recording) -> list[str]:
    return [key for key in recording.under("carry/") if "/" not in key]


def carry(recording: Recording, policy: str, order: Tensor) -> float:
    z, new = recording.tensor("input/z"), recording.tensor("input/z_out")
    mine = carried(policy, z, new, order)
    updated = (mine != z).any(-1).any(-1)
    return max(
        absolute(mine, recording.tensor(f"carry/{policy}")),
        absolute(updated, recording.tensor(f"carry/{policy}/updated")),
    )
