"""SwiGLU and the root-mean-square norm with gradients of their own.

Unusual in them:
- kept for the backward pass are gate and up (SwiGLU) and the result (norm), which the next product
  keeps anyway; the rest is computed there again by cheap operations, so autograd's four tensors of
  the inner width become two, and a norm in float32 keeps no float32 copy of a bf16 input
- gate and up are the halves of one product, and so are their gradients: nothing is cut or joined
- SwiGLU mixes the features of rows (N D), or the tokens of sequences (B S D), multiplied from the
  left: one product a sequence, whose bits depend on no other, and no tensor is transposed

Where a compiler sees them (`torch.compile`) the plain formulas speak. A gradient of the gradient is
that of the plain formula for SwiGLU, and the norm's own.

B batch, S sequence, D width, I inner width, N rows.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

aten = torch.ops.aten


def times(x: Tensor, weight: Tensor, tokens: bool) -> Tensor:
    """A linear map of features, or of tokens; `weight` (out in)."""
    if tokens:
        return torch.bmm(weight.expand(len(x), -1, -1), x)
    return x @ weight.T


def weight_gradient(d: Tensor, x: Tensor, tokens: bool) -> Tensor:
    """(out in), where `d` is the gradient of `times(x, weight)`."""
    if tokens:
        return torch.bmm(d, x.mT).sum(0)
    return d.T @ x


def halves(x: Tensor, tokens: bool) -> tuple[Tensor, Tensor]:
    """Gate and up: views."""
    return x.chunk(2, dim=1 if tokens else -1)


def plain_swiglu(x: Tensor, gate_up: Tensor, down: Tensor, tokens: bool = False) -> Tensor:
    """down (silu(gate x) * up x): of rows (N D), or of the tokens of (B S D).

    `gate_up` (2I in) has gate above up, `down` is (out I). Source: arXiv 2002.05202.
    """
    if tokens:
        return plain_swiglu(x.transpose(1, 2), gate_up, down).transpose(1, 2)
    return F.linear(plain_gated(x, gate_up), down)


def plain_gated(x: Tensor, gate_up: Tensor) -> Tensor:
    """silu(gate x) * up x: (... D) -> (... I)."""
    gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
    return F.silu(gate) * up


class SwiGLUFunction(Function):
    """`plain_swiglu` in fewer passes over memory."""

    @staticmethod
    def forward(ctx, x: Tensor, gate_up: Tensor, down: Tensor, tokens: bool) -> Tensor:
        inner = times(x, gate_up, tokens)
        gate, up = halves(inner, tokens)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, inner, gate_up, down)
            ctx.tokens = tokens
            return times(F.silu(gate).mul_(up), down, tokens)
        return times(F.silu(gate, inplace=True).mul_(up), down, tokens)

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, inner, gate_up, down = ctx.saved_tensors
        tokens = ctx.tokens
        if torch.is_grad_enabled():  # a gradient of this one is asked for
            plain = partial(plain_swiglu, tokens=tokens)
            return *again(plain, dy, x, gate_up, down), None

        gate, up = halves(inner, tokens)
        d_inner = torch.empty_like(inner)
        d_gate, d_up = halves(d_inner, tokens)
        active = aten.silu.out(gate, out=d_up)
        hidden = active * up
        d_hidden = times(dy, down.T, tokens)
        d_down = weight_gradient(dy, hidden, tokens)
        active.mul_(d_hidden)  # from here on d_up
        torch.mul(d_hidden, up, out=hidden)
        aten.silu_backward.grad_input(hidden, gate, grad_input=d_gate)
        d_x = times(d_inner, gate_up.T, tokens)
        return d_x, weight_gradient(d_inner, x, tokens), d_down, None


def again(f: Callable[..., Tensor], d: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The gradients of f(*inputs), by autograd and with a graph."""
    return torch.autograd.grad(f(*inputs), inputs, d, create_graph=True)


def plain_rms_norm(x: Tensor, dim: int, eps: float) -> Tensor:
    """x over its root mean square along `dim`, computed in float32 at least."""
    wide = x.to(wide_type(x))
    return (wide * torch.rsqrt(mean_square(wide, dim) + eps)).to(x.dtype)


def wide_type(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def mean_square(wide: Tensor, dim: int) -> Tensor:
    return wide.square().mean(dim, keepdim=True)


class RMSNormFunction(Function):
    """`plain_rms_norm`, and what x was multiplied by: the second result, of which the gradient of a
    gradient has need.
    """

    @staticmethod
    def forward(ctx, x: Tensor, dim: int, eps: float) -> tuple[Tensor, Tensor]:
        wide = x.to(wide_type(x))
        scale = mean_square(wide, dim).add_(eps).rsqrt_()
        y = (wide * scale).to(x.dtype)
        ctx.save_for_backward(y, scale)
        ctx.set_materialize_grads(False)
        ctx.dim = dim
        return y, scale

    @staticmethod
    def backward(ctx, dy: Tensor | None, d_scale: Tensor | None) -> tuple[Tensor, None, None]:
        y, scale = ctx.saved_tensors
        dy, wide = ((torch.zeros_like(y) if t is None else t).to(scale.dtype) for t in (dy, y))
        along = (dy * wide).mean(ctx.dim, keepdim=True)
        d_x = torch.addcmul(dy, wide, along, value=-1) * scale
        if d_scale is not None:
            d_x = d_x - d_scale * scale.square() * wide / y.shape[ctx.dim]
        return d_x.to(y.dtype), None, None


def rms_norm(x: Tensor, dim: int, eps: float) -> Tensor:
    """x over its root mean square along `dim`, computed in float32 at least. (...) -> (...)."""
    if torch.compiler.is_compiling():
        return plain_rms_norm(x, dim, eps)
    return RMSNormFunction.apply(x, dim, eps)[0]


def swiglu(x: Tensor, gate_up: Tensor, down: Tensor, tokens: bool = False) -> Tensor:
    """down (silu(gate x) * up x): of rows (N D), or of the tokens of (B S D).

    `gate_up` (2I in) has gate above up, `down` is (out I).
    """
    if torch.compiler.is_compiling():
        return plain_swiglu(x, gate_up, down, tokens)
    return SwiGLUFunction.apply(x, gate_up, down, tokens)
