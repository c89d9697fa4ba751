"""Deep supervision's loss of one segment, and what it counts.

Per puzzle the cell losses are averaged over its scored cells; puzzles are summed and divided by the global batch, and
the halting losses are weighted by one half: as in both references (the TRM paper's pseudo-code has weight 1).

B batch, S cells, V vocabulary.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyreason.errors import UserError
from tinyreason.halting import Halting
from tinyreason.models.base import Read
from tinyreason.puzzle import IGNORE
from tinyreason.segment import Carry

HALT_WEIGHT = 0.5


def objective(
    read: Read, carry: Carry, halting: Halting, cross_entropy: Callable, look_ahead: Callable[[], Read]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one segment summed over the slots, and what it is made of, (B,) each. `carry` has advanced."""
    labels = carry.batch.labels
    correct = exact(read.answer, labels)
    last = carry.segments >= halting.segments
    losses = {"answer_loss": answer_loss(cross_entropy, read.logits, labels)}
    losses |= halting.loss(read, correct, last, look_ahead)
    halt = sum(v.sum() for k, v in losses.items() if k != "answer_loss")
    loss = losses["answer_loss"].sum() + HALT_WEIGHT * halt
    return loss, losses


@torch.no_grad()
def tally(losses: dict[str, Tensor], read: Read, carry: Carry) -> dict[str, Tensor]:
    """Sums to log of a segment, on the device. `carry` has advanced and knows which slots are free.

    As in the references, accuracies count the puzzles that leave their slot at this segment; losses count every slot.
    """
    labels = carry.batch.labels
    correct, leaving = exact(read.answer, labels), carry.halted & (labels != IGNORE).any(-1)
    counted = {
        "exact": correct,
        "cells": cell_accuracy(read.answer, labels),
        "halt_right": (read.halt[:, 0] >= 0) == correct,
        "segments": carry.segments,
    }
    sums = {k: v.detach().sum() for k, v in losses.items()}
    total = sums["answer_loss"] + HALT_WEIGHT * sum(v for k, v in sums.items() if k != "answer_loss")
    return sums | {k: (v * leaving).sum() for k, v in counted.items()} | {"loss": total, "left": leaving.sum()}


def stablemax(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy under stablemax, s(x) = x + 1 for x >= 0, else 1 / (1 - x). (... V), (...) -> (...).

    Grokking at the edge of numerical stability, arXiv 2501.04697. In float64 as in the references: cheap at the
    vocabularies of grids (6 to 12 tokens). Labels must be valid; mask ignored cells outside.
    """
    x = logits.double()
    s = torch.where(x >= 0, x + 1, 1 / (1 - x.clamp(max=0)))
    return s.sum(-1).log() - s.gather(-1, labels[..., None]).squeeze(-1).log()


def softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Ordinary cross-entropy in float32. (... V), (...) -> (...)."""
    return F.cross_entropy(logits.float().flatten(0, -2), labels.flatten(), reduction="none").view(labels.shape)


CROSS_ENTROPIES = {"stablemax": stablemax, "softmax": softmax}


def cross_entropy_of(name: str):
    """The cross-entropy of the name in `loss`."""
    if name not in CROSS_ENTROPIES:
        raise UserError(f"loss={name} is unknown; type one of {', '.join(CROSS_ENTROPIES)}")
    return CROSS_ENTROPIES[name]


def answer_loss(cross_entropy, logits: Tensor, labels: Tensor) -> Tensor:
    """(B,), each puzzle's mean loss over its scored cells; 0 for a puzzle without any."""
    scored = labels != IGNORE
    losses = cross_entropy(logits, labels.clamp(min=0)) * scored
    return losses.sum(-1) / scored.sum(-1).clamp(min=1)


def exact(answer: Tensor, labels: Tensor) -> Tensor:
    """(B,) bool: every scored cell is right."""
    return ((answer == labels) | (labels == IGNORE)).all(-1)


def cell_accuracy(answer: Tensor, labels: Tensor) -> Tensor:
    """(B,) float: share of scored cells that are right."""
    scored = labels != IGNORE
    return ((answer == labels) & scored).sum(-1) / scored.sum(-1).clamp(min=1)
