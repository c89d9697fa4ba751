"""Through how many of the last recursions, or how, the gradient flows.

Counted in applications of the fast core, HRM is "H L recursions, the last one tracked" and TRM is
"H L recursions, the last L tracked"; the network itself never knows. Both loops, and all between
them, are the one `unroll`.

A recursion is `recur(state, x, t)`, `x` (B S D) what is injected and `t` its number in the segment,
from 0. A state is a NamedTuple of tensors whose first axis is the slot.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tinyreason.noise import Noise
from tinyreason.options import Options, chosen, option

State = NamedTuple
Recur = Callable[[State, Tensor, int], State]


class Depth(NamedTuple):
    """The recursions of a segment."""

    total: int
    tracked: int  # the last so many carry gradient
    live: Tensor | None = None  # (total B) bool: the rows that each recursion moves; None: all
    # what `recur` is told for each of them, where some of the model's own are left out; None: 0,
    # 1, 2, ...
    numbers: tuple[int, ...] | None = None

    def of(self, rows: slice) -> "Depth":
        """That of the slots `rows` alone."""
        return self if self.live is None else self._replace(live=self.live[:, rows])


@dataclass
class GradientConfig(Options):
    """The gradient axis of a run; the values stand in `conf/gradient/*.yaml`."""

    name: str  # in GRADIENTS


class Gradient(ABC):
    """Abstract. How many recursions carry gradient, and how the states of those come about."""

    Config: type[GradientConfig] = GradientConfig
    plain = True  # the states are those of `unroll`

    def __init__(self, config: GradientConfig, cycle: int | None):
        """`cycle`: recursions between two whole states, as L_cycles of TRM; None where each of them
        is one.
        """
        self.config = config
        self.cycle = cycle

    @abstractmethod
    def tracked(self, total: int) -> int:
        """How many of `total` recursions carry gradient."""

    def states(self, recur: Recur, state: State, x: Tensor, depth: Depth) -> Iterator[State]:
        """The states after each tracked recursion, one at a time."""
        return unroll(recur, state, x, depth)

    def penalties(
        self, recur: Recur, state: State, x: Tensor, depth: Depth, noise: Noise
    ) -> dict[str, Tensor]:
        """Losses of the scheme's own at the last state of a training segment, by name, weighted:
        (B,) each.
        """
        return {}


def unroll(recur: Recur, state: State, x: Tensor, depth: Depth) -> Iterator[State]:
    """All recursions in turn, the first ones without gradient; the states after the others."""
    state = settled(recur, state, x, depth)
    for t in range(depth.total - depth.tracked, depth.total):
        state = recur(state, x, t)
        yield state


@torch.no_grad()
def settled(recur: Recur, state: State, x: Tensor, depth: Depth) -> State:
    """The state after the recursions that carry no gradient."""
    for t in range(depth.total - depth.tracked):
        state = recur(state, x, t)
    return state


class OneStep(Gradient):
    """The last recursion, as in HRM. Source: arXiv 2506.21734, "approximate gradient"."""

    def tracked(self, total: int) -> int:
        return 1


class Full(Gradient):
    """The last cycle, as in TRM; all recursions of a model without cycles. Source: arXiv
    2510.04871, section 4.1.
    """

    def tracked(self, total: int) -> int:
        return min(total, self.cycle or total)


class Bptt(Gradient):
    """All recursions of the segment: back-propagation through time."""

    def tracked(self, total: int) -> int:
        return total


@dataclass
class LastConfig(GradientConfig):
    """Of `Last`."""

    recursions: int = option(least=1)


class Last(Gradient):
    """The last so many recursions: truncated back-propagation through time."""

    Config = LastConfig

    def tracked(self, total: int) -> int:
        return min(total, self.config.recursions)


@dataclass
class PhantomConfig(GradientConfig):
    """Of `Phantom`."""

    recursions: int = option(least=1)  # k, whole cycles where the model has cycles
    damping: float = option(least=0, most=1)  # tau; 1: not damped


class Phantom(Gradient):
    """The last k recursions, damped: z <- tau f(z) + (1 - tau) z. k = 1, tau = 1 is the one-step
    gradient.

    Source: phantom gradients, arXiv 2111.05177. Of a model with cycles, f is a whole cycle.
    """

    Config = PhantomConfig
    plain = False

    def tracked(self, total: int) -> int:
        return min(total, self.config.recursions * (self.cycle or 1))

    def states(self, recur: Recur, state: State, x: Tensor, depth: Depth) -> Iterator[State]:
        unit, tau = self.cycle or 1, self.config.damping
        state = settled(recur, state, x, depth)
        for start in range(depth.total - depth.tracked, depth.total, unit):
            new = state
            for t in range(start, min(start + unit, depth.total)):
                new = recur(new, x, t)
            state = mixed(tau, new, state)
            yield state


def mixed(share: float, new: State, old: State) -> State:
    """share new + (1 - share) old, latent by latent."""
    return type(new)(*(share * a + (1 - share) * b for a, b in zip(new, old, strict=True)))


@dataclass
class ImplicitConfig(GradientConfig):
    """Of `Implicit`."""

    solver: str = option(choices=("iterate",))  # of the linear equation in the backward pass
    iterations: int = option(least=1)  # of the solver


class Implicit(Gradient):
    """The gradient at a fixed point, by the implicit function theorem: memory of one recursion,
    exact where it settled.

    The state after the free recursions is taken for the fixed point z* of f, the last recursion (of
    a model with cycles, the last cycle). Backwards, g = J' g + dloss/dz is solved, J the Jacobian
    of f at z*, and g goes into f. Source: deep equilibrium models, arXiv 1909.01377. The equation
    is solved by so many iterations, without a test of convergence, for which the host would have to
    wait.
    """

    Config = ImplicitConfig
    plain = False

    def tracked(self, total: int) -> int:
        return min(total, self.cycle or 1)

    def states(self, recur: Recur, state: State, x: Tensor, depth: Depth) -> Iterator[State]:
        state = settled(recur, state, x, depth)
        point = type(state)(*(z.detach().requires_grad_() for z in state))
        new = point
        for t in range(depth.total - depth.tracked, depth.total):
            new = recur(new, x, t)
        if torch.is_grad_enabled():
            new = type(new)(*Adjoint.apply(self.config.iterations, len(point), *point, *new))
        yield new


class Adjoint(torch.autograd.Function):
    """The identity on a state; turns the loss's gradient there into that at the fixed point."""

    @staticmethod
    def forward(ctx, iterations: int, latents: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.iterations = iterations
        ctx.point, ctx.new = tensors[:latents], tensors[latents:]
        return tuple(z.clone() for z in ctx.new)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple:
        with torch.enable_grad():
            g = grads
            for _ in range(ctx.iterations):
                back = torch.autograd.grad(
                    ctx.new,
                    ctx.point,
                    g,
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
                g = tuple(a + b for a, b in zip(grads, back, strict=True))
        return None, None, *(None for _ in ctx.point), *g


GRADIENTS: dict[str, type[Gradient]] = {
    "one_step": OneStep,
    "full": Full,
    "bptt": Bptt,
    "last": Last,
    "phantom": Phantom,
    "implicit": Implicit,
}


def make_gradient(config: GradientConfig, cycle: int | None) -> Gradient:
    """The scheme of the name in `gradient.name`. Raises UserError if there is none."""
    return chosen(GRADIENTS, "gradient.name", config.name)(config, cycle)


def recomputed(recur: Recur) -> Recur:
    """`recur`, keeping nothing for the backward pass but what goes in; the rest is computed there
    again.

    Activation checkpointing by recursion: the same gradient for one recursion's memory and a third
    more work.
    """

    def again(state: State, x: Tensor, t: int) -> State:
        if not torch.is_grad_enabled():
            return recur(state, x, t)

        def inner(x: Tensor, *latents: Tensor) -> State:
            return recur(type(state)(*latents), x, t)

        # Reentrant checkpoints silently drop the gradient where no input carries one. Random
        # numbers are functions of the recursion's number: no generator to rewind.
        return checkpoint(inner, x, *state, use_reentrant=False, preserve_rng_state=False)

    return again


def numbered(recur: Recur, numbers: tuple[int, ...]) -> Recur:
    """`recur`, told at its t-th call that it is recursion `numbers[t]`."""
    return lambda state, x, t: recur(state, x, numbers[t])


def only_live(recur: Recur, live: Tensor) -> Recur:
    """`recur`, moving at recursion t the rows of `live[t]` (B) alone."""

    def some(state: State, x: Tensor, t: int) -> State:
        return where(live[t], recur(state, x, t), state)

    return some


def where(rows: Tensor, one: State, other: State) -> State:
    """The state with the `rows` (B) bool of `one` and all others of `other`."""
    return type(one)(*(select(rows, a, b) for a, b in zip(one, other, strict=True)))


def select(rows: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """(B ...): the `rows` (B) bool of `one`, all others of `other`."""
    return torch.where(rows.view(-1, *[1] * (one.ndim - 1)), one, other)
