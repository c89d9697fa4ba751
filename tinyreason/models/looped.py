"""The looped transformer, k layers x L loops, and what varies between papers at its boundary.

- `model=transformer`: the control, an untied stack, which is one loop
- `model=looped`: arXiv 2502.17416; L loops equal the net of k L layers that are copies
- `model=three_part`, `model=frailt` (arXiv 2401.11626): prelude, core and coda with a random start;
  a vector for each loop
- `model=hyper_connections`: arXiv 2604.21106; several lanes at the boundary

Unusual in it: layers may be shared in another order than in turn (`sharing`); loop t is then the
t-th part of the unrolled net. What is indexed by loops (parts, vectors, lanes) is the last one's in
loops beyond those that the model states.

Departures: every cell sees every cell; blocks are those of llama2.c; the embedding reads the answer
too.

B batch, S sequence (prefix + cells), D width, N lanes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinyreason.errors import UserError
from tinyreason.lanes import Lanes
from tinyreason.layers import PLACEMENTS, Linear, Norm, Style
from tinyreason.models.base import LoopConfig, LoopState, Read, RecursiveModel, make_core
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Batch, Facts
from tinyreason.sharing import ENDS, SHARINGS, layer_map
from tinyreason.similarity import similarity
from tinyreason.tags import tagged

STYLE = Style(norms="pre", weighted=True, rotary="adjacent")
STARTS = ("x", "zero", "normal")


@dataclass
class LoopedConfig(LoopConfig):
    """Of `Looped`. `layers` are those of the core."""

    sharing: str = option(choices=SHARINGS)  # middle_*: a layer before the loop, one after it
    injection: str = option(choices=("none", "add", "linear"))  # of x into the state
    start: str = option(choices=STARTS)
    sigma: float = option(least=0)  # deviation of start=normal
    embedding_scale: float | None = option(least=0)  # of what is embedded; None: sqrt(D)
    loop_norm: bool  # a norm of what each loop comes to
    norms: str = option(choices=tuple(PLACEMENTS))  # where they stand in a layer
    residual: float = option(least=0)  # what a layer adds is multiplied by it
    lanes: int = option(least=1, most=64)  # N
    iteration_embedding: bool  # a learned vector for each loop
    similarity: float = option(least=0)  # weight of a penalty on layers that differ from the next
    period: int = option(least=1, most=1024)  # layers from one to that "next"

    @property
    def whole_gradient(self) -> bool:
        return self.lanes > 1

    def order(self, t: int) -> tuple[int, ...] | None:
        """The layers of loop `t`; None: all in turn."""
        layers, name = self.layers, self.sharing.removeprefix(ENDS)
        if name == "cycle":
            return None
        first = layers * min(t, self.recursions - 1)
        return layer_map(name, layers * self.recursions, layers)[first : first + layers]

    def check_together(self, prefix: str) -> None:
        if self.lanes > 1 and (self.injection, self.start) != ("none", "x"):
            needs = f"{prefix}lanes={self.lanes} begin as the puzzle and are not fed it again"
            raise UserError(f"{needs}; use {prefix}injection=none {prefix}start=x")
        if self.similarity and self.period >= self.layers:
            needs = f"{prefix}similarity={self.similarity} compares layers {self.period} apart"
            has = f"{prefix}layers={self.layers} has no two"
            raise UserError(f"{needs} and {has}; use a smaller {prefix}period")


class Looped(RecursiveModel):
    """Final."""

    Config = LoopedConfig

    def __init__(self, config: LoopedConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype, scale=config.embedding_scale, tied=True)
        D, loops, ends = config.width, config.recursions, config.sharing.startswith(ENDS)
        style = STYLE._replace(norms=config.norms, residual=config.residual)
        self.prelude, self.coda = (
            make_core(config, facts, 1, style) if ends else nn.Identity() for _ in range(2)
        )
        self.core = make_core(config, facts, style=style)
        self.adapter = fed_alone(D) if config.injection == "linear" else None
        self.loop_norm = Norm(D, STYLE.eps) if config.loop_norm else nn.Identity()
        self.lanes = Lanes(config.lanes, loops) if config.lanes > 1 else None
        vectors = torch.zeros(loops, D) if config.iteration_embedding else None
        self.iteration = None if vectors is None else tagged(nn.Parameter(vectors), decay=False)
        self.norm = Norm(D, STYLE.eps)

    def encode(self, batch: Batch) -> Tensor:
        return self.prelude(self.encoder(batch))

    def start(self, x: Tensor, noise: Noise) -> LoopState:
        if self.lanes is not None:
            return LoopState(self.lanes.begin(x))
        if self.config.start == "normal":
            return LoopState(self.config.sigma * noise.normal(x))
        return LoopState(x if self.config.start == "x" else torch.zeros_like(x))

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        if self.lanes is None:
            return LoopState(self.loop(self.injected(state.z, x), t))
        new = self.loop(self.lanes.mixed(state.z, t), t)
        return LoopState(self.lanes.moved(state.z, new, t))

    def injected(self, z: Tensor, x: Tensor) -> Tensor:
        """What a loop is given, (B S D)."""
        if self.adapter is not None:
            return self.adapter(torch.cat((x, z), dim=-1))
        return z + x if self.config.injection == "add" else z

    def loop(self, z: Tensor, t: int) -> Tensor:
        """(B S D) -> (B S D)."""
        if self.iteration is not None:
            z = z + self.iteration[min(t, len(self.iteration) - 1)].to(z.dtype)
        return self.loop_norm(self.core(z, order=self.config.order(t)))

    def read(self, state: LoopState) -> Read:
        z = state.z if self.lanes is None else state.z.sum(1)
        return Read(*self.heads(self.norm(self.coda(z)), self.encoder.tokens))

    def penalties(self, state: LoopState) -> dict[str, Tensor]:
        if not self.config.similarity:
            return {}
        unlike = 1 - similarity(self.core.blocks, self.config.period)
        return {"similarity": self.config.similarity * unlike.expand(len(state.z))}


def fed_alone(width: int) -> Linear:
    """From (x, z) to what a loop is given: at first x alone."""
    adapter = Linear(2 * width, width, matrix=True)
    with torch.no_grad():
        adapter.weight.copy_(torch.cat((torch.eye(width), torch.zeros(width, width)), dim=1))
    return adapter
