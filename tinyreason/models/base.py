"""What a recursive model is: encode, start, recur, read.

A model's own are its latents, its options and its `recur`; it never decides how deep it runs, and
owns no data, loss or metric. What puts the verbs together is `segment`.

B batch, S sequence (prefix + cells), D width, V vocabulary.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from tinyreason.encoder import POSITIONS, Encoder, Heads
from tinyreason.layers import MIXES, TRM_STYLE, Core, Inner, Style, make_block, truncated_normal
from tinyreason.noise import Noise
from tinyreason.options import Options, option
from tinyreason.puzzle import Batch, Facts
from tinyreason.recursion import Recur

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@dataclass
class ModelConfig(Options):
    """The model axis of a run: the options of every model. The values stand in `conf/model/*.yaml`.

    A model with options of its own subclasses it in its own file. Either way it states
    `recursions`, those of a segment as published.
    """

    name: str  # in tinyreason.models.MODELS
    mix: str = option(choices=MIXES)
    width: int = option(least=1)  # D
    heads: int = option(least=1, shared_most=65_536)
    layers: int = option(least=1)  # blocks of one core
    expansion: float = option(least=0.1)  # of the SwiGLUs
    inner_multiple: int = option(
        least=1, shared_most=1 << 20
    )  # their inner widths are rounded up to a multiple of it
    positions: str = option(choices=POSITIONS)
    prefix: int = option(least=0)  # tokens before the cells
    puzzle_embedding: bool
    recompute: bool  # each recursion again in the backward pass: the same gradient in less memory
    dtype: str = option(choices=("auto", *DTYPES))  # of the activations

    # recursions between two whole states; None: each of them is one
    cycle: ClassVar[int | None] = None
    # a truncated gradient would leave some parameters without any
    whole_gradient: ClassVar[bool] = False
    # its cells halt for good within a segment
    one_segment: ClassVar[bool] = False
    # recursions leave cells out
    drops_cells: ClassVar[bool] = False
    # each recursion reads the answer, without gradient
    reads_each: ClassVar[bool] = False

    def applied(self, t: int) -> tuple[int, ...] | None:
        """The layers of each application of a core in recursion `t`, if cores are all that costs;
        None: unknown.

        `eval.cost` has a closed form for models that know, and counts on tensors without memory for
        those that do not.
        """
        return None


@dataclass
class CycleConfig(ModelConfig):
    """Of models with a slow state, which moves at the end of each cycle, and a fast one."""

    H_cycles: int = option(least=1, shared_most=256)  # T in TRM's paper
    L_cycles: int = option(least=1, shared_most=256)  # recursions of a cycle; n in TRM's paper

    @property
    def recursions(self) -> int:
        return self.H_cycles * self.L_cycles

    @property
    def cycle(self) -> int:
        return self.L_cycles

    def closes(self, t: int) -> bool:
        """Recursion `t` ends a cycle."""
        return (t + 1) % self.L_cycles == 0

    def applied(self, t: int) -> tuple[int, ...]:
        return (self.layers, self.layers) if self.closes(t) else (self.layers,)


@dataclass
class LoopConfig(ModelConfig):
    """Of models whose recursions are all alike: loops."""

    recursions: int = option(least=1, shared_most=65_536)


class State(NamedTuple):
    """The two latents of HRM and TRM, each (B S D).

    The first latent of any state is the one that is read.
    """

    z_H: Tensor  # the answer so far ("y" in TRM's paper)
    z_L: Tensor  # the reasoning ("z" in TRM's paper)


class LoopState(NamedTuple):
    """The only latent, (B S D)."""

    z: Tensor


class Read(NamedTuple):
    """What can be read off a state."""

    logits: Tensor  # (B cells V)
    halt: Tensor  # (B 2) float32: logits of "halt" and "continue"
    # (B cells) float32: logits of leaving at this recursion, where a model has them
    gate: Tensor | None = None

    @property
    def answer(self) -> Tensor:
        """(B cells), the most likely token of each cell."""
        return self.logits.argmax(-1)


class RecursiveModel(nn.Module, ABC):
    """Abstract. A state is a NamedTuple of tensors of any shape whose first axis is the slot."""

    Config: type[ModelConfig] = ModelConfig
    gates = False  # its reads have a gate
    chains = False  # its state has several, which `chain_reads` and `followed` know
    # shapes that depend on numbers are taken at their largest: to count what it costs
    static = False

    def __init__(
        self,
        config: ModelConfig,
        facts: Facts,
        dtype: torch.dtype,
        scale: float | None = None,
        tied: bool = False,
    ):
        """`scale` multiplies the embedded batch (None: by sqrt(D)); `tied`: `read` hands the
        embedding to the heads.
        """
        super().__init__()
        self.config = config
        embedded = (config.width, config.prefix, config.positions, config.puzzle_embedding)
        self.encoder = Encoder(facts, *embedded, dtype, scale)
        self.heads = Heads(facts.vocab_size, config.width, config.prefix, tied)

    def encode(self, batch: Batch) -> Tensor:
        """What is injected at every recursion, (B S D). A prelude belongs here."""
        return self.encoder(batch)

    @abstractmethod
    def start(self, x: Tensor, noise: Noise) -> NamedTuple:
        """The state of slots that begin with the puzzles of `x`: fixed, x itself, or drawn from
        `noise`.
        """

    @abstractmethod
    def recur(self, state: NamedTuple, x: Tensor, t: int) -> NamedTuple:
        """Recursion number `t` of the segment, from 0; `x` (B S D) is the encoded batch."""

    def recursion(self, noise: Noise) -> Recur:
        """`recur` as a segment calls it. A model that draws random numbers in a recursion takes
        those of recursion t from `noise.at(t)`, so that a recursion that is recomputed repeats
        them.
        """
        return self.recur

    def read(self, state: NamedTuple) -> Read:
        """The answer so far, and whether it is final. A coda belongs here."""
        return Read(*self.heads(state[0]))

    def chain_reads(self, state: NamedTuple) -> list[Read]:
        """The read of each chain."""
        return [self.read(state)]

    def followed(self, before: NamedTuple, state: NamedTuple, order: Tensor) -> NamedTuple:
        """The state that is carried on, where `order` (B chains) has the best chain first."""
        return state

    def penalties(self, state: NamedTuple) -> dict[str, Tensor]:
        """Losses of the model's own at the end of a segment, by name, weighted: (B,) each."""
        return {}

    def adjusted(self) -> list[Tensor]:
        """The buffers that `adjust` changes."""
        return []

    def counted(self) -> list[Tensor]:
        """Buffers of sums over the slots of a step, which `adjust` uses."""
        return []

    def adjust(self) -> None:
        """Move, in place, what is not moved by a gradient; once after each optimizer step."""


class FixedStart(RecursiveModel):
    """Abstract. Each latent starts at a fixed vector, never learned, the same at every position, as
    HRM's and TRM's.
    """

    def __init__(
        self, config: ModelConfig, facts: Facts, latents: type[NamedTuple], dtype: torch.dtype
    ):
        super().__init__(config, facts, dtype)
        self.latents = latents
        for name in latents._fields:
            self.register_buffer(f"start_{name}", truncated_normal((config.width,), 1.0))

    def start(self, x: Tensor, noise: Noise) -> NamedTuple:
        vectors = (getattr(self, f"start_{name}") for name in self.latents._fields)
        return self.latents(*(vector.to(x.dtype).expand_as(x) for vector in vectors))


def make_core(
    config: ModelConfig, facts: Facts, layers: int | None = None, style: Style = TRM_STYLE
) -> Core:
    """One tied network of the configured size, of `layers` blocks if that is not the configured
    number.
    """
    length = config.prefix + facts.seq_len
    rotary, inner = config.positions == "rotary", Inner(config.expansion, config.inner_multiple)
    sizes = (config.mix, config.width, config.heads, inner, length, rotary)
    return Core(make_block(style, *sizes) for _ in range(layers or config.layers))


def parameter_count(model: nn.Module) -> int:
    """Trained parameters, as papers count them: puzzle embeddings and initial states are not."""
    return sum(p.numel() for p in model.parameters())
