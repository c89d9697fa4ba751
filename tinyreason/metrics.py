"""What is counted of a segment, as sums that stay on the device until somebody looks.

B batch, S cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tinyreason.losses import Loss
from tinyreason.models.base import Read
from tinyreason.puzzle import IGNORE
from tinyreason.ranks import ALONE, Ranks
from tinyreason.segment import Carry


class Metric(NamedTuple):
    """A sum, and what it is divided by when it is read; None: it is a count."""

    total: Tensor
    count: Tensor | None = None


@torch.no_grad()
def tally(losses: dict[str, Loss], read: Read, carry: Carry) -> dict[str, Metric]:
    """The metrics of a segment, on the device. `carry` has advanced and knows which slots are free.

    As in the references, accuracies count the puzzles that leave their slot at this segment; losses
    count every slot.
    """
    labels = carry.batch.labels
    correct = exact(read.answer, labels)
    leaving = carry.halted & (labels != IGNORE).any(-1)
    counted = {
        "exact": correct,
        "cells": cell_accuracy(read.answer, labels),
        "halt_right": (read.halt[:, 0] >= 0) == correct,
        "segments": carry.segments,
    }
    left, slots = leaving.sum(), torch.full_like(leaving.sum(), len(labels))
    sums = {name: loss.value.sum() for name, loss in losses.items()}
    loss = sum(losses[name].weight * value for name, value in sums.items())
    metrics = {name: Metric(value, slots) for name, value in (sums | {"loss": loss}).items()}
    metrics |= {name: Metric((value * leaving).sum(), left) for name, value in counted.items()}
    return metrics | {"puzzles": Metric(left)}


class Meter:
    """Adds up the metrics of segments: of this rank's slots, until somebody looks."""

    def __init__(self, ranks: Ranks = ALONE):
        self.ranks = ranks
        self.sums: dict[str, Metric] = {}

    def add(self, metrics: dict[str, Metric]) -> None:
        for name, new in metrics.items():
            old = self.sums.get(name)
            self.sums[name] = new if old is None else added(old, new)

    def read(self) -> dict[str, float]:
        """Means and counts since the last read. Waits for the device."""
        sums, self.sums = self.of_all_ranks(), {}
        return {name: mean(metric) for name, metric in sums.items()}

    def of_all_ranks(self) -> dict[str, Metric]:
        numbers = [t for metric in self.sums.values() for t in metric if t is not None]
        total = iter(self.ranks.summed(numbers))
        return {
            name: Metric(*(None if t is None else next(total) for t in metric))
            for name, metric in self.sums.items()
        }

    def state_dict(self) -> dict[str, list[Tensor | None]]:
        return {name: list(metric) for name, metric in self.of_all_ranks().items()}

    def of_each_rank(self) -> Tensor | None:
        """(ranks, numbers): their sums would not be the same bits where a run goes on."""
        return self.ranks.each(
            [t for metric in self.sums.values() for t in metric if t is not None]
        )

    def load_state_dict(
        self,
        saved: dict[str, list[Tensor | None]],
        device: torch.device,
        of_each: Tensor | None = None,
    ) -> None:
        """Raises TypeError if `saved` is not of a meter."""
        numbers = [t.to(device) for metric in saved.values() for t in metric if t is not None]
        own = iter(self.ranks.one_of(numbers, of_each))
        self.sums = {
            name: Metric(*(None if t is None else next(own) for t in metric))
            for name, metric in saved.items()
        }


def added(one: Metric, other: Metric) -> Metric:
    count = None if one.count is None else one.count + other.count
    return Metric(one.total + other.total, count)


def mean(metric: Metric) -> float:
    if metric.count is None:
        return float(metric.total)
    return float(metric.total) / max(float(metric.count), 1)


def exact(answer: Tensor, labels: Tensor) -> Tensor:
    """(B,) bool: every scored cell is right."""
    return ((answer == labels) | (labels == IGNORE)).all(-1)


def cell_accuracy(answer: Tensor, labels: Tensor) -> Tensor:
    """(B,) float: share of scored cells that are right."""
    scored = labels != IGNORE
    return ((answer == labels) & scored).sum(-1) / scored.sum(-1).clamp(min=1)
