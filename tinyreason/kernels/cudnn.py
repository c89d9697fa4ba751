"""Attention by cuDNN, which PyTorch has but does not take by itself: it is faster on some
cards than what PyTorch takes, slower on others.

B batch, N heads, S sequence, K head width.
"""

import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKEND = SDPBackend.CUDNN_ATTENTION


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(K)) v, all of them (B N S K). Raises RuntimeError where it is absent."""
    with sdpa_kernel(BACKEND):
        return F.scaled_dot_product_attention(q, k, v)
