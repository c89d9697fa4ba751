"""Attention by the kernel that is fast where it runs.

Everywhere torch's own choice, with one exception: the backward pass of its fused kernel for CPUs is
slow in bfloat16. There the gradient comes from plain matrix products, which read no more than the
fused kernel keeps and round where it does: scores and their gradients are float32. Forward and
backward are 6.4 times as fast at (64 2 36 32), 2.2 to 2.7 times at (8 8 97 64), on one thread with
AMX. In float32 plain products are as fast as the kernel, and nothing is changed.

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
        # the kernel sums in float32: rounded scores would be far off where they are large
        wide = torch.promote_types(q.dtype, torch.float32)
        scale = q.shape[-1] ** -0.5
        p = (scale * (q.to(wide) @ k.to(wide).mT) - log_sums[..., None]).exp()
        inside = grad.to(wide) @ v.to(wide).mT - (grad.to(wide) * y).sum(-1, keepdim=True)
        of_scores = (scale * p * inside).to(q.dtype)
        return of_scores @ k, of_scores.mT @ q, p.to(q.dtype).mT @ grad
