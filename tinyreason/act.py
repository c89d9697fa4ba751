"""Adaptive computation time in each cell, arXiv 1603.08983: at every step a cell pays out a share
of its state, and halts where the shares come to the threshold; what is left of 1 is paid then.

B batch, S sequence.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Step(NamedTuple):
    """One step of all cells, (B S) each."""

    share: Tensor  # what is paid out
    total: Tensor  # of the shares so far; 1 exactly where the cell has halted
    remainder: Tensor  # the share, in cells that halt at this step, else 0; carries gradient
    ran: Tensor  # float: 1 in cells that had not halted before


def act_step(leave: Tensor, total: Tensor, threshold: float) -> Step:
    """`leave` (B S) is the probability of halting at this step, `total` (B S) what was paid before.

    A cell that never comes to the threshold pays less than 1 in all.
    """
    running = total < 1
    halts = running & (total + leave > threshold)
    goes_on = running & ~halts
    remainder = torch.where(halts, 1 - total, 0)
    share = torch.where(goes_on, leave, remainder)
    total = torch.where(halts, 1.0, torch.where(goes_on, total + leave, total))
    return Step(share, total, remainder, running.to(leave.dtype))


def sinusoids(places: Tensor, width: int, denominator: int | None = None) -> Tensor:
    """(P,) int -> (P width) float32: sines, then cosines, of timescales from 1 to 10,000.

    The timescales are 10,000^(i / denominator), i below width / 2, which is the denominator where
    none is given.
    """
    half = width // 2
    scales = 1e4 ** -(torch.arange(half, device=places.device) / (denominator or half))
    angles = places[:, None] * scales
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
