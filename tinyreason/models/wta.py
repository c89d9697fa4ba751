"""Winner takes all, arXiv 2601.19085: TRM from several starts, of which the best is trained.

Unusual in it:
- each puzzle has K chains, which begin with K starts of z_L and one of z_H
- only the chain with the lowest loss is trained (`supervision=winner`), and its z_H is carried on
  in all of them; z_L is each chain's own
- an evaluation follows one chain

Departures: that chain is the one that has won most often, since one that never wins is not trained;
starts are normal, not aligned with the first matrix; they are learned where the
gradient reaches them (`gradient=bptt`), and else stay as drawn.

B batch, K chains, S sequence (prefix + cells), D width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.chains import POLICIES, carried
from tinyreason.layers import truncated_normal
from tinyreason.models.base import CycleConfig, Read, RecursiveModel, State, make_core
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Facts
from tinyreason.tags import tagged


@dataclass
class WTAConfig(CycleConfig):
    """Of `WTA`."""

    chains: int = option(least=1, most=64)  # K
    carry_H: str = option(choices=POLICIES)  # which z_H the next segment finds
    carry_L: str = option(choices=POLICIES)  # which z_L

    def applied(self, t: int) -> None:
        """Chains are counted."""


class WTA(RecursiveModel):
    """Final."""

    Config = WTAConfig
    chains = True

    def __init__(self, config: WTAConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype)
        self.core = make_core(config, facts)
        D = config.width
        self.start_H = tagged(nn.Parameter(truncated_normal((D,), 1.0)), decay=False)
        starts = truncated_normal((config.chains, D), 1.0)
        self.start_L = tagged(nn.Parameter(starts), decay=False)
        self.register_buffer("wins", torch.zeros(config.chains))
        # those of the step under way, which a bad step forgets
        self.register_buffer("newest", torch.zeros(config.chains), persistent=False)

    def start(self, x: Tensor, noise: Noise) -> State:
        starts = self.start_L
        if not self.training:
            starts = starts.index_select(0, self.wins.argmax().view(1))
        shape = (len(x), len(starts), *x.shape[1:])
        z_H = self.start_H.to(x.dtype).expand(shape)
        return State(z_H, starts[:, None].to(x.dtype).expand(shape))

    def recur(self, state: State, x: Tensor, t: int) -> State:
        z_H, z_L = (z.flatten(0, 1) for z in state)
        fed = x[:, None].expand(state.z_H.shape).flatten(0, 1)
        z_L = self.core(z_L + (z_H + fed))
        if self.config.closes(t):
            z_H = self.core(z_H + z_L)
        return State(z_H.view_as(state.z_H), z_L.view_as(state.z_L))

    def read(self, state: State) -> Read:
        """Of the first chain."""
        return self.chain_reads(state)[0]

    def chain_reads(self, state: State) -> list[Read]:
        return [Read(*self.heads(z)) for z in state.z_H.unbind(1)]

    def adjusted(self) -> list[Tensor]:
        return [self.wins]

    def counted(self) -> list[Tensor]:
        return [self.newest]

    @torch.no_grad()
    def adjust(self) -> None:
        self.wins += self.newest
        self.newest.zero_()

    def followed(self, before: State, state: State, order: Tensor) -> State:
        if self.training:
            self.newest += F.one_hot(order[:, 0], len(self.wins)).sum(0)
        policies = (self.config.carry_H, self.config.carry_L)
        return State(
            *(carried(p, a, b, order) for p, a, b in zip(policies, before, state, strict=True))
        )
