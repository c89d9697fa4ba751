"""How alike the layers of an untied stack are: the regulariser of "Reasoning with Latent Thoughts",
arXiv 2502.17416, which makes a stack as a looped one while its layers stay its own.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def similarity(blocks: Sequence[nn.Module], period: int) -> Tensor:
    """Mean cosine between the matrices of each block and those of the block `period` later, a
    scalar from -1 to 1. 1 where there are no two such blocks.
    """
    found = []
    for one, other in zip(blocks[:-period], blocks[period:], strict=True):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            if a.ndim == 2:
                found.append(F.cosine_similarity(a.flatten(), b.flatten(), dim=0))
    return torch.stack(found).mean() if found else torch.ones((), device=device_of(blocks))


def device_of(blocks: Sequence[nn.Module]) -> torch.device:
    return next(blocks[0].parameters()).device
