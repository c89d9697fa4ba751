"""The cross-entropies of cells, and the loss of one segment.

Per puzzle the cell losses are averaged over its scored cells; puzzles are summed and divided by the
global batch, and the halting losses are weighted by one half: as in both references (the TRM
paper's pseudo-code has weight 1).

B batch, S cells, V vocabulary, R reads.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tinyreason.device import widest
from tinyreason.models.base import Read
from tinyreason.options import chosen
from tinyreason.puzzle import IGNORE

CrossEntropy = Callable[[Tensor, Tensor], Tensor]


class Loss(NamedTuple):
    """A loss, weighted by whoever makes it."""

    value: Tensor  # (B,)
    weight: float = 1.0


class Judged(NamedTuple):
    """The reads of a segment and how wrong each cell is."""

    reads: list[Read]  # R of them
    cells: Tensor  # (R B S), cross-entropy, 0 where not scored
    scored: Tensor  # (B S) bool
    segments: Tensor  # (B,) int32, segments that each puzzle has had, this one included


def judge(
    cross_entropy: CrossEntropy, reads: list[Read], labels: Tensor, segments: Tensor
) -> Judged:
    """The reads of a segment against the `labels` (B S)."""
    scored = labels != IGNORE
    valid = labels.clamp(min=0)
    cells = [cross_entropy(read.logits, valid) * scored for read in reads]
    return Judged(reads, torch.stack(cells), scored, segments)


def mean_of_scored(cells: Tensor, scored: Tensor) -> Tensor:
    """Each puzzle's mean over its scored cells, 0 if it has none. (... B S), (B S) -> (... B)."""
    return cells.sum(-1) / scored.sum(-1).clamp(min=1)


def total(losses: dict[str, Loss]) -> Tensor:
    """Their weighted sum over the slots."""
    return sum(loss.weight * loss.value.sum() for loss in losses.values())


def stablemax(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy under stablemax, s(x) = x + 1 for x >= 0, else 1 / (1 - x).

    (... V), (...) -> (...). Grokking at the edge of numerical stability, arXiv 2501.04697. In
    float64 as in the references: cheap at the vocabularies of grids (6 to 12 tokens). Labels must
    be valid; mask ignored cells outside.
    """
    x = logits.to(widest(logits.device))
    s = torch.where(x >= 0, x + 1, 1 / (1 - x.clamp(max=0)))
    return s.sum(-1).log() - s.gather(-1, labels[..., None]).squeeze(-1).log()


def softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Ordinary cross-entropy in float32. (... V), (...) -> (...)."""
    flat = F.cross_entropy(logits.float().flatten(0, -2), labels.flatten(), reduction="none")
    return flat.view(labels.shape)


def smoothed(logits: Tensor, labels: Tensor) -> Tensor:
    """Ordinary cross-entropy with a fifth of the weight spread over all tokens. (... V), (...) ->
    (...). As in winner takes all, arXiv 2601.19085.
    """
    options = {"reduction": "none", "label_smoothing": 0.2}
    flat = F.cross_entropy(logits.float().flatten(0, -2), labels.flatten(), **options)
    return flat.view(labels.shape)


CROSS_ENTROPIES: dict[str, CrossEntropy] = {
    "stablemax": stablemax,
    "softmax": softmax,
    "smoothed": smoothed,
}


def cross_entropy_of(name: str) -> CrossEntropy:
    """The cross-entropy of the name in `loss`. Raises UserError if there is none."""
    return chosen(CROSS_ENTROPIES, "loss", name)
