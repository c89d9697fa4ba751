"""OpenMythos' loop, github.com/kyegomez/OpenMythos: pieces of other systems in one recursion.

Unusual in it:
- the state decays: h <- A h + b x + block(...), A and b learned for each channel, A between 0 and 1
- what a loop adds is adapted by a low rank matrix with scales of its own; loops beyond those that
  have scales use the last one's
- the number of the loop is added to an eighth of the channels, as sinusoids
- each cell halts by itself, after the update; what is read is the sum of its states so weighted

Departures: the loop alone, without layers before and after it; a dense MLP in place of a mixture of
experts; every cell sees every cell; recursions go on to the last although all cells have halted,
which changes nothing that is read (a cell that never halts is read as the sum so far, as there);
the adaptation starts at zero. Nothing about models of other labs is claimed.

B batch, S sequence (prefix + cells), D width, r rank.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.act import act_step, sinusoids
from tinyreason.errors import UserError
from tinyreason.layers import Linear, Norm, Style
from tinyreason.models.base import LoopConfig, Read, RecursiveModel, make_core
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Facts
from tinyreason.tags import tagged

STYLE = Style(norms="pre", weighted=True, eps=1e-6, rotary="adjacent", theta=500_000.0)


@dataclass
class OpenMythosConfig(LoopConfig):
    """Of `OpenMythos`. `layers` are the core's."""

    rank: int = option(least=1, most=1024)  # r
    threshold: float = option(least=0, most=1)  # a cell halts where it has paid out so much

    one_segment: ClassVar[bool] = True

    @property
    def numbered(self) -> int:
        """Channels that the number of the loop is added to."""
        return self.width // 8

    def check_together(self, prefix: str) -> None:
        if self.numbered % 2 or not self.numbered:
            raise UserError(f"{prefix}width={self.width} must be a multiple of 16")


class Settling(NamedTuple):
    """What has been paid out, the state, and what each cell has paid."""

    out: Tensor  # (B S D)
    h: Tensor  # (B S D)
    total: Tensor  # (B S)


class OpenMythos(RecursiveModel):
    """Final."""

    Config = OpenMythosConfig

    def __init__(self, config: OpenMythosConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype, scale=1.0)
        D = config.width
        self.norm = Norm(D, STYLE.eps)
        self.core = make_core(config, facts, style=STYLE)
        self.down = Linear(D, config.rank, matrix=True)
        self.scale = tagged(nn.Parameter(torch.ones(config.recursions, config.rank)), decay=False)
        self.up = nn.Parameter(torch.zeros(config.rank, D))
        self.log_A = tagged(nn.Parameter(torch.zeros(D)), decay=False)
        self.log_dt = tagged(nn.Parameter(torch.zeros(1)), decay=False)
        self.fed = tagged(nn.Parameter(torch.full((D,), 0.1)), decay=False)
        self.leave = Linear(D, 1, bias=True)

    def start(self, x: Tensor, noise: Noise) -> Settling:
        none = torch.zeros_like(x[..., 0], dtype=torch.float32)
        return Settling(torch.zeros_like(x), x, none)

    def recur(self, state: Settling, x: Tensor, t: int) -> Settling:
        h = self.updated(state.h, x, t)
        step = act_step(self.leaving(h), state.total, self.config.threshold)
        return Settling(state.out + step.share[..., None].to(h.dtype) * h, h, step.total)

    def updated(self, h: Tensor, x: Tensor, t: int) -> Tensor:
        """The state after loop `t`, (B S D)."""
        new = self.block(h, x, t)
        scale = self.scale[min(t, len(self.scale) - 1)].to(h.dtype)
        new = new + (self.down(new) * scale) @ self.up.to(h.dtype)
        return self.decay().to(h.dtype) * h + self.fed.to(h.dtype) * x + new

    def block(self, h: Tensor, x: Tensor, t: int) -> Tensor:
        """What the core makes of state and puzzle, its residual included."""
        channels = self.config.numbered
        number = sinusoids(torch.full((1,), t, device=h.device), channels)
        numbered = h + F.pad(number, (0, self.config.width - channels)).to(h.dtype)
        return self.core(self.norm(numbered + x))

    def decay(self) -> Tensor:
        """A, (D,)."""
        return torch.exp(-torch.exp((self.log_dt + self.log_A).clamp(-20, 20)))

    def leaving(self, h: Tensor) -> Tensor:
        """Probability that each cell halts, (B S D) -> (B S) float32."""
        return self.leave(h)[..., 0].float().sigmoid()

    def read(self, state: Settling) -> Read:
        return Read(*self.heads(state.out))
