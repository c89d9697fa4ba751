"""Relaxed Recursive Transformer, arXiv 2410.20672: a tied stack whose loops may differ a little.

Unusual in it:
- loop t uses W + B_t A_t in place of each matrix W of the stack, B_t A_t of low rank (LoRA),
  starting at zero: at first it is the plain loop, bit for bit
- the puzzle is not fed in again: the state starts as the embedding itself
- loops beyond those that have a B_t A_t use the last one's

Departures: every cell sees every cell; blocks are those of llama2.c; the embedding reads the answer
too, as in the small published runs; the rest starts as all models here do.

B batch, S sequence (prefix + cells), D width, r rank.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tinyreason.layers import Linear, Norm, Style, truncated_normal
from tinyreason.models.base import LoopConfig, LoopState, Read, RecursiveModel, make_core
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Facts

STYLE = Style(norms="pre", weighted=True, rotary="adjacent")


@dataclass
class RelaxedConfig(LoopConfig):
    """Of `Relaxed`."""

    rank: int = option(least=1)  # r


class LoRA(nn.Module):
    """What each loop adds to a matrix, or to each of several stacked in one (`Linear.parts`)."""

    def __init__(self, linear: Linear, loops: int, rank: int):
        super().__init__()
        width_out, width_in = linear.weight.shape
        parts = linear.parts
        self.A = nn.Parameter(truncated_normal((loops, parts, rank, width_in), width_in**-0.5))
        self.B = nn.Parameter(torch.zeros(loops, parts, width_out // parts, rank))

    def forward(self, t: int) -> Tensor:
        """B_t A_t, (out in)."""
        t = min(t, len(self.A) - 1)
        return (self.B[t] @ self.A[t]).flatten(0, 1)


class Relaxed(RecursiveModel):
    """Final."""

    Config = RelaxedConfig

    def __init__(self, config: RelaxedConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype, scale=1.0, tied=True)
        self.core = make_core(config, facts, style=STYLE)
        self.norm = Norm(config.width, STYLE.eps)
        linears = {n: m for n, m in self.core.named_modules() if isinstance(m, Linear)}
        self.names = [f"{name}.weight" for name in linears]
        self.lora = nn.ModuleList(
            LoRA(linear, config.recursions, config.rank) for linear in linears.values()
        )

    def start(self, x: Tensor, noise: Noise) -> LoopState:
        return LoopState(x)

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        weights = {
            name: self.core.get_parameter(name) + lora(t)
            for name, lora in zip(self.names, self.lora, strict=True)
        }
        return LoopState(functional_call(self.core, weights, (state.z,)))

    def read(self, state: LoopState) -> Read:
        return Read(*self.heads(self.norm(state.z), self.encoder.tokens))
