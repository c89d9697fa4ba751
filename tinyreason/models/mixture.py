"""Mixture-of-Recursions with expert choice, arXiv 2507.10524: fewer cells at every recursion.

Unusual in it:
- each recursion has a router; the cells with its highest scores run, among those that ran before,
  and the others are copied unchanged: only the chosen ones are computed
- what a recursion makes of a cell is added to it, weighted by its score
- an auxiliary loss teaches the routers to score what they chose high; nothing leaks through the
  choice here, since every cell sees every cell

Departures: recursions beyond those that have a router use the last one's, and its number of cells;
prefix tokens are cells like others.

B batch, S sequence (prefix + cells), D width, R recursions.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.errors import UserError
from tinyreason.layers import Style
from tinyreason.models.base import LoopConfig, RecursiveModel, make_core
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Facts
from tinyreason.routing import KV, Chosen, all_of, no_store, picked, put, run, run_first

STYLE = Style(norms="pre", weighted=True, eps=1e-6)
STD = 0.02  # of the routers at the start


@dataclass
class RoutedConfig(LoopConfig):
    """Abstract. Of models that leave cells out."""

    kv: str = option(choices=KV)  # which keys and values the cells that run attend to
    alpha: float = option(least=0)  # what scores are multiplied by
    temperature: float = option(least=1e-3)  # of the routers
    z: float = option(least=0)  # weight of a penalty on large logits of the routers

    drops_cells: ClassVar[bool] = True
    whole_gradient: ClassVar[bool] = True

    def check_together(self, prefix: str) -> None:
        if self.mix != "attention":
            needs = f"{prefix}mix={self.mix} needs every cell, and {prefix}name={self.name} leaves"
            raise UserError(f"{needs} some out; use {prefix}mix=attention {prefix}positions=rotary")


@dataclass
class MixtureConfig(RoutedConfig):
    """Of `Mixture`."""

    auxiliary: float = option(least=0)  # weight of the auxiliary loss

    def running(self, t: int, cells: int) -> int:
        """How many of so many cells run in recursion `t`: a share of (R - t) / R."""
        last = min(t, self.recursions - 1)
        return max(1, (self.recursions - last) * cells // self.recursions)


class Routed(NamedTuple):
    """The cells, and what the loop must know of them."""

    h: Tensor  # (B S D)
    ran: Tensor  # (B S) bool, in the recursion before
    losses: Tensor  # (B,) of the routers, weighted
    store: Tensor  # keys and values of the first recursion


class Mixture(RecursiveModel):
    """Final."""

    Config = MixtureConfig

    def __init__(self, config: MixtureConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype, scale=1.0)
        self.core = make_core(config, facts, style=STYLE)
        self.routers = nn.Parameter(STD * torch.randn(config.recursions, config.width))

    def start(self, x: Tensor, noise: Noise) -> Routed:
        ran = torch.ones_like(x[..., 0], dtype=torch.bool)
        losses = torch.zeros(len(x), device=x.device)
        return Routed(x, ran, losses, no_store(self.core, x, self.config.kv))

    def recur(self, state: Routed, x: Tensor, t: int) -> Routed:
        h, config = state.h, self.config
        offered = torch.ones_like(state.ran) if t == 0 else state.ran
        router = self.routers[min(t, len(self.routers) - 1)]
        logits = h.float() @ router / config.temperature
        score = config.alpha * logits.sigmoid()
        if t == 0:
            chosen = all_of(h)
            new, store = run_first(self.core, h, config.kv)
        else:
            chosen = self.best(score.masked_fill(~offered, -1), t)
            new, store = run(self.core, h, chosen, config.kv, state.store), state.store
        weight = score.gather(1, chosen.places)[..., None].to(h.dtype)
        h = put(h, chosen, picked(h, chosen.places) + weight * new)
        ran = torch.zeros_like(offered).scatter(1, chosen.places, True)
        losses = self.router_losses(logits, offered, ran)
        return Routed(h, ran, losses if t == 0 else state.losses + losses, store)

    def best(self, score: Tensor, t: int) -> Chosen:
        """The cells of the highest scores (B S)."""
        best = score.topk(self.config.running(t, score.shape[1])).indices
        return Chosen(best.sort().values)

    def router_losses(self, logits: Tensor, offered: Tensor, ran: Tensor) -> Tensor:
        """(B,): means over the cells that were offered."""
        wrong = F.binary_cross_entropy_with_logits(logits, ran.float(), reduction="none")
        each = self.config.auxiliary * wrong + self.config.z * logits.square()
        return (each * offered).sum(-1) / offered.sum(-1)

    def penalties(self, state: Routed) -> dict[str, Tensor]:
        return {"router": state.losses}
