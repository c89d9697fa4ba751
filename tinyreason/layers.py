"""The layers of HRM and TRM, sized and initialised as published; everything here is position-wise or one block deep.

Unusual in them:
- no biases, no learned norms: a block is `x = norm(x + mix(x)); x = norm(x + swiglu(x))`, normed *after* the residual
- weights are float32 and cast to the activations' type where they are used, so bf16 training has float32 masters
- LeCun initialisation, truncated at two deviations with the deviation corrected for the cut (as in JAX)
- tokens are mixed by attention or by a SwiGLU over the sequence axis (TRM's `mlp_t`)

Sources: HRM, arXiv 2506.21734; TRM, arXiv 2510.04871; rotary positions, arXiv 2104.09864; SwiGLU, arXiv 2002.05202.

B batch, S sequence (prefix + cells), D width, N heads, K head width, V vocabulary, I inner width of a SwiGLU.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from tinyreason.errors import UserError

EPS = 1e-5
CUT_DEVIATION = 0.87962566103423978  # of a unit normal truncated at two deviations


class Inner(NamedTuple):
    """The inner width of every SwiGLU of a model: 2/3 `expansion` times the outer, up to a multiple of `multiple`.

    Published: expansion 4, multiple 256. At small widths a smaller multiple saves most of the work.
    """

    expansion: float
    multiple: int

    def width(self, outer: int) -> int:
        return self.multiple * math.ceil(round(self.expansion * outer * 2 / 3) / self.multiple)


class Block(nn.Module):
    """One layer of a core: mix tokens, then mix features. (B S D) -> (B S D)."""

    def __init__(self, mix: nn.Module, width: int, inner: Inner):
        super().__init__()
        self.mix = mix
        self.mlp = SwiGLU(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(x)
        return norm(x + self.mlp(x))


class Core(nn.Module):
    """The tied network: `layers` blocks applied to the sum of a state and what is injected. (B S D) -> (B S D)."""

    def __init__(self, layers: int, mix: str, width: int, heads: int, inner: Inner, length: int, rotary: bool):
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(make_mix(mix, width, heads, inner, length, rotary), width, inner) for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Attention(nn.Module):
    """Full self-attention and its residual, normed. (B S D) -> (B S D)."""

    def __init__(self, width: int, heads: int, length: int, rotary: bool):
        super().__init__()
        if width % heads or (rotary and (width // heads) % 2):
            raise UserError(f"model.width={width} must be an even multiple of model.heads={heads}")
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.rotary = Rotary(width // heads, length) if rotary else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b s (three n k) -> three b n s k", three=3, n=self.heads)
        y = F.scaled_dot_product_attention(self.rotary(q), self.rotary(k), v)
        return norm(x + self.out(rearrange(y, "b n s k -> b s (n k)")))


class TokenMixer(nn.Module):
    """A SwiGLU over the sequence axis and its residual, normed *over that axis*. (B S D) -> (B S D)."""

    def __init__(self, length: int, inner: Inner):
        super().__init__()
        self.mlp = SwiGLU(length, inner)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        return norm(x + self.mlp(x)).transpose(1, 2)


def make_mix(mix: str, width: int, heads: int, inner: Inner, length: int, rotary: bool) -> nn.Module:
    """The token-mixing half of a block, by its name in `model.mix`."""
    if mix == "attention":
        return Attention(width, heads, length, rotary)
    if mix == "mixer":
        return TokenMixer(length, inner)
    raise UserError(f"model.mix={mix} is unknown; type model.mix=attention or model.mix=mixer")


class SwiGLU(nn.Module):
    """Gated MLP over the last axis. (... width) -> (... width)."""

    def __init__(self, width: int, inner: Inner):
        super().__init__()
        self.gate_up = Linear(width, 2 * inner.width(width))
        self.down = Linear(inner.width(width), width)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Linear(nn.Module):
    """x @ weight.T (+ bias), the float32 weight cast to the type of x."""

    def __init__(self, width_in: int, width_out: int, bias: bool = False):
        super().__init__()
        self.weight = nn.Parameter(truncated_normal((width_out, width_in), width_in**-0.5))
        self.bias = nn.Parameter(torch.zeros(width_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class Rotary(nn.Module):
    """Rotary positions over the whole sequence, prefix included. (B N S K) -> (B N S K), rotated in float32."""

    def __init__(self, head_width: int, length: int, theta: float = 10000.0):
        super().__init__()
        frequencies = theta ** -(torch.arange(0, head_width, 2) / head_width)
        angles = torch.outer(torch.arange(length), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=-1)
        turned = torch.cat((-right, left), dim=-1)
        return (x * self.cos + turned * self.sin).to(x.dtype)


def norm(x: Tensor) -> Tensor:
    """Root-mean-square norm of the last axis, computed in float32, without parameters."""
    return F.rms_norm(x.float(), x.shape[-1:], eps=EPS).to(x.dtype)


def truncated_normal(shape: tuple[int, ...], std: float) -> Tensor:
    """Normal of deviation `std` after truncation at two deviations of the uncut normal."""
    uncut = std / CUT_DEVIATION
    return nn.init.trunc_normal_(torch.empty(shape), std=uncut, a=-2 * uncut, b=2 * uncut)
