"""The token mixer as one Triton kernel, and its backward pass.

y = Wd (silu(Wg X) * (Wu X)) for the X (S D) of each slot. From the left, so nothing is transposed
and nothing but y is written: the hidden (I D), the largest tensor of a block, lives and dies in
registers. The backward pass computes it again, from x, once for dx and once for the weights.

A program has one slot and one block of columns, for which it goes over the inner units in chunks.
The gradients of the weights are sums over slots: each program adds up a share of the slots, in
order, and what they found is summed after them. No atomics: the same bits each time.

The residual and the norm after it stay outside, where the compiler fuses them with each other.

B slots, S tokens, D width, I inner width.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_TOKENS = 128  # a program holds all tokens of its columns; twice as many leave no shared memory
SHARES = 16  # of the slots, in the gradients of the weights


@triton.jit
def chunk(w, i, S: tl.constexpr, I: tl.constexpr, ROW: tl.constexpr, PS: tl.constexpr):  # noqa: E741
    """(PS chunk) of a matrix of S rows, ROW numbers apart; the columns are the inner units `i`."""
    s = tl.arange(0, PS)
    inside = (s[:, None] < S) & (i[None, :] < I)
    return tl.load(w + s[:, None] * ROW + i[None, :], mask=inside, other=0.0)


@triton.jit
def columns(x, d, row, column, S: tl.constexpr, D: tl.constexpr, PS: tl.constexpr):
    """(PS columns) of a slot."""
    s = tl.arange(0, PS)
    inside = (s[:, None] < S) & (d[None, :] < D)
    return tl.load(x + s[:, None] * row + d[None, :] * column, mask=inside, other=0.0)


@triton.jit
def forward_kernel(
    x, w, wd, y, slot_stride, row, column,
    S: tl.constexpr, D: tl.constexpr, I: tl.constexpr,  # noqa: E741
    PS: tl.constexpr, BD: tl.constexpr, BI: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    slot = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BD + tl.arange(0, BD)
    tokens = columns(x + slot * slot_stride, d, row, column, S, D, PS)
    total = tl.full((PS, BD), 0.0, tl.float32)
    for first in range(0, I, BI):
        i = first + tl.arange(0, BI)
        gate = tl.dot(tl.trans(chunk(w, i, S, I, 2 * I, PS)), tokens, input_precision=EXACT)
        up = tl.dot(tl.trans(chunk(w + I, i, S, I, 2 * I, PS)), tokens, input_precision=EXACT)
        hidden = gate / (1 + tl.exp(-gate)) * up
        down = chunk(wd, i, S, I, I, PS)
        total += tl.dot(down, hidden.to(tokens.dtype), input_precision=EXACT)
    s = tl.arange(0, PS)
    inside = (s[:, None] < S) & (d[None, :] < D)
    place = y + slot * S * D + s[:, None] * D + d[None, :]
    tl.store(place, total.to(tokens.dtype), mask=inside)


@triton.jit
def gradients(gate, up, dh):
    """Of gate and up, and the hidden, from the gradient of the hidden."""
    share = 1 / (1 + tl.exp(-gate))
    silu = gate * share
    return dh * up * share * (1 + gate * (1 - share)), dh * silu, silu * up


@triton.jit
def input_kernel(
    x, dy, w, wd, dx, slot_stride, row, column, dy_slot, dy_row, dy_column,
    S: tl.constexpr, D: tl.constexpr, I: tl.constexpr,  # noqa: E741
    PS: tl.constexpr, BD: tl.constexpr, BI: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    slot = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BD + tl.arange(0, BD)
    tokens = columns(x + slot * slot_stride, d, row, column, S, D, PS)
    after = columns(dy + slot * dy_slot, d, dy_row, dy_column, S, D, PS)
    total = tl.full((PS, BD), 0.0, tl.float32)
    for first in range(0, I, BI):
        i = first + tl.arange(0, BI)
        wg, wu = chunk(w, i, S, I, 2 * I, PS), chunk(w + I, i, S, I, 2 * I, PS)
        gate = tl.dot(tl.trans(wg), tokens, input_precision=EXACT)
        up = tl.dot(tl.trans(wu), tokens, input_precision=EXACT)
        dh = tl.dot(tl.trans(chunk(wd, i, S, I, I, PS)), after, input_precision=EXACT)
        dgate, dup, _ = gradients(gate, up, dh)
        total += tl.dot(wg, dgate.to(tokens.dtype), input_precision=EXACT)
        total += tl.dot(wu, dup.to(tokens.dtype), input_precision=EXACT)
    s = tl.arange(0, PS)
    inside = (s[:, None] < S) & (d[None, :] < D)
    place = dx + slot * S * D + s[:, None] * D + d[None, :]
    tl.store(place, total.to(tokens.dtype), mask=inside)


@triton.jit
def weight_kernel(
    x, dy, w, wd, dw, dwd, slots, slot_stride, row, column, dy_slot, dy_row, dy_column,
    S: tl.constexpr, D: tl.constexpr, I: tl.constexpr,  # noqa: E741
    PS: tl.constexpr, BD: tl.constexpr, BI: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """A share of the slots: into dw (shares S 2I) and dwd (shares S I)."""
    i = tl.program_id(0) * BI + tl.arange(0, BI)
    share = tl.program_id(1).to(tl.int64)
    each = (slots + tl.num_programs(1) - 1) // tl.num_programs(1)
    wg, wu = chunk(w, i, S, I, 2 * I, PS), chunk(w + I, i, S, I, 2 * I, PS)
    down = chunk(wd, i, S, I, I, PS)
    dwg = tl.full((PS, BI), 0.0, tl.float32)
    dwu = tl.full((PS, BI), 0.0, tl.float32)
    ddown = tl.full((PS, BI), 0.0, tl.float32)
    for slot in range(share * each, tl.minimum(slots, share * each + each)):
        for first in range(0, D, BD):
            d = first + tl.arange(0, BD)
            tokens = columns(x + slot * slot_stride, d, row, column, S, D, PS)
            after = columns(dy + slot * dy_slot, d, dy_row, dy_column, S, D, PS)
            gate = tl.dot(tl.trans(wg), tokens, input_precision=EXACT)
            up = tl.dot(tl.trans(wu), tokens, input_precision=EXACT)
            dh = tl.dot(tl.trans(down), after, input_precision=EXACT)
            dgate, dup, hidden = gradients(gate, up, dh)
            dwg += tl.dot(tokens, tl.trans(dgate.to(tokens.dtype)), input_precision=EXACT)
            dwu += tl.dot(tokens, tl.trans(dup.to(tokens.dtype)), input_precision=EXACT)
            ddown += tl.dot(after, tl.trans(hidden.to(tokens.dtype)), input_precision=EXACT)
    s = tl.arange(0, PS)
    inside = (s[:, None] < S) & (i[None, :] < I)
    place = dw + share * S * 2 * I + s[:, None] * 2 * I + i[None, :]
    tl.store(place, dwg, mask=inside)
    tl.store(place + I, dwu, mask=inside)
    tl.store(dwd + share * S * I + s[:, None] * I + i[None, :], ddown, mask=inside)


def tiles(x: Tensor, inner: int, block: int, chunk: int) -> dict[str, int | str]:
    """The compile-time sizes for x (B S D): powers of two, at least 16, as the products want.

    A program takes `block` columns and `chunk` inner units at once, of numbers of two bytes; half
    as many of four.
    """
    _, tokens, width = x.shape
    half = 1 if x.element_size() == 2 else 2
    return {
        "S": tokens,
        "D": width,
        "I": inner,
        "PS": max(16, triton.next_power_of_2(tokens)),
        "BD": max(16, min(block // half, triton.next_power_of_2(width))),
        "BI": chunk // half,
        "EXACT": "ieee",  # float32 products are float32 products
    }


def forward_block(x: Tensor) -> int:
    """Columns of a forward program: the more, the less often weights are read; but only Hopper's
    products take so many without spilling registers.
    """
    return 128 if x.is_cuda and torch.cuda.get_device_capability(x.device)[0] == 9 else 64


@torch.library.custom_op("tinyreason::token_mixer", mutates_args=())
def token_mixer_op(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """(B S D), (2I S), (S I), all of one type -> (B S D)."""
    sizes = tiles(x, down.shape[1], forward_block(x), 64)
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    grid = (len(x), triton.cdiv(sizes["D"], sizes["BD"]))
    weights = gate_up.t().contiguous(), down.contiguous()
    forward_kernel[grid](x, *weights, y, *x.stride(), **sizes, num_warps=8, num_stages=2)
    return y


@torch.library.custom_op("tinyreason::token_mixer_backward", mutates_args=())
def token_mixer_backward(
    dy: Tensor, x: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, gate_up and down."""
    inner = down.shape[1]
    sizes = tiles(x, inner, 64, 64)
    strides = (*x.stride(), *dy.stride())
    weights = gate_up.t().contiguous(), down.contiguous()
    how = {"num_warps": 8, "num_stages": 2}
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    grid = (len(x), triton.cdiv(sizes["D"], sizes["BD"]))
    input_kernel[grid](x, dy, *weights, dx, *strides, **sizes, **how)

    sizes = tiles(x, inner, 32, 32)
    shares = min(SHARES, len(x))
    wide = {"dtype": torch.float32, "device": x.device}
    dw = torch.empty(shares, x.shape[1], 2 * inner, **wide)
    dwd = torch.empty(shares, x.shape[1], inner, **wide)
    grid = (triton.cdiv(inner, sizes["BI"]), shares)
    weight_kernel[grid](x, dy, *weights, dw, dwd, len(x), *strides, **sizes, **how)
    return dx, dw.sum(0).t().to(x.dtype).contiguous(), dwd.sum(0).to(x.dtype)


@token_mixer_op.register_fake
def _(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@token_mixer_backward.register_fake
def _(dy: Tensor, x: Tensor, gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(t.new_empty(t.shape) for t in (x, gate_up, down))


def keep(ctx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def backward(ctx, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return token_mixer_backward(dy, *ctx.saved_tensors)


token_mixer_op.register_autograd(backward, setup_context=keep)


def token_mixer(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """A SwiGLU over the tokens. (B S D), (2I S), (S I) -> (B S D)."""
    return token_mixer_op(x, gate_up, down)
