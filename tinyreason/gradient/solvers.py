"""Looking for a fixed point of a function of vectors, each row for itself, without gradient.

Sources: deep equilibrium models, arXiv 1909.01377; phantom gradients, arXiv 2111.05177.

B rows, n numbers of a row, m remembered steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]  # (B n) -> (B n)


@dataclass
class Solved:
    """What a search came to; the rows' best so far while it is under way."""

    z: Tensor  # (B n), the value of the function where it moved least
    absolute: Tensor  # (B,), how far it moved there
    relative: Tensor  # (B,), by the length of the value
    call: Tensor  # (B,) int, of the function, from 1
    calls: int = 0
    last: Tensor | None = None  # (B n), the newest value, whether it is the best or not

    def keep(self, at: Tensor, value: Tensor, by: str) -> Tensor:
        """Note a call of the function; (B,): how far it moved, `by` "absolute" or "relative"."""
        self.last = value
        moved = (value - at).norm(dim=-1)
        share = moved / (value.norm(dim=-1) + 1e-9)
        found, lowest = (moved, self.absolute) if by == "absolute" else (share, self.relative)
        better = found < lowest
        self.z = torch.where(better[:, None], value, self.z)
        self.call = torch.where(better, self.calls, self.call)
        self.absolute = torch.minimum(moved, self.absolute)
        self.relative = torch.minimum(share, self.relative)
        return found


def none_yet(z: Tensor) -> Solved:
    far = torch.full_like(z[:, 0], torch.inf)
    return Solved(z, far, far, torch.zeros_like(far, dtype=torch.int64))


@dataclass
class Search:
    """How to look for it."""

    most: int  # calls of the function
    mixing: float  # tau: share of the new in every step
    tolerance: float  # a search ends where no row moves further; 0: never before `most`
    memory: int  # m, of Anderson's
    ridge: float  # lambda, of Anderson's; absolute, so it averages where rows hardly move
    by: str = "absolute"  # or "relative"
    seen: list[Tensor] | None = field(default=None)  # where the function was called, if asked for

    def called(self, f: Function, z: Tensor, found: Solved) -> Tensor:
        found.calls += 1
        if self.seen is not None:
            self.seen.append(z)
        return f(z)

    def over(self, moved: Tensor) -> bool:
        """Waits for the device, if there is a tolerance."""
        return self.tolerance > 0 and bool(moved.max() < self.tolerance)


@torch.no_grad()
def damped(f: Function, z: Tensor, search: Search) -> Solved:
    """z <- tau f(z) + (1 - tau) z."""
    found = none_yet(z)
    for _ in range(search.most):
        new = search.mixing * search.called(f, z, found) + (1 - search.mixing) * z
        moved = found.keep(z, new, search.by)
        z = new
        if search.over(moved):
            break
    return found


@torch.no_grad()
def anderson(f: Function, z: Tensor, search: Search) -> Solved:
    """Anderson acceleration: each step goes to the mixture of the last m that moves least."""
    found, m = none_yet(z), search.memory
    X, F = z.new_zeros(m, *z.shape), z.new_zeros(m, *z.shape)
    for k in range(search.most):
        n = min(k, m)
        if k > 1:
            weights = cancelling(F[:n] - X[:n], search.ridge)
            mean_F, mean_X = (torch.einsum("bm,mbn->bn", weights, Y[:n]) for Y in (F, X))
            z = search.mixing * mean_F + (1 - search.mixing) * mean_X
        value = search.called(f, z, found)
        X[k % m], F[k % m] = z, value
        moved = found.keep(z, value, search.by)
        z = value
        if k > 1 and search.over(moved):
            break
    return found


def cancelling(G: Tensor, ridge: float) -> Tensor:
    """(m B n) moves -> (B m) weights that sum to 1 and make their mixture short."""
    G = G.transpose(0, 1)
    B, m, _ = G.shape
    H = G.new_zeros(B, m + 1, m + 1)
    H[:, 0, 1:] = H[:, 1:, 0] = 1
    H[:, 1:, 1:] = G @ G.mT + ridge * torch.eye(m, dtype=G.dtype, device=G.device)
    y = G.new_zeros(B, m + 1)
    y[:, 0] = 1
    return torch.linalg.solve(H, y)[:, 1:]


SOLVERS: dict[str, Callable[[Function, Tensor, Search], Solved]] = {
    "damped": damped,
    "anderson": anderson,
}
