"""How alike the layers of an untied stack are: the regulariser of "Reasoning with Latent Thoughts",
arXiv 2502.17416, which makes a stack as a looped one while its layers stay its own.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.layers import Linear


def similarity(blocks: Sequence[nn.Module], period: int) -> Tensor:
    """Mean cosine between each matrix of a block and that of the block `period` later, a scalar
    from -1 to 1. There must be more than `period` blocks.
    """
    found = []
    for one, other in zip(blocks[:-period], blocks[period:], strict=True):
        pairs = zip(matrices(one), matrices(other), strict=True)
        found += [F.cosine_similarity(a.flatten(), b.flatten(), dim=0) for a, b in pairs]
    return torch.stack(found).mean()


def matrices(block: nn.Module) -> list[Tensor]:
    """Each for itself: stacked as one, a large one of them would speak for the others."""
    linears = [module for module in block.modules() if isinstance(module, Linear)]
    return [part for linear in linears for part in linear.weight.chunk(linear.parts)]
