"""What one segment of a model costs, without running it: by its closed form, or counted on tensors
without memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from conf.schema import Config
from tinyreason.depth import stated
from tinyreason.feed import WINDOW
from tinyreason.gradient import Gradient, make_gradient
from tinyreason.models import RecursiveModel, make_model, name_of
from tinyreason.noise import NoNoise
from tinyreason.puzzle import Batch, Facts
from tinyreason.recursion import Depth
from tinyreason.tags import tag_of, tagged

FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Estimate:
    """Of one segment of one puzzle, where nothing else is said."""

    how: str  # it was found out
    flops: dict[str, int]  # of matrix products, by part
    once: dict[str, int]  # of these parts, FLOPs on top that a whole batch costs once
    backward: tuple[str, ...]  # the parts that belong to the backward pass
    # bytes between the forward and the backward pass, each tensor once and parameters not
    kept: int
    kept_again: int  # bytes that recomputing takes on top
    working: int  # bytes that the gradients within one layer take on top; 0 where it is not known
    casts: int  # bytes of weights cast to the activations' type, whatever the batch
    slot: int  # bytes that a slot of the batch has between steps

    @property
    def at_once(self) -> int:
        """Bytes of each that goes through the network."""
        return self.kept + self.kept_again + self.working

    def flops_of(self, batch: int) -> dict[str, int]:
        """Of one segment of so many puzzles, by part."""
        return {part: batch * n + self.once.get(part, 0) for part, n in self.flops.items()}


def gradient_of(config: Config) -> Gradient:
    gradient = make_gradient(config.gradient, config.model.cycle)
    gradient.static = True
    return gradient


def depth_of(config: Config) -> Depth:
    """Of an evaluation; where a depth is drawn, the number around which it is."""
    return stated(config.model.recursions, gradient_of(config))


@contextmanager
def without_memory(config: Config, facts: Facts, dtype: torch.dtype) -> Iterator[RecursiveModel]:
    """The model, in a context in which tensors have shapes and no memory, and choose the kernels of
    a CPU.
    """
    meta = torch.device("meta")
    with meta:
        model = make_model(replace(config.model, dtype=name_of(dtype)), facts, meta)
        model.static = True
    with FakeTensorMode():
        for module in model.modules():
            for own, p in module.named_parameters(recurse=False):
                setattr(
                    module, own, tagged(nn.Parameter(torch.empty(p.shape)), **tag_of(p)._asdict())
                )
            for own, b in module.named_buffers(recurse=False):
                setattr(module, own, torch.empty(b.shape, dtype=b.dtype))
        yield model


def batch_of(facts: Facts, rows: int) -> Batch:
    """So many puzzles, of which shapes alone matter."""
    inputs = torch.zeros(rows, facts.seq_len, dtype=torch.int32)
    return Batch(inputs, inputs.long(), torch.zeros(rows, dtype=torch.int32))


@torch.no_grad()
def state_of(config: Config, facts: Facts, dtype: torch.dtype) -> NamedTuple:
    """The state of one puzzle."""
    with without_memory(config, facts, dtype) as model:
        return model.start(model.encode(batch_of(facts, 1)), NoNoise())


def slot_bytes(state: NamedTuple, facts: Facts) -> int:
    """Bytes that one slot of the batch has between steps: its latents, now and refilled; its
    puzzle; coming puzzles.
    """
    latents = sum(z.nbytes for z in state)
    return 2 * latents + facts.seq_len * (2 * (4 + 8) + 2 * WINDOW)
