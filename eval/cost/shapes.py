"""What one segment of a model costs, from its shapes alone: FLOPs of matrix products, bytes kept for the backward pass.

Exactly as the layers are written. A product (m k)(k n) has 2 m k n FLOPs; a tracked one costs three of it: itself and
the gradients of both its factors. Attention has two products forward and four backward; a fused kernel that computes
the scores again in its backward pass does a fifth, which is not counted.

S sequence (prefix + cells), D width, V vocabulary, N heads, I inner width of a SwiGLU.
"""

from dataclasses import dataclass

from tinyreason.feed import WINDOW
from tinyreason.halting import HaltingConfig
from tinyreason.layers import Inner
from tinyreason.models import ModelConfig
from tinyreason.puzzle import Facts

FLOAT32 = 4  # bytes
LOSS_BYTES = {"stablemax": lambda V: 25 * V + 25, "softmax": lambda V: 4 * V + 9}  # a cell; float64, float32


@dataclass(frozen=True)
class Shapes:
    """A model on a task, as far as its cost goes."""

    model: ModelConfig
    facts: Facts
    halting: HaltingConfig
    loss: str
    bytes: int  # of a number of the activations

    @property
    def S(self) -> int:
        return self.model.prefix + self.facts.seq_len

    def inner(self, outer: int) -> int:
        return Inner(self.model.expansion, self.model.inner_multiple).width(outer)

    def applications(self) -> list[int]:
        """Of a core, by recursion: one, and one more where it closes a cycle."""
        return [1 + ((t + 1) % self.model.L_cycles == 0) for t in range(self.model.depth.total)]

    def tracked(self) -> list[int]:
        """Those with gradient."""
        return self.applications()[-self.model.depth.tracked :]


def linear(rows: int, width_in: int, width_out: int) -> int:
    """FLOPs of a matrix product."""
    return 2 * rows * width_in * width_out


def swiglu(rows: int, width: int, inner: int) -> int:
    """FLOPs, forward."""
    return linear(rows, width, 2 * inner) + linear(rows, inner, width)


def core_flops(s: Shapes) -> int:
    """One application of a core to one puzzle, forward."""
    S, D = s.S, s.model.width
    if s.model.mix == "attention":
        mix = linear(S, D, 3 * D) + linear(S, D, D) + 2 * linear(S, D, S)
    else:
        mix = swiglu(D, S, s.inner(S))
    return s.model.layers * (mix + swiglu(S, D, s.inner(D)))


def flops(s: Shapes) -> dict[str, int]:
    """One segment of one puzzle, by part."""
    D, core, tracked, every = s.model.width, core_flops(s), sum(s.tracked()), sum(s.applications())
    answer, halt = linear(s.S, D, s.facts.vocab_size), linear(1, D, 2)
    ahead = every * core + answer + halt if s.halting.rule == "q_learning" else 0
    learnt = 0 if s.halting.rule == "fixed" else 2 * halt
    return {
        "free forward": (every - tracked) * core,
        "tracked forward": tracked * core,
        "look-ahead": ahead,
        "heads": answer + halt,
        "backward": 2 * tracked * core,
        "recomputed": tracked * core if s.model.checkpoint else 0,
        "heads, backward": 2 * answer + learnt,
    }


BACKWARD = ("backward", "recomputed", "heads, backward")  # parts of `flops`


def core_bytes(s: Shapes) -> int:
    """Kept by one tracked application of a core to one puzzle."""
    return s.model.layers * (mix_bytes(s) + mlp_bytes(s))


def mix_bytes(s: Shapes) -> int:
    """Of the token-mixing half of a block.

    Attention: its input, q k v, turned q and k, its output, a logarithm a head and row; then the norm's input and rows.
    """
    S, D = s.S, s.model.width
    if s.model.mix == "mixer":
        return s.bytes * (S * D + 4 * D * s.inner(S)) + FLOAT32 * (S * D + D)
    turned = 2 * S * D if s.model.positions == "rotary" else 0
    return s.bytes * (5 * S * D + turned) + FLOAT32 * (S * s.model.heads + S * D + S)


def mlp_bytes(s: Shapes) -> int:
    """Of a SwiGLU over the width: its input; gate and up, silu(gate), their product; then the norm's input and rows."""
    S, D = s.S, s.model.width
    return s.bytes * (S * D + 4 * S * s.inner(D)) + FLOAT32 * (S * D + S)


def state_bytes(s: Shapes) -> int:
    """What recomputed recursions start from: the question, the fast latent of each, the slow one of each cycle."""
    tracked = s.tracked()
    slow = 0 if s.model.recursion == "single_z" else 1 + sum(n - 1 for n in tracked[:-1])
    return s.bytes * s.S * s.model.width * (1 + len(tracked) + slow)


def kept(s: Shapes) -> int:
    """Bytes that one puzzle keeps between the forward and the backward pass, each tensor once and parameters not."""
    core = state_bytes(s) if s.model.checkpoint else sum(s.tracked()) * core_bytes(s)
    return core + s.bytes * s.S * s.model.width + s.facts.seq_len * LOSS_BYTES[s.loss](s.facts.vocab_size)


def kept_again(s: Shapes) -> int:
    """Bytes that recomputing takes on top: those of the largest recursion, one at a time."""
    return max(s.tracked()) * core_bytes(s) if s.model.checkpoint else 0


def slot_bytes(s: Shapes) -> int:
    """Bytes that one slot of the batch has between steps: its latents, now and refilled; its puzzle; coming puzzles."""
    latents = 1 if s.model.recursion == "single_z" else 2
    return 2 * latents * s.bytes * s.S * s.model.width + s.facts.seq_len * (2 * (4 + 8) + 2 * WINDOW)


def core_parameters(s: Shapes) -> int:
    """Of one core."""
    S, D = s.S, s.model.width
    mix = 3 * S * s.inner(S) if s.model.mix == "mixer" else 4 * D * D
    return s.model.layers * (mix + 3 * D * s.inner(D))


def casts(s: Shapes) -> int:
    """Bytes of weights cast to the activations' type: each tracked use keeps a copy of its own, whatever the batch."""
    uses = max(s.tracked()) if s.model.checkpoint else sum(s.tracked())
    heads = s.model.width * (s.facts.vocab_size + 2)
    return 0 if s.bytes == FLOAT32 else s.bytes * (uses * core_parameters(s) + heads)
