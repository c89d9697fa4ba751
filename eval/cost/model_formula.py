"""What one segment of a model costs, from its shapes alone: FLOPs of matrix products, bytes kept
for the backward pass.

Exactly as the layers are written. A product (m k)(k n) has 2 m k n FLOPs; a tracked one costs three
of it: itself and the gradients of both its factors. Attention has two products forward and four
backward; a fused kernel that computes the scores again in its backward pass does a fifth, which is
not counted.

S sequence (prefix + cells), D width, V vocabulary, N heads, I inner width of a SwiGLU.
"""

from dataclasses import dataclass

import torch

from conf.schema import Config
from eval.cost.model_estimate import FLOAT32, Estimate, depth_of, slot_bytes, state_of
from tinyreason.halting import RULES, HaltingConfig
from tinyreason.layers import Inner
from tinyreason.models import ModelConfig
from tinyreason.puzzle import Facts
from tinyreason.recursion import Depth

LOSS_BYTES = {  # of a cell: float64, float32
    "stablemax": lambda V: 25 * V + 25,
    "softmax": lambda V: 4 * V + 9,
}


@dataclass(frozen=True)
class Shapes:
    """A model on a task, as far as its cost goes."""

    model: ModelConfig
    depth: Depth
    facts: Facts
    halting: HaltingConfig
    loss: str
    bytes: int  # of a number of the activations
    latents: int  # of a state

    @property
    def S(self) -> int:
        return self.model.prefix + self.facts.seq_len

    def inner(self, outer: int) -> int:
        return Inner(self.model.expansion, self.model.inner_multiple).width(outer)

    def layers(self) -> list[int]:
        """Blocks applied, by recursion."""
        return [sum(self.model.applied(t)) for t in range(self.depth.total)]

    def tracked(self) -> list[int]:
        """Those with gradient."""
        return self.layers()[-self.depth.tracked :]


def closed(config: Config, facts: Facts, dtype: torch.dtype) -> Estimate:
    """The closed form of a model that says which cores it applies."""
    state = state_of(config, facts, dtype)
    s = Shapes(
        model=config.model,
        depth=depth_of(config),
        facts=facts,
        halting=config.halting,
        loss=config.loss,
        bytes=dtype.itemsize,
        latents=len(state),
    )
    return Estimate(
        how="closed form",
        flops=flops(s),
        once={},
        backward=BACKWARD,
        kept=kept(s),
        kept_again=kept_again(s),
        working=working(s),
        casts=casts(s),
        slot=slot_bytes(state, facts),
    )


def linear(rows: int, width_in: int, width_out: int) -> int:
    """FLOPs of a matrix product."""
    return 2 * rows * width_in * width_out


def swiglu(rows: int, width: int, inner: int) -> int:
    """FLOPs, forward."""
    return linear(rows, width, 2 * inner) + linear(rows, inner, width)


def block_flops(s: Shapes) -> int:
    """One application of a block to one puzzle, forward."""
    S, D = s.S, s.model.width
    if s.model.mix != "mixer":
        mix = linear(S, D, 3 * D) + linear(S, D, D) + 2 * linear(S, D, S)
    else:
        mix = swiglu(D, S, s.inner(S))
    return mix + swiglu(S, D, s.inner(D))


def flops(s: Shapes) -> dict[str, int]:
    """One segment of one puzzle, by part."""
    D, block = s.model.width, block_flops(s)
    tracked, every = sum(s.tracked()), sum(s.layers())
    answer, halt = linear(s.S, D, s.facts.vocab_size), linear(1, D, 2)
    rule = RULES[s.halting.rule]
    learnt = 2 * halt if rule.learns else 0
    read = answer + halt if s.model.reads_each else 0
    again = every * block + s.depth.total * read + answer + halt
    ahead = again if rule.looks_ahead else 0
    return {
        "free forward": (every - tracked) * block + (s.depth.total - s.depth.tracked) * read,
        "tracked forward": tracked * block + s.depth.tracked * read,
        "look-ahead": ahead,
        "heads": answer + halt,
        "backward": 2 * tracked * block,
        "recomputed": tracked * block + s.depth.tracked * read if s.model.recompute else 0,
        "heads, backward": 2 * answer + learnt,
    }


BACKWARD = ("backward", "recomputed", "heads, backward")  # parts of `flops`


def core_bytes(s: Shapes, recursions: range) -> int:
    """Kept by the cores that tracked recursions apply to one puzzle: the input of each core, and
    what its blocks keep.
    """
    applied = [s.model.applied(t) for t in recursions]
    # a single latent goes on as the last norm kept it; two are added first
    inputs = sum(len(cores) if s.latents > 1 else 1 for cores in applied)
    blocks = sum(sum(cores) for cores in applied)
    return inputs * s.bytes * s.S * s.model.width + blocks * (mix_bytes(s) + mlp_bytes(s))


def mix_bytes(s: Shapes) -> int:
    """Of the token-mixing half of a block: the norm's result and divisors; of a SwiGLU gate and up;
    of attention q k v, turned q and k, its output, a logarithm a head and row.
    """
    S, D = s.S, s.model.width
    if s.model.mix == "mixer":
        return s.bytes * (S * D + 2 * D * s.inner(S)) + FLOAT32 * D
    turned = 2 * S * D if s.model.positions == "rotary" else 0
    normed = normed_bytes(s) if s.model.mix == "normed_attention" else 0
    return s.bytes * (5 * S * D + turned) + FLOAT32 * (S * s.model.heads + S) + normed


def normed_bytes(s: Shapes) -> int:
    """Of QK-norm: its divisors; queries and keys normed, in place of what was turned."""
    S, D = s.S, s.model.width
    instead = 2 * S * D if s.model.positions == "rotary" else 0
    return FLOAT32 * 2 * S * s.model.heads + s.bytes * (2 * S * D - instead)


def mlp_bytes(s: Shapes) -> int:
    """Of the other half: the norm's result and divisors, gate and up."""
    S, D = s.S, s.model.width
    return s.bytes * (S * D + 2 * S * s.inner(D)) + FLOAT32 * S


def state_bytes(s: Shapes) -> int:
    """What recomputed recursions start from: the question, the fast latent of each, the slow one of
    each cycle.
    """
    first = s.depth.total - s.depth.tracked
    closed_before = sum(len(s.model.applied(t)) - 1 for t in range(first, s.depth.total - 1))
    slow = 1 + closed_before if s.latents > 1 else 0
    return s.bytes * s.S * s.model.width * (1 + s.depth.tracked + slow)


def kept(s: Shapes) -> int:
    """Bytes that one puzzle keeps between the forward and the backward pass, each tensor once and
    parameters not.
    """
    first = s.depth.total - s.depth.tracked
    tracked = range(first, s.depth.total)
    cores = state_bytes(s) if s.model.recompute else core_bytes(s, tracked)
    loss = s.facts.seq_len * LOSS_BYTES[s.loss](s.facts.vocab_size)
    # what is read is the last norm's result, which is kept already
    read = s.bytes * s.S * s.model.width if s.model.recompute else 0
    return cores + read + loss


def kept_again(s: Shapes) -> int:
    """Bytes that recomputing takes on top: those of the largest recursion, one at a time."""
    if not s.model.recompute:
        return 0
    return max(core_bytes(s, range(t, t + 1)) for t in range(s.depth.total))


def working(s: Shapes) -> int:
    """Bytes of the backward pass within the largest SwiGLU: gradients of gate and up, the hidden
    features and their gradient.
    """
    S, D = s.S, s.model.width
    rows = S * s.inner(D)
    columns = D * s.inner(S) if s.model.mix == "mixer" else 0
    return 4 * s.bytes * max(rows, columns)


def block_parameters(s: Shapes) -> int:
    """Of one block."""
    S, D = s.S, s.model.width
    mix = 3 * S * s.inner(S) if s.model.mix == "mixer" else 4 * D * D
    return mix + 3 * D * s.inner(D)


def casts(s: Shapes) -> int:
    """Bytes of weights cast to the activations' type: each tracked use keeps a copy of its own,
    whatever the batch.
    """
    uses = max(s.tracked()) if s.model.recompute else sum(s.tracked())
    heads = s.model.width * (s.facts.vocab_size + 2)
    return 0 if s.bytes == FLOAT32 else s.bytes * (uses * block_parameters(s) + heads)
