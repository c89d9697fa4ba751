"""Huginn, "Scaling up Test-Time Compute with Latent Reasoning: A Recurrent Depth Approach", arXiv
2502.05171.

Unusual in it:
- a prelude embeds the puzzle once, a core refines a state that is fed the embedding at every
  recursion, a coda reads
- the state starts at random, anew for every cell, so that the core must find its way from anywhere
- how deep a step goes is drawn (`depth=poisson`), and the gradient reaches back a fixed way
  (`gradient=last`)
- blocks are normed before each half and again after its residual; the same final norm stands before
  and after the coda

Departures: every cell sees every cell; a halting head reads the first token; cross-entropy is that
of `loss=`.

B batch, S sequence (prefix + cells), D width.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyreason.layers import Linear, Norm, Style, redrawn
from tinyreason.models.base import LoopConfig, LoopState, Read, RecursiveModel, make_core
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Batch, Facts

STYLE = Style(
    norms="sandwich",
    weighted=True,
    eps=1e-6,
    rotary="adjacent",
    theta=50_000.0,
    qk_bias=True,
)
CUT = 3  # deviations at which every normal is truncated


@dataclass
class HuginnConfig(LoopConfig):
    """Of `Huginn`. `layers` are the core's."""

    prelude: int = option(least=1, most=1024)  # blocks before the recursion
    coda: int = option(least=1, most=1024)  # blocks after it
    injection: str = option(choices=("linear", "add"))  # of the embedding into the state
    tied: bool  # the embedding of the tokens reads the answer too


class Huginn(RecursiveModel):
    """Final."""

    Config = HuginnConfig

    def __init__(self, config: HuginnConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype, tied=config.tied)
        self.prelude = make_core(config, facts, config.prelude, STYLE)
        linear = config.injection == "linear"
        self.adapter = Linear(2 * config.width, config.width, matrix=True) if linear else None
        self.core = make_core(config, facts, style=STYLE)
        self.coda = make_core(config, facts, config.coda, STYLE)
        self.norm = Norm(config.width, STYLE.eps)
        self.initialise(config)

    def initialise(self, config: HuginnConfig) -> None:
        """Every matrix alike; those that write to the residual smaller, the deeper the network at
        its mean depth.
        """
        depth = config.prelude + config.coda + config.layers * config.recursions
        for name, p in self.named_parameters():
            if p.ndim == 2 and name != "heads.halt.weight":
                writes = name.endswith((".out.weight", ".down.weight"))
                redrawn(p, math.sqrt((1 / depth if writes else 2) / (5 * config.width)), CUT)

    def encode(self, batch: Batch) -> Tensor:
        return self.prelude(self.encoder(batch))

    def start(self, x: Tensor, noise: Noise) -> LoopState:
        return LoopState(noise.truncated_normal(x, math.sqrt(2 / 5), CUT))

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        if self.adapter is None:
            return LoopState(self.core(state.z + x))
        return LoopState(self.core(self.adapter(torch.cat((state.z, x), dim=-1))))

    def read(self, state: LoopState) -> Read:
        y = self.norm(self.coda(self.norm(state.z)))
        return Read(*self.heads(y, self.encoder.tokens if self.config.tied else None))
