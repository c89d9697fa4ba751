"""SwiGLU and the root-mean-square norm with gradients of their own.

Unusual in them:
- kept for the backward pass are gate and up (SwiGLU) and the result (norm), which the next product
  keeps anyway; the rest is computed there again by cheap operations, so autograd's four tensors of
  the inner width become two, and a norm in float32 keeps no float32 copy of a bf16 input
- gate and up are the halves of one product, and so are their gradients: nothing is cut or joined
- SwiGLU mixes either axis: rows (N D), or columns (S N), where the tokens of all sequences lie side
  by side and one product mixes them all

Where a compiler sees them (`torch.compile`), and where a gradient of the gradient is asked for, the
plain formula speaks.

N rows (of the whole batch), D width, S sequence, I inner width.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

aten = torch.ops.aten


def times(x: Tensor, weight: Tensor, columns: bool) -> Tensor:
    """A linear map of the rows of x, or of its columns; `weight` (out in)."""
    return weight @ x if columns else x @ weight.T


def weight_gradient(d: Tensor, x: Tensor, columns: bool) -> Tensor:
    """(out in), where `d` is the gradient of `times(x, weight)`."""
    return d @ x.T if columns else d.T @ x


def halves(x: Tensor, columns: bool) -> tuple[Tensor, Tensor]:
    """Gate and up: views."""
    return x.chunk(2, dim=0 if columns else -1)


def plain_swiglu(x: Tensor, gate_up: Tensor, down: Tensor, columns: bool = False) -> Tensor:
    """down (silu(gate x) * up x): rows (N in) -> (N out), or columns (in N) -> (out N).

    `gate_up` (2I in) has gate above up, `down` is (out I). Source: arXiv 2002.05202.
    """
    gate, up = halves(times(x, gate_up, columns), columns)
    return times(F.silu(gate) * up, down, columns)


class SwiGLUFunction(Function):
    """`plain_swiglu` in fewer passes over memory."""

    @staticmethod
    def forward(ctx, x: Tensor, gate_up: Tensor, down: Tensor, columns: bool) -> Tensor:
        inner = times(x, gate_up, columns)
        gate, up = halves(inner, columns)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, inner, gate_up, down)
            ctx.columns = columns
            return times(F.silu(gate).mul_(up), down, columns)
        return times(F.silu(gate, inplace=True).mul_(up), down, columns)

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, inner, gate_up, down = ctx.saved_tensors
        columns = ctx.columns
        if torch.is_grad_enabled():  # a gradient of this one is asked for
            plain = partial(plain_swiglu, columns=columns)
            return *again(plain, dy, x, gate_up, down), None

        gate, up = halves(inner, columns)
        d_inner = torch.empty_like(inner)
        d_gate, d_up = halves(d_inner, columns)
        active = aten.silu.out(gate, out=d_up)
        hidden = active * up
        d_hidden = times(dy, down.T, columns)
        d_down = weight_gradient(dy, hidden, columns)
        active.mul_(d_hidden)  # from here on d_up
        torch.mul(d_hidden, up, out=hidden)
        aten.silu_backward.grad_input(hidden, gate, grad_input=d_gate)
        d_x = times(d_inner, gate_up.T, columns)
        return d_x, weight_gradient(d_inner, x, columns), d_down, None


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


def swiglu(x: Tensor, gate_up: Tensor, down: Tensor, columns: bool = False) -> Tensor:
    """down (silu(gate x) * up x): rows (N in) -> (N out), or columns (in N) -> (out N).

    `gate_up` (2I in) has gate above up, `down` is (out I).
    """
    if torch.compiler.is_compiling():
        return plain_swiglu(x, gate_up, down, columns)
    return SwiGLUFunction.apply(x, gate_up, down, columns)
