"""How deep a segment goes, and how far its gradient reaches back.

Counted in applications of the fast core, HRM is "H L recursions, the last one tracked" and TRM is "H L recursions,
the last L tracked"; the network itself never knows. Both loops, and all between them, are this one `unroll`.

Sources: HRM, arXiv 2506.21734, "approximate gradient"; TRM, arXiv 2510.04871, section 4.1.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tinyreason.errors import UserError


class Depth(NamedTuple):
    """Recursions of a segment, and how many of the last carry gradient."""

    total: int
    tracked: int


SCHEMES = {
    "one_step": lambda H_cycles, L_cycles: 1,  # HRM: the last recursion
    "full": lambda H_cycles, L_cycles: L_cycles,  # TRM: the last cycle
    "bptt": lambda H_cycles, L_cycles: H_cycles * L_cycles,  # all of the segment
}


def depth_of(gradient: str | int, H_cycles: int, L_cycles: int) -> Depth:
    """The depth of `model.gradient`: a scheme's name, or the number of recursions to track."""
    total = H_cycles * L_cycles
    if gradient in SCHEMES:
        return Depth(total, SCHEMES[gradient](H_cycles, L_cycles))
    if str(gradient).isdecimal() and 1 <= int(gradient) <= total:
        return Depth(total, int(gradient))
    raise UserError(
        f"model.gradient={gradient} is unknown; type one of {', '.join(SCHEMES)} or a number from 1 to {total}"
    )


def recomputed(recur: Callable) -> Callable:
    """`recur`, of which the backward pass is kept no more than what goes in; the rest is computed there again.

    Activation checkpointing by recursion: the same gradient for one recursion's memory and a third more work.
    """

    def again(state: NamedTuple, x: Tensor, t: int) -> NamedTuple:
        if not torch.is_grad_enabled():
            return recur(state, x, t)

        def inner(x: Tensor, *latents: Tensor) -> NamedTuple:
            return recur(type(state)(*latents), x, t)

        # reentrant checkpoints drop the gradient silently where no input carries one; nothing here draws random numbers
        return checkpoint(inner, x, *state, use_reentrant=False, preserve_rng_state=False)

    return again


def unroll(recur: Callable, state: NamedTuple, x: Tensor, depth: Depth) -> NamedTuple:
    """Apply `recur(state, x, t)` for t = 0 .. total - 1, the first ones without gradient."""
    free = depth.total - depth.tracked
    with torch.no_grad():
        for t in range(free):
            state = recur(state, x, t)
    for t in range(free, depth.total):
        state = recur(state, x, t)
    return state
