"""The layers of the whole family; everything here is position-wise or one block deep.

Unusual in them:
- HRM's and TRM's blocks have no biases and no learned norms, and are normed *after* the residual;
  where the norms stand and what else varies between papers is one `Style`
- weights are float32 and cast to the activations' type where they are used, so bf16 training has
  float32 masters
- LeCun initialisation, truncated at two deviations with the deviation corrected for the cut (as in
  JAX)
- tokens are mixed by attention or by a SwiGLU over the sequence axis (TRM's `mlp_t`)

Sources: HRM, arXiv 2506.21734; TRM, arXiv 2510.04871; rotary positions, arXiv 2104.09864; SwiGLU,
arXiv 2002.05202.

B batch, S sequence (prefix + cells), D width, N heads, K head width, V vocabulary, I inner width of
a SwiGLU.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from tinyreason.attention import attended
from tinyreason.errors import UserError
from tinyreason.functions import rms_norm, swiglu
from tinyreason.tags import tagged

EPS = 1e-5
MACHINE_EPS = torch.finfo(torch.float32).eps
CUT_DEVIATION = 0.87962566103423978  # of a unit normal truncated at two deviations
MIXES = ("attention", "normed_attention", "mixer")  # normed: queries and keys are, see `Style`


class Style(NamedTuple):
    """How the blocks of a paper differ from TRM's."""

    norms: str = "post"  # where they stand, a name in PLACEMENTS
    residual: float = 1.0  # what a layer adds is multiplied by it
    weighted: bool = False  # norms have a learned weight
    eps: float = EPS  # of the norms
    rotary: str = "halves"  # which pairs are turned, a name in PAIRS
    theta: float = 10_000.0  # of the rotary frequencies
    qk_bias: bool = False  # queries and keys get a bias after their projection
    qk_norm: bool = False  # queries and keys are normed, without a weight, after the rotation
    mlp: str = "swiglu"  # of the features, a name in MLPS


TRM_STYLE = Style()


class Inner(NamedTuple):
    """The inner width of every SwiGLU of a model: 2/3 `expansion` times the outer, up to a multiple
    of `multiple`.

    Published: expansion 4, multiple 256. At small widths a smaller multiple saves most of the work.
    """

    expansion: float
    multiple: int

    def width(self, outer: int) -> int:
        return self.multiple * math.ceil(round(self.expansion * outer * 2 / 3) / self.multiple)

    def ungated(self, outer: int) -> int:
        """Of an MLP without a gate, which has two matrices for a SwiGLU's three."""
        return self.multiple * math.ceil(round(self.expansion * outer) / self.multiple)


class Core(nn.Module):
    """The tied network: blocks applied to the sum of a state and what is injected.

    (B S D) -> (B S D).
    """

    def __init__(self, blocks: Iterable["Block"]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(
        self, x: Tensor, positions: Tensor | None = None, order: tuple[int, ...] | None = None
    ) -> Tensor:
        """`order`: which blocks, in turn; None: all."""
        for i in range(len(self.blocks)) if order is None else order:
            x = self.blocks[i](x, positions)
        return x


class Block(nn.Module):
    """One layer of a core: mix tokens, then mix features. (B S D) -> (B S D).

    `positions` (B S) or (S) int: the places of the tokens, where they are some of the sequence;
    None: all, in order.
    """

    def __init__(self, mix: nn.Module, mlp: nn.Module, around_mix: "Around", around_mlp: "Around"):
        super().__init__()
        self.mix, self.mlp = mix, mlp
        self.around_mix, self.around_mlp = around_mix, around_mlp

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        x = self.around_mix(x, lambda h: self.mix(h, positions))
        return self.around_mlp(x, self.mlp)


class Around(nn.Module):
    """A residual and the norms before it, on the branch and after the sum. (B S D) -> (B S D)."""

    def __init__(self, before: nn.Module, branch: nn.Module, after: nn.Module):
        super().__init__()
        self.before, self.branch, self.after = before, branch, after

    def forward(self, x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        return self.after(x + self.branch(f(self.before(x))))


PLACEMENTS: dict[str, Callable[[Callable[[], nn.Module]], Around]] = {
    "post": lambda norm: Around(nn.Identity(), nn.Identity(), norm()),  # TRM, URM, EqR
    "pre": lambda norm: Around(norm(), nn.Identity(), nn.Identity()),  # llama, Parcae
    "sandwich": lambda norm: Around(norm(), nn.Identity(), norm()),  # Huginn: on the sum
    "branch": lambda norm: Around(norm(), norm(), nn.Identity()),  # Ouro: on the branch
}


def make_block(
    style: Style, mix: str, width: int, heads: int, inner: Inner, length: int, rotary: bool
) -> Block:
    """A block for sequences of `length` tokens."""
    place = PLACEMENTS[style.norms]
    around_mix = place(lambda: Norm(width if style.weighted else None, style.eps))
    around_mlp = place(lambda: Norm(width if style.weighted else None, style.eps))
    if mix != "mixer":
        mixing = Attention(width, heads, length, rotary, attention_style(style, mix))
    else:
        mixing = TokenMixer(length, inner)
        if style.norms == "post":  # as published, over the axis that is mixed
            around_mix = place(lambda: AcrossTokens(style.eps))
    if style.residual != 1:
        for around in (around_mix, around_mlp):
            around.branch = nn.Sequential(around.branch, Scaled(style.residual))
    return Block(mixing, MLPS[style.mlp](width, inner), around_mix, around_mlp)


def attention_style(style: Style, mix: str) -> Style:
    """The style, with QK-norm (arXiv 2010.04245) where `model.mix` asks for it."""
    return style._replace(qk_norm=style.qk_norm or mix == "normed_attention")


class Attention(nn.Module):
    """Full self-attention. (B S D) -> (B S D), S any part of the sequence if the positions are
    given.
    """

    fused: Callable | None = None  # another attention than PyTorch would take, see `kernels`

    def __init__(self, width: int, heads: int, length: int, rotary: bool, style: Style = TRM_STYLE):
        super().__init__()
        if width % heads or (rotary and (width // heads) % 2):
            raise UserError(f"model.width={width} must be an even multiple of model.heads={heads}")
        self.heads = heads
        self.qkv = Linear(width, 3 * width, matrix=True, parts=3)
        self.out = Linear(width, width, matrix=True)
        self.rotary = Rotary(width // heads, length, style.theta, style.rotary) if rotary else None
        self.qk_bias = (
            nn.Parameter(torch.zeros(2, heads, 1, width // heads)) if style.qk_bias else None
        )
        self.qk_norm = Norm(None, MACHINE_EPS) if style.qk_norm else nn.Identity()

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b s (three n k) -> three b n s k", three=3, n=self.heads)
        if self.qk_bias is not None:
            bias_q, bias_k = self.qk_bias.to(x.dtype)
            q, k = q + bias_q, k + bias_k
        if self.rotary is not None:
            q, k = self.rotary(q, positions), self.rotary(k, positions)
        q, k = self.qk_norm(q), self.qk_norm(k)
        y = (self.fused or attended)(q, k, v)
        return self.out(rearrange(y, "b n s k -> b s (n k)"))


class TokenMixer(nn.Module):
    """A SwiGLU over the sequence axis, which must be whole. (B S D) -> (B S D)."""

    fused: Callable | None = None  # all of it as one kernel, see `kernels`

    def __init__(self, length: int, inner: Inner):
        super().__init__()
        self.mlp = SwiGLU(length, inner)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        if positions is not None:
            raise UserError("model.mix=mixer cannot leave tokens out; use model.mix=attention")
        if self.fused is not None:
            return self.fused(x, *self.mlp.weights(x.dtype))
        return swiglu(x, *self.mlp.weights(x.dtype), tokens=True)


class SwiGLU(nn.Module):
    """Gated MLP over the last axis. (... width) -> (... width)."""

    fused: Callable | None = None  # all of it but the last product as one kernel, see `kernels`

    def __init__(self, width: int, inner: Inner):
        super().__init__()
        self.gate_up = Linear(width, 2 * inner.width(width), matrix=True, parts=2)
        self.down = Linear(inner.width(width), width, matrix=True)

    def weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(2I width), gate above up, and (width I), as they are multiplied with."""
        return self.gate_up.weight.to(dtype), self.down.weight.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.fused is not None:
            return self.down(self.fused(x, self.gate_up.weight.to(x.dtype)))
        rows = swiglu(x.reshape(-1, x.shape[-1]), *self.weights(x.dtype))
        return rows.view(x.shape)


class SquaredReLU(nn.Module):
    """MLP over the last axis: half the square of what is positive. (... width) -> (... width)."""

    def __init__(self, width: int, inner: Inner):
        super().__init__()
        self.up = Linear(width, inner.ungated(width), matrix=True)
        self.down = Linear(inner.ungated(width), width, matrix=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(0.5 * F.relu(self.up(x)).square())


MLPS: dict[str, Callable[[int, Inner], nn.Module]] = {
    "swiglu": SwiGLU,
    "squared_relu": SquaredReLU,
}


class Linear(nn.Module):
    """x @ weight.T (+ bias), the float32 weight cast to the type of x.

    `matrix`: it belongs to a core, see `Tag`. `parts`: so many matrices are stacked in it, along
    its outputs.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        bias: bool = False,
        matrix: bool = False,
        parts: int = 1,
    ):
        super().__init__()
        self.parts = parts
        weight = truncated_normal((width_out, width_in), width_in**-0.5)
        self.weight = tagged(nn.Parameter(weight), matrix=matrix)
        self.bias = nn.Parameter(torch.zeros(width_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


def halves(x: Tensor) -> Tensor:
    """Each pair (i, i + K/2) of the last axis turned by a right angle: TRM, HRM, Ouro."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((-right, left), dim=-1)


def adjacent(x: Tensor) -> Tensor:
    """Each pair (2i, 2i + 1) of the last axis turned by a right angle: Huginn, Parcae, llama2.c."""
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack((-odd, even), dim=-1).flatten(-2)


PAIRS: dict[str, Callable[[Tensor], Tensor]] = {"halves": halves, "adjacent": adjacent}


class Rotary(nn.Module):
    """Rotary positions over the whole sequence, prefix included.

    (B N S K) -> (B N S K), rotated in float32.
    """

    def __init__(
        self, head_width: int, length: int, theta: float = 10_000.0, pairs: str = "halves"
    ):
        super().__init__()
        self.turned = PAIRS[pairs]
        frequencies = theta ** -(torch.arange(0, head_width, 2) / head_width)
        angles = torch.outer(torch.arange(length), frequencies)
        angles = angles.repeat(1, 2) if pairs == "halves" else angles.repeat_interleave(2, 1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """`positions` (S) or (B S) int: the places of the tokens of x; None: 0, 1, 2, ..."""
        cos, sin = self.cos, self.sin
        if positions is not None:
            places = positions[..., None, :] if positions.ndim > 1 else positions
            cos, sin = cos[places], sin[places]
        return (x * cos + self.turned(x) * sin).to(x.dtype)


class Norm(nn.Module):
    """Root-mean-square norm of the last axis, in float32; with a learned weight if a width is
    given.
    """

    def __init__(self, width: int | None = None, eps: float = EPS):
        super().__init__()
        weight = None if width is None else tagged(nn.Parameter(torch.ones(width)), decay=False)
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        if self.weight is None:
            return rms_norm(x, -1, self.eps)
        return F.rms_norm(x.float(), x.shape[-1:], self.weight, self.eps).to(x.dtype)


class Scaled(nn.Module):
    """What a layer adds, made smaller (or larger)."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class AcrossTokens(nn.Module):
    """A norm of the sequence axis, without a weight. (B S D) -> (B S D)."""

    def __init__(self, eps: float = EPS):
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, 1, self.eps)


def redrawn(parameter: nn.Parameter, std: float, cut: float) -> None:
    """Draw a parameter again: normal of deviation `std`, cut at so many deviations (which makes it
    smaller).
    """
    nn.init.trunc_normal_(parameter, std=std, a=-cut * std, b=cut * std)


def truncated_normal(shape: tuple[int, ...], std: float) -> Tensor:
    """Normal of deviation `std` after truncation at two deviations of the uncut normal."""
    uncut = std / CUT_DEVIATION
    return nn.init.trunc_normal_(torch.empty(shape), std=uncut, a=-2 * uncut, b=2 * uncut)
