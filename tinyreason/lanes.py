"""Hyper-connections at the boundary of a loop, arXiv 2604.21106: several states side by side, which
a loop reads mixed and writes to.

B batch, N lanes, S sequence, D width.
"""

import torch
from torch import Tensor, nn

from tinyreason.tags import tagged


class Lanes(nn.Module):
    """The mixing weights of each loop: N^2 + 2 N numbers. Loops beyond those that have some use the
    last one's.

    They start as a residual loop: each loop reads lane t mod N and adds its output to every lane.
    """

    def __init__(self, lanes: int, loops: int):
        super().__init__()
        own = torch.arange(loops) % lanes
        alpha = torch.zeros(loops, lanes)
        alpha[torch.arange(loops), own] = 1
        self.alpha = tagged(nn.Parameter(alpha), decay=False)  # what a loop reads
        eye = torch.eye(lanes).repeat(loops, 1, 1)
        self.mixing = tagged(nn.Parameter(eye), decay=False)  # what a lane keeps of each
        self.beta = tagged(nn.Parameter(torch.ones(loops, lanes)), decay=False)  # and takes

    def begin(self, x: Tensor) -> Tensor:
        """(B S D) -> (B N S D), all alike."""
        return x[:, None].expand(-1, self.alpha.shape[1], -1, -1)

    def mixed(self, lanes: Tensor, t: int) -> Tensor:
        """What loop `t` reads: (B N S D) -> (B S D)."""
        return (self.of(self.alpha, t, lanes)[:, None, None] * lanes).sum(1)

    def moved(self, lanes: Tensor, new: Tensor, t: int) -> Tensor:
        """The lanes after loop `t` came to `new` (B S D)."""
        kept = (self.of(self.mixing, t, lanes)[:, :, None, None] * lanes[:, None]).sum(2)
        return kept + self.of(self.beta, t, lanes)[:, None, None] * new[:, None]

    def of(self, weights: Tensor, t: int, lanes: Tensor) -> Tensor:
        """Those of loop `t`."""
        return weights[min(t, len(weights) - 1)].to(lanes.dtype)
