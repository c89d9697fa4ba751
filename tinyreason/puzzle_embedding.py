"""The puzzle embedding: one learned vector for each puzzle identifier, trained by the sign of its
gradient.

ARC tables hold a million rows of which a batch touches a few hundred, so neither a dense gradient
nor moments are affordable. HRM and TRM train the used rows alone by sign-SGD with decoupled weight
decay; no library keeps that rule. The table is a buffer: not counted as parameters, not averaged by
the EMA, as in the references.

B batch, D width.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


class PuzzleEmbedding(nn.Module):
    """(B,) identifiers -> (B D) float32.

    Starts at zero. In training it keeps the rows, whose gradient `step` uses.
    """

    def __init__(self, count: int, width: int):
        super().__init__()
        self.register_buffer("table", torch.zeros(count, width))
        # (identifiers, rows) of each forward since the last step
        self.used: list[tuple[Tensor, Tensor]] = []

    def forward(self, ids: Tensor) -> Tensor:
        rows = self.table[ids]
        if self.training and torch.is_grad_enabled():
            self.used.append((ids, rows.requires_grad_()))
        return rows

    def gradients(self) -> list[Tensor]:
        """Of the rows in use."""
        return [rows.grad for _, rows in self.used if rows.grad is not None]

    @torch.no_grad()
    def gather(self, gathered: Callable[[Tensor], Tensor]) -> None:
        """Let the rows in use be those of all ranks; `gathered` puts side by side what each has."""
        if not self.gradients():
            return
        ids = gathered(torch.cat([ids for ids, rows in self.used if rows.grad is not None]))
        grads = gathered(torch.cat(self.gradients()))
        rows = torch.empty_like(grads)
        rows.grad = grads
        self.used = [(ids, rows)]

    @torch.no_grad()
    def step(self, lr: float | Tensor, weight_decay: float, good: Tensor) -> None:
        """w = (1 - lr wd) w - lr sign(sum of the gradients of w's rows), for the rows in use;
        nothing unless `good`.
        """
        if self.gradients():
            ids = torch.cat([ids for ids, rows in self.used if rows.grad is not None])
            # Rows of one identifier add up. Each of them then writes the same value, up to rounding
            # of the sum, so
            # there is nothing to deduplicate and no count to wait for on the host.
            total = (ids[:, None] == ids[None, :]).to(self.table.dtype) @ torch.cat(
                self.gradients()
            )
            old = self.table[ids]
            self.table[ids] = torch.where(
                good, old * (1 - lr * weight_decay) - lr * total.sign(), old
            )
        self.used = []


def rows_by_name(known: list[list], wanted: list[list]) -> np.ndarray:
    """(I,) int64: for each identifier of the tasks `wanted`, its row in the table of the tasks
    `known`; -1 where it has none. Both are [name, copies, digest of the copies] a task; row 0 is
    the blank identifier.
    """
    first, at = {}, 1
    for name, count, digest in known:
        first[name, count, digest] = at
        at += count
    rows = [np.zeros(1, np.int64)]
    for name, count, digest in wanted:
        start = first.get((name, count, digest))
        rows.append(np.full(count, -1) if start is None else np.arange(start, start + count))
    return np.concatenate(rows)


def share_tables(model: nn.Module, copy: nn.Module) -> None:
    """Let `copy`, a deep copy of `model`, use the very tables of `model`: they are large and never
    averaged.
    """
    for own, other in zip(model.modules(), copy.modules(), strict=True):
        if isinstance(own, PuzzleEmbedding):
            other.table = own.table
