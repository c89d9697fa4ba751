"""Attention by the kernel that is fast where it runs.

Everywhere torch's own choice, with one exception: the backward pass of its fused kernel for CPUs is
slow in bfloat16. There the gradient comes from plain matrix products, which read no more than the
fused kernel keeps: forward and backward are 5.7 times as fast at (64 2 36 32), 2.3 times at
(8 8 97 64), on one thread with AMX. In float32 plain products are as fast as the kernel, and
nothing is changed.

B batch, N heads, S sequence, K head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(K)) v, all of them (B N S K)."""
    if slow_backward(q):
        return PlainBackward.apply(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def slow_backward(q: Tensor) -> bool:
    """A gradient will pass the fused kernel for CPUs in bfloat16; none where it is switched off."""
    tracked = torch.is_grad_enabled() and q.requires_grad
    on_cpu = q.device.type == "cpu" and q.dtype == torch.bfloat16
    return tracked and on_cpu and torch.backends.cuda.flash_sdp_enabled()


class PlainBackward(torch.autograd.Function):
    """The fused kernel forward, plain products backward; keeps what the kernel's own would keep."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        y, log_sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
        ctx.save_for_backward(q, k, v, y, log_sums)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, y, log_sums = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        p = (scale * (q @ k.mT) - log_sums[..., None]).exp().to(q.dtype)
        inside = grad @ v.mT - (grad * y).sum(-1, keepdim=True)
        of_scores = scale * p * inside
        return of_scores @ k, of_scores.mT @ q, p.mT @ grad
