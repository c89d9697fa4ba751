"""The layers as the references write them: one operation a line, each with the gradient that
autograd gives it, tokens mixed by turning the sequence to the last axis and back.

The same arithmetic in another order; what this project does with layers is measured against it.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.errors import UserError
from tinyreason.functions import plain_gated, plain_swiglu
from tinyreason.layers import AcrossTokens, Around, Norm, SwiGLU, TokenMixer

mixed = partial(plain_swiglu, tokens=True)


class PlainNorm(nn.Module):
    """Of the last axis, or of the one before it."""

    def __init__(self, eps: float, tokens: bool):
        super().__init__()
        self.eps, self.tokens = eps, tokens

    def forward(self, x: Tensor) -> Tensor:
        if self.tokens:
            return self.normed(x.transpose(1, 2)).transpose(1, 2)
        return self.normed(x)

    def normed(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), x.shape[-1:], eps=self.eps).to(x.dtype)


def plain_norm(norm: nn.Module) -> nn.Module:
    """In the place of `norm`, where there is another way to write it."""
    if isinstance(norm, AcrossTokens):
        return PlainNorm(norm.eps, tokens=True)
    if isinstance(norm, Norm) and norm.weight is None:
        return PlainNorm(norm.eps, tokens=False)
    return norm


def make_plain(model: nn.Module) -> None:
    """Let all layers of `model` be as the references write them. Raises UserError if there is no
    other way to write any of them: a baseline that is no other would say nothing.
    """
    layers = [m for m in model.modules() if isinstance(m, TokenMixer) or type(m) is SwiGLU]
    if not layers:
        raise UserError("baseline=true is for models with SwiGLUs; leave it out")
    for layer in layers:
        layer.fused = mixed if isinstance(layer, TokenMixer) else plain_gated
    for around in [m for m in model.modules() if isinstance(m, Around)]:
        for name in ("before", "branch", "after"):
            setattr(around, name, plain_norm(getattr(around, name)))
