"""What a recursive model is: encode, start, recur, read.

A model's own are its latents and its `recur`; the verbs around it are the same for the whole family and stand here.

B batch, S sequence (prefix + cells), D width, V vocabulary.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tinyreason.encoder import Encoder, Heads
from tinyreason.layers import Core, Inner, truncated_normal
from tinyreason.puzzle import Batch, Facts
from tinyreason.recursion import Depth, depth_of, recomputed, unroll


@dataclass
class ModelConfig:
    """The model axis and the depth axis of a run; the values stand in `conf/model/*.yaml`."""

    recursion: str  # which `recur`: a name in tinyreason.models.MODELS
    mix: str  # attention | mixer
    width: int  # D
    heads: int
    layers: int  # blocks of one core
    expansion: float  # of the SwiGLUs
    inner_multiple: int  # their inner widths are rounded up to a multiple of it
    H_cycles: int  # T in TRM's paper
    L_cycles: int  # n in TRM's paper
    positions: str  # rotary | learned | grid | none
    prefix: int  # tokens before the cells
    puzzle_embedding: bool
    gradient: str  # one_step | full | bptt | number of recursions
    checkpoint: bool  # recompute each recursion in the backward pass: the same gradient in less memory
    dtype: str  # auto | float32 | bfloat16 of the activations

    @property
    def depth(self) -> Depth:
        """Recursions of a segment, and those that carry gradient."""
        return depth_of(self.gradient, self.H_cycles, self.L_cycles)


class State(NamedTuple):
    """The two latents of HRM and TRM, each (B S D). The first latent of any state is the one that is read."""

    z_H: Tensor  # the answer so far ("y" in TRM's paper)
    z_L: Tensor  # the reasoning ("z" in TRM's paper)


class Read(NamedTuple):
    """What can be read off a state."""

    logits: Tensor  # (B cells V)
    halt: Tensor  # (B 2) float32: logits of "halt" and "continue"

    @property
    def answer(self) -> Tensor:
        """(B cells), the most likely token of each cell."""
        return self.logits.argmax(-1)


class RecursiveModel(nn.Module, ABC):
    """Abstract. `latents` is a NamedTuple class of (B S D) tensors, so reset, detach and select are one line."""

    def __init__(self, config: ModelConfig, facts: Facts, latents: type[NamedTuple], dtype: torch.dtype):
        super().__init__()
        self.latents, self.checkpoint = latents, config.checkpoint
        self.encoder = Encoder(facts, config.width, config.prefix, config.positions, config.puzzle_embedding, dtype)
        self.heads = Heads(facts.vocab_size, config.width, config.prefix)
        for name in latents._fields:  # fixed, never learned, the same at every position; as published
            self.register_buffer(f"start_{name}", truncated_normal((config.width,), 1.0))

    @abstractmethod
    def recur(self, state: NamedTuple, x: Tensor, t: int) -> NamedTuple:
        """Recursion number `t` of the segment, from 0; `x` (B S D) is the encoded batch."""

    def encode(self, batch: Batch) -> Tensor:
        """What is injected at every recursion, (B S D)."""
        return self.encoder(batch)

    def start(self, x: Tensor) -> NamedTuple:
        """A fresh state of the shape of `x`."""
        return self.latents(*(getattr(self, f"start_{k}").to(x.dtype).expand_as(x) for k in self.latents._fields))

    def read(self, state: NamedTuple) -> Read:
        """The answer so far, and whether it is final."""
        return Read(*self.heads(state[0]))

    def forward(self, state: NamedTuple, batch: Batch, depth: Depth) -> tuple[NamedTuple, Read]:
        """One segment of `depth` from `state`. The new state still carries its graph; `Carry.advance` detaches it."""
        return self.segment(state, self.encode(batch), depth)

    def segment(self, state: NamedTuple, x: Tensor, depth: Depth) -> tuple[NamedTuple, Read]:
        """The part of a segment that is worth compiling: all that follows the look-ups."""
        recur = recomputed(self.recur) if self.checkpoint else self.recur
        state = unroll(recur, state, x, depth)
        return state, self.read(state)


def make_core(config: ModelConfig, facts: Facts) -> Core:
    """One tied network of the configured size."""
    length = config.prefix + facts.seq_len
    rotary, inner = config.positions == "rotary", Inner(config.expansion, config.inner_multiple)
    return Core(config.layers, config.mix, config.width, config.heads, inner, length, rotary)


def parameter_count(model: nn.Module) -> int:
    """Trained parameters, as papers count them: puzzle embeddings and initial states are buffers, not counted."""
    return sum(p.numel() for p in model.parameters())
