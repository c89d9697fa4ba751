"""Universal Transformer with ACT, arXiv 1807.03819: tied layers, and each cell halts by itself.

Unusual in it:
- before every recursion the place of the cell and the number of the recursion are added, as
  sinusoids; so there is no last recursion that it knows
- each cell has a probability of halting at every recursion; what is read is the sum of its states
  weighted by them (`output=sum`, Graves), or an interpolation (`interpolate`, tensor2tensor's
  default), whose weights do not sum to 1
- the loss has a ponder cost: recursions that ran and the remainder, through which alone it has a
  gradient
- the second half of a layer is two convolutions along the sequence

Departures: recursions go on to the last although all cells have halted, which changes nothing that
is read; with `rest=true`, a cell that has not halted by then pays out its last state in full (the
public codes drop what is left of 1), outside the ponder cost; the embedding is not projected, since
it is learnt. As in the public codes, and not in the paper, the state of a cell that has halted
moves on and is attended to.

B batch, S sequence (prefix + cells), D width.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from tinyreason.act import act_step, sinusoids
from tinyreason.errors import UserError
from tinyreason.layers import Linear
from tinyreason.models.base import LoopConfig, Read, RecursiveModel
from tinyreason.models.convolutions import ConvLayer
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Facts


@dataclass
class UniversalConfig(LoopConfig):
    """Of `Universal`."""

    output: str = option(choices=("sum", "interpolate"))
    threshold: float = option(least=0, most=1)  # a cell halts where it has paid out so much
    ponder: float = option(least=0)  # tau, weight of the ponder cost
    rest: bool  # what is not paid out at the end is, as the last state

    one_segment: ClassVar[bool] = True

    def check_together(self, prefix: str) -> None:
        if self.width % 2:
            raise UserError(
                f"{prefix}width={self.width} must be even: half are sines, half cosines"
            )


class Ponder(NamedTuple):
    """What has been paid out, the state, and the bookkeeping of each cell."""

    out: Tensor  # (B S D)
    s: Tensor  # (B S D)
    total: Tensor  # (B S)
    remainder: Tensor  # (B S)
    updates: Tensor  # (B S)


class Universal(RecursiveModel):
    """Final."""

    Config = UniversalConfig

    def __init__(self, config: UniversalConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype)
        length = config.prefix + facts.seq_len
        self.core = nn.Sequential(*(ConvLayer(config, length) for _ in range(config.layers)))
        self.leave = Linear(config.width, 1, bias=True)
        nn.init.ones_(self.leave.bias)
        self.register_buffer("places", self.signal(torch.arange(length)), persistent=False)

    def signal(self, places: Tensor) -> Tensor:
        half = self.config.width // 2
        return sinusoids(places, self.config.width, max(1, half - 1))

    def start(self, x: Tensor, noise: Noise) -> Ponder:
        none = torch.zeros_like(x[..., 0], dtype=torch.float32)
        return Ponder(torch.zeros_like(x), x, none, none, none)

    def recur(self, state: Ponder, x: Tensor, t: int) -> Ponder:
        s = self.placed(state.s, t)
        step = act_step(self.leaving(s), state.total, self.config.threshold)
        s = self.core(s)
        out = self.paid(state.out, step.share, s)
        remainder, updates = state.remainder + step.remainder, state.updates + step.ran
        return Ponder(out, s, step.total, remainder, updates)

    def paid(self, out: Tensor, share: Tensor, s: Tensor) -> Tensor:
        """`out` (B S D) after the `share` (B S) of the state."""
        share = share[..., None].to(s.dtype)
        before = out if self.config.output == "sum" else (1 - share) * out
        return before + share * s

    def placed(self, s: Tensor, t: int) -> Tensor:
        """With the place of each cell and the number of the recursion."""
        number = self.signal(torch.full((1,), t, device=s.device))
        return s + (self.places + number).to(s.dtype)

    def leaving(self, s: Tensor) -> Tensor:
        """Probability that each cell halts, (B S D) -> (B S) float32."""
        return self.leave(s)[..., 0].float().sigmoid()

    def read(self, state: Ponder) -> Read:
        if not self.config.rest:
            return Read(*self.heads(state.out))
        return Read(*self.heads(self.paid(state.out, 1 - state.total, state.s)))

    def penalties(self, state: Ponder) -> dict[str, Tensor]:
        return {"ponder": self.config.ponder * (state.updates + state.remainder).mean(-1)}
