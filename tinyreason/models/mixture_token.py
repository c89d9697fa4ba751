"""Mixture-of-Recursions with token choice, arXiv 2507.10524: each cell chooses its depth at once.

Unusual in it:
- one router gives every cell a depth before the first recursion; the cell runs so often and then
  stands still
- what the last of its recursions came to is added to what it was, weighted by the router
- cells are kept from all choosing alike by a loss (`balance=loss`), or by a bias of the choice that
  moves a little after every step (`loss_free`)

Departures: rows of a batch do not mix (the public code takes a row's depths by its place among the
rows still running); no cell goes on beyond the depths that the router knows; the balance is that of
the slots that go forward together, so `micro_batch` and ranks change it; prefix tokens are cells
as well.

B batch, S sequence (prefix + cells), D width, R recursions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.models.base import RecursiveModel, make_core
from tinyreason.models.mixture import STD, STYLE, RoutedConfig
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Facts
from tinyreason.routing import Chosen, no_store, put, run, run_first

SPEED = 1e-3  # of the bias, a step


@dataclass
class MixtureTokenConfig(RoutedConfig):
    """Of `MixtureToken`."""

    gate: str = option(choices=("softmax", "sigmoid"))
    balance: str = option(choices=("loss", "loss_free", "none"))
    balance_weight: float = option(least=0)  # of balance=loss


class Delayed(NamedTuple):
    """The cells, and what the loop must know of them."""

    z: Tensor  # (B S D), what is read
    y: Tensor  # (B S D), what the recursions came to
    before: Tensor  # (B S D), what the cells were
    weight: Tensor  # (B S)
    depth: Tensor  # (B S) int64, the last recursion of each cell
    losses: Tensor  # (B,) of the router, weighted
    store: Tensor  # keys and values of the first recursion


class MixtureToken(RecursiveModel):
    """Final."""

    Config = MixtureTokenConfig

    def __init__(self, config: MixtureTokenConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype, scale=1.0)
        self.core = make_core(config, facts, style=STYLE)
        self.router = nn.Parameter(STD * torch.randn(config.recursions, config.width))
        self.register_buffer("bias", torch.zeros(config.recursions))
        # cells of each depth since the last step
        self.register_buffer("counts", torch.zeros(config.recursions), persistent=False)

    def start(self, x: Tensor, noise: Noise) -> Delayed:
        none = torch.zeros_like(x[..., 0], dtype=torch.float32)
        store = no_store(self.core, x, self.config.kv)
        return Delayed(x, x, x, none, none.long(), none[:, 0], store)

    def recur(self, state: Delayed, x: Tensor, t: int) -> Delayed:
        if t == 0:
            weight, depth, losses = self.routed(state.z)
            y, store = run_first(self.core, state.z, self.config.kv)
            z = state.z + weight[..., None].to(y.dtype) * y
            return Delayed(z, y, state.z, weight, depth, losses, store)
        chosen = self.chosen(state.depth >= t)
        new = run(self.core, state.y, chosen, self.config.kv, state.store)
        y = put(state.y, chosen, new)
        return state._replace(z=state.before + state.weight[..., None].to(y.dtype) * y, y=y)

    def routed(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weight and depth of each cell (B S), and the losses (B,)."""
        logits, scores = self.scored(h)
        depth = (scores.detach() + self.bias).argmax(-1)
        weight = scores.gather(-1, depth[..., None])[..., 0]
        loss = self.config.z * logits.logsumexp(-1).square().mean()
        if self.config.balance == "loss":
            loss = loss + self.config.balance_weight * balance(scores, depth)
        return weight, depth, loss.expand(len(h))

    def scored(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B S R) logits of the router, and what it weighs the depths with."""
        logits = h.float() @ self.router.T / self.config.temperature
        scores = logits.softmax(-1) if self.config.gate == "softmax" else logits.sigmoid()
        return logits, self.config.alpha * scores

    def chosen(self, running: Tensor) -> Chosen:
        """As many places in each row as the fullest has, for which the host waits; all of them
        where shapes are all that matters.
        """
        most = running.shape[1] if self.static else int(running.sum(1).max())
        first = running.long().argsort(dim=1, descending=True, stable=True)[:, : max(1, most)]
        places = first.sort().values
        return Chosen(places, running.gather(1, places))

    def penalties(self, state: Delayed) -> dict[str, Tensor]:
        if self.training and torch.is_grad_enabled():
            self.counts += F.one_hot(state.depth, len(self.counts)).sum((0, 1))
        return {"router": state.losses}

    def adjusted(self) -> list[Tensor]:
        return [self.bias]  # not the counts: those of a bad step are forgotten too

    def counted(self) -> list[Tensor]:
        return [self.counts]

    @torch.no_grad()
    def adjust(self) -> None:
        if self.config.balance == "loss_free":
            self.bias += SPEED * (self.counts.mean() - self.counts).sign()
        self.counts.zero_()


def balance(scores: Tensor, depth: Tensor) -> Tensor:
    """R sum_j P_j f_j: mean score and share of the cells of each depth; 1 where both are even."""
    R = scores.shape[-1]
    shares = F.one_hot(depth, R).float().mean((0, 1))
    return R * (scores.mean((0, 1)) * shares).sum()
