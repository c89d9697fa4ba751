"""The products of a SwiGLU with its gate as their epilogue, as one Triton kernel, and its backward.

h = silu(x Wg') * (x Wu'): a program has a tile of h and both sums that it is made of, so neither
gate nor up is written. The backward pass computes them again and writes their gradients; the
products after that are ordinary ones. No atomics: the same bits each time.

M rows, K width, I inner width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

# rows, inner units and width of a tile, for numbers of two bytes and of four: nothing is spilt
WIDE, NARROW = (128, 64, 64), (64, 32, 32)


@triton.jit
def kernel(
    x, w, dh, out, rows, x_row, x_column, dh_row, dh_column,
    I: tl.constexpr, K: tl.constexpr,  # noqa: E741
    BM: tl.constexpr, BI: tl.constexpr, BK: tl.constexpr,
    EXACT: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """h (M I) of x (M K) and w (2I K); or, BACKWARD, from dh (M I) those of gate and up (M 2I)."""
    across: tl.constexpr = (I + BI - 1) // BI
    m = (tl.program_id(0) // across).to(tl.int64) * BM + tl.arange(0, BM)
    i = tl.program_id(0) % across * BI + tl.arange(0, BI)
    gate = tl.full((BM, BI), 0.0, tl.float32)
    up = tl.full((BM, BI), 0.0, tl.float32)
    for first in range(0, K, BK):
        k = first + tl.arange(0, BK)
        here = (m[:, None] < rows) & (k[None, :] < K)
        there = (k[:, None] < K) & (i[None, :] < I)
        a = tl.load(x + m[:, None] * x_row + k[None, :] * x_column, mask=here, other=0.0)
        place = w + i[None, :] * K + k[:, None]
        wg = tl.load(place, mask=there, other=0.0)
        wu = tl.load(place + I * K, mask=there, other=0.0)
        gate = tl.dot(a, wg, gate, input_precision=EXACT)
        up = tl.dot(a, wu, up, input_precision=EXACT)

    inside = (m[:, None] < rows) & (i[None, :] < I)
    share = 1 / (1 + tl.exp(-gate))
    if BACKWARD:
        place = dh + m[:, None] * dh_row + i[None, :] * dh_column
        d = tl.load(place, mask=inside, other=0.0).to(tl.float32)
        dgate = d * up * share * (1 + gate * (1 - share))
        place = out + m[:, None] * 2 * I + i[None, :]
        tl.store(place, dgate.to(out.dtype.element_ty), mask=inside)
        tl.store(place + I, (d * gate * share).to(out.dtype.element_ty), mask=inside)
    else:
        place = out + m[:, None] * I + i[None, :]
        tl.store(place, (gate * share * up).to(out.dtype.element_ty), mask=inside)


def launch(x: Tensor, gate_up: Tensor, dh: Tensor | None) -> Tensor:
    """The kernel, forward or, given the gradient of h, backward."""
    rows, inner = len(x), len(gate_up) // 2
    backward = dh is not None
    dh = x if dh is None else dh
    out = x.new_empty(rows, 2 * inner if backward else inner)
    bm, bi, bk = WIDE if x.element_size() == 2 else NARROW
    grid = (triton.cdiv(rows, bm) * triton.cdiv(inner, bi),)
    sizes = {"I": inner, "K": x.shape[1], "BM": bm, "BI": bi, "BK": bk}
    how = {"EXACT": "ieee", "BACKWARD": backward, "num_warps": 8 if bm > 64 else 4}
    strides = (*x.stride(), *dh.stride())
    kernel[grid](x, gate_up.contiguous(), dh, out, rows, *strides, **sizes, **how)
    return out


@torch.library.custom_op("tinyreason::gated", mutates_args=())
def gated(x: Tensor, gate_up: Tensor) -> Tensor:
    """(M K), (2I K), of one type -> (M I)."""
    return launch(x, gate_up, None)


@torch.library.custom_op("tinyreason::gated_backward", mutates_args=())
def gated_backward(dh: Tensor, x: Tensor, gate_up: Tensor) -> Tensor:
    """(M I), (M K), (2I K) -> (M 2I): the gradients of gate and up, side by side."""
    return launch(x, gate_up, dh)


@gated.register_fake
def _(x: Tensor, gate_up: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], gate_up.shape[0] // 2)


@gated_backward.register_fake
def _(dh: Tensor, x: Tensor, gate_up: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], gate_up.shape[0])


def keep(ctx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def backward(ctx, dh: Tensor) -> tuple[Tensor, Tensor]:
    x, gate_up = ctx.saved_tensors
    both = gated_backward(dh, x, gate_up)
    return both @ gate_up, both.t() @ x


gated.register_autograd(backward, setup_context=keep)


def swiglu(x: Tensor, gate_up: Tensor) -> Tensor:
    """silu(gate) * up. (... K), (2I K) -> (... I)."""
    return gated(x.reshape(-1, x.shape[-1]), gate_up).unflatten(0, x.shape[:-1])
