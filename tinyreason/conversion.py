"""From an untied net to a looped one: which layers are shared, what they start from, and what low
ranks give back.

Source: Relaxed Recursive Transformers, arXiv 2410.20672; its maps as in the public code of
Mixture-of-Recursions.

n layers of the untied net, K loops, b = n / K layers of the looped one (n - 2, with ends).
"""

import torch
from torch import Tensor

from tinyreason.errors import UserError
from tinyreason.sharing import ENDS, layer_map

INITS = ("average", "lower", "upper", "stepwise")


def kept_layers(sharing: str, n: int, K: int) -> list[int]:
    """The layers that are converted: all, or so many that K divides them, evenly spread."""
    ends = 2 if sharing.startswith(ENDS) else 0
    b = (n - ends) // K
    if b < 1:
        raise UserError(f"loops={K}: {n} layers are too few; use loops={max(1, n - ends)} or fewer")
    return spread(0, n - 1, b * K + ends)


def shared_layer(sharing: str, n: int, K: int) -> tuple[int, ...]:
    """The layer of the looped net that each of n layers uses; K divides them."""
    ends = 2 if sharing.startswith(ENDS) else 0
    return layer_map(sharing, n, (n - ends) // K + ends)


def sources(sharing: str, init: str, n: int, K: int) -> list[list[int]]:
    """The untied layers that each layer of the looped net is made of, their mean; K divides n."""
    shared = shared_layer(sharing, n, K)
    groups = [[i for i in range(n) if shared[i] == own] for own in range(max(shared) + 1)]
    if init == "average":
        return groups
    first, last = (1, n - 2) if sharing.startswith(ENDS) else (0, n - 1)
    b = len(groups) - (2 if sharing.startswith(ENDS) else 0)
    chosen = {
        "lower": list(range(first, first + b)),
        "upper": list(range(last - b + 1, last + 1)),
        "stepwise": spread(first, last, b),
    }[init]
    inner = [[i] for i in chosen]
    return [[0], *inner, [n - 1]] if sharing.startswith(ENDS) else inner


def spread(first: int, last: int, count: int) -> list[int]:
    """So many whole numbers from `first` to `last`, evenly, halves to the even one."""
    if count == 1:
        return [first]
    return [round(first + i * (last - first) / (count - 1)) for i in range(count)]


def merged(weights: list[Tensor]) -> Tensor:
    return torch.stack(weights).mean(0)


def low_rank(residual: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """A (r in) and B (out r) whose product B A is the nearest of that rank to `residual` (out in);
    the rows of A are orthonormal. Zeros beyond the rank that a matrix can have.
    """
    U, S, Vh = torch.linalg.svd(residual.double(), full_matrices=False)
    r = min(rank, len(S))
    A = residual.new_zeros(rank, residual.shape[1])
    B = residual.new_zeros(residual.shape[0], rank)
    A[:r], B[:, :r] = Vh[:r].to(A), (U[:, :r] * S[:r]).to(B)
    return A, B
