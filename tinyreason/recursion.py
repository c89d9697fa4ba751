"""The one loop of all models: some recursions without gradient, then some with it.

Counted in applications of the fast core, HRM is "H L recursions, the last one tracked" and TRM is
"H L recursions, the last L tracked"; the network itself never knows. Both loops, and all between
them, are the one `unroll`.

A recursion is `recur(state, x, t)`, `x` (B S D) what is injected and `t` its number in the segment,
from 0. A state is a NamedTuple of tensors whose first axis is the slot.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

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


def mixed(share: float, new: State, old: State) -> State:
    """share new + (1 - share) old, latent by latent."""
    return type(new)(*(share * a + (1 - share) * b for a, b in zip(new, old, strict=True)))


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
