"""Muon (kellerjordan.github.io/posts/muon), with the update's size of arXiv 2502.16982: momentum of
which every matrix is made nearly orthogonal.

Own here: torch's takes its learning rate to the host, so that a recorded step would keep the first
one, and multiplies in bfloat16 on every device, also on those that have it by emulation alone.
"""

import math

import torch
from torch import Tensor

from tinyreason.device import fast_type

A, B, C = 3.4445, -4.7750, 2.0315  # of the quintic, as published
ITERATIONS = 5
MOMENTUM = 0.95


class Muon(torch.optim.Optimizer):
    """m = lerp(m, g, 1 - 0.95);  u = orthogonal(lerp(g, m, 0.95));  p *= 1 - lr wd;

    p -= lr 0.2 sqrt(larger side) u, so that `lr` is on the scale of an Adam step.
    """

    def __init__(self, params, lr: float, weight_decay: float):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            lr, kept = group["lr"], 1 - group["lr"] * group["weight_decay"]
            for p in group["params"]:
                if p.grad is not None:
                    update = orthogonal(self.direction(p), fast_type(p.device))
                    p.mul_(kept)
                    p.sub_(update.to(p.dtype) * (lr * 0.2 * math.sqrt(max(p.shape))))

    def direction(self, p: Tensor) -> Tensor:
        """Nesterov's momentum."""
        if not self.state[p]:
            self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        mean = self.state[p]["momentum_buffer"]
        mean.lerp_(p.grad, 1 - MOMENTUM)
        return p.grad.lerp(mean, MOMENTUM)


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """(m, n) in `dtype`: `matrix` with singular values near 1 (about 0.7 to 1.2), by
    Newton-Schulz.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(dtype)
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x.T if tall else x
