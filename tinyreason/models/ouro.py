"""Ouro (LoopLM), "Scaling Latent Reasoning via Looped Language Models", arXiv 2510.25741.

Unusual in it:
- an ordinary stack, looped without feeding the puzzle in again: the state starts as the embedding
  itself
- the final norm is inside the loop, and its output is fed on
- after every loop an answer is read and a gate says, cell by cell, how likely it is to leave there;
  the loss is the expected one over those exits (`supervision=exit_gate`)

Departures: every cell sees every cell; a halting head reads the first token; cross-entropy is that
of `loss=`.

B batch, S sequence (prefix + cells), D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinyreason.layers import Linear, Norm, Style
from tinyreason.models.base import LoopConfig, LoopState, Read, RecursiveModel, make_core
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Facts

STYLE = Style(norms="branch", weighted=True, eps=1e-6)
STD = 0.02  # of all matrices at the start


@dataclass
class OuroConfig(LoopConfig):
    """Of `Ouro`."""

    theta: float = option(least=1)  # of the rotary frequencies


class Ouro(RecursiveModel):
    """Final."""

    Config = OuroConfig
    gates = True

    def __init__(self, config: OuroConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype, scale=1.0)
        self.core = make_core(config, facts, style=STYLE._replace(theta=config.theta))
        self.norm = Norm(config.width, STYLE.eps)
        self.gate = Linear(config.width, 1, bias=True)
        for name, p in self.named_parameters():
            if p.ndim == 2 and name != "heads.halt.weight":
                nn.init.normal_(p, std=STD)

    def start(self, x: Tensor, noise: Noise) -> LoopState:
        return LoopState(x)

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        return LoopState(self.norm(self.core(state.z)))

    def read(self, state: LoopState) -> Read:
        gate = self.gate(state.z)[:, self.config.prefix :, 0]
        return Read(*self.heads(state.z), gate.float())
