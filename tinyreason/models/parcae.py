"""Parcae, "Scaling Laws For Stable Looped Language Models", arXiv 2604.12946.

Unusual in it:
- the puzzle is injected by a diagonal linear system: each feature of the state decays by a factor
  between 0 and 1, whatever the weights, and is fed a learned mixture of the embedding
- at the start the core adds nothing (all its output projections are 0): the loop is that linear
  system alone
- the embedding is normed after the prelude; queries and keys are normed; the MLP is a squared ReLU
- every puzzle of a batch has a depth of its own (`depth=per_row`)

Departures: every cell sees every cell; a halting head reads the first token; cross-entropy is that
of `loss=`. The decay also stays between 0 and 1 in float32, where the paper's formula rounds to 0
or 1. No value embeddings.

B batch, S sequence (prefix + cells), D width.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.layers import Linear, Norm, Style
from tinyreason.models.base import LoopConfig, LoopState, Read, RecursiveModel, make_core
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Batch, Facts
from tinyreason.tags import tagged

STYLE = Style(
    norms="pre",
    weighted=True,
    rotary="adjacent",
    theta=50_000.0,
    qk_norm=True,
    mlp="squared_relu",
)
CUT = 3  # deviations at which the start is truncated
DECAY = math.sqrt(1 / 5)  # of each feature, at the start
RATES = (1e-6, 80.0)  # exp(-rate) is neither 1 nor 0 in float32


@dataclass
class ParcaeConfig(LoopConfig):
    """Of `Parcae`. `layers` are the core's."""

    prelude: int = option(least=1, most=1024)  # blocks before the recursion
    coda: int = option(least=1, most=1024)  # blocks after it


class Injection(nn.Module):
    """a s + d (x B'), with d = softplus(dt_bias) and the decay a = exp(-d exp(A_log)).

    (B S D), (B S D) -> (B S D), computed in float32. One step of a linear system that is stable
    whatever its parameters.
    """

    def __init__(self, width: int):
        super().__init__()
        step = -math.log(DECAY)
        bias = step + math.log(-math.expm1(-step))  # softplus of it is the step
        self.A_log = tagged(nn.Parameter(torch.zeros(width)), decay=False)
        self.dt_bias = tagged(nn.Parameter(torch.full((width,), bias)), decay=False)
        self.B = tagged(nn.Parameter(torch.eye(width)), decay=False)

    def gains(self) -> tuple[Tensor, Tensor]:
        """The decay a and the step d of each feature, (D,) each."""
        step = F.softplus(self.dt_bias)
        rate = step * self.A_log.exp()
        return torch.exp(-rate.clamp(*RATES)), step

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        decay, step = self.gains()
        return (decay * state + step * F.linear(x.to(self.B.dtype), self.B)).to(x.dtype)


class Parcae(RecursiveModel):
    """Final."""

    Config = ParcaeConfig

    def __init__(self, config: ParcaeConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype, scale=1.0, tied=True)
        self.prelude = make_core(config, facts, config.prelude, STYLE)
        self.prelude_norm = Norm(config.width, STYLE.eps)
        self.injection = Injection(config.width)
        self.core = make_core(config, facts, style=STYLE)
        self.C = Linear(config.width, config.width)
        tagged(self.C.weight, decay=False)
        self.coda = make_core(config, facts, config.coda, STYLE)
        self.norm = Norm(config.width, STYLE.eps)
        self.std = math.sqrt(2 / (5 * config.width))  # of all matrices, and of the start
        self.initialise()

    def initialise(self) -> None:
        """Every matrix orthogonal; those that write to the residual 0."""
        orthogonal(self.encoder.tokens, self.std)
        for core in (self.prelude, self.core, self.coda, self.C):
            for name, one in core.named_modules():
                if isinstance(one, Linear) and name.endswith((".out", ".down")):
                    nn.init.zeros_(one.weight)
                elif isinstance(one, Linear):
                    for part in one.weight.detach().chunk(one.parts):
                        orthogonal(part, self.std)

    def encode(self, batch: Batch) -> Tensor:
        return self.prelude_norm(self.prelude(self.encoder(batch)))

    def start(self, x: Tensor, noise: Noise) -> LoopState:
        return LoopState(noise.truncated_normal(x, self.std, CUT))

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        return LoopState(self.core(self.injection(state.z, x)))

    def read(self, state: LoopState) -> Read:
        y = self.norm(self.coda(self.C(state.z)))
        return Read(*self.heads(y, self.encoder.tokens))


def orthogonal(weight: Tensor, std: float) -> None:
    """Make a matrix orthogonal, its entries of that deviation."""
    nn.init.orthogonal_(weight, gain=std * math.sqrt(max(weight.shape)))
