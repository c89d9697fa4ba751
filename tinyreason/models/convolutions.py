"""Convolutional layers: over the grid (deep thinking), and along the sequence (Universal
Transformer).

B batch, S sequence, D width, I and O features in and out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.layers import TRM_STYLE, Attention, Inner, TokenMixer, attention_style
from tinyreason.models.base import ModelConfig
from tinyreason.tags import tagged


class GridConv(nn.Module):
    """A convolution of 3 x 3 cells without bias. (B I rows columns) -> (B O rows columns)."""

    def __init__(self, features_in: int, features_out: int, lr_scale: float = 1.0):
        super().__init__()
        weight = torch.empty(features_out, features_in, 3, 3)
        nn.init.kaiming_uniform_(weight, a=5**0.5)  # as torch's own
        self.weight = tagged(nn.Parameter(weight), lr_scale=lr_scale)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.to(x.dtype), padding=1)


class GridBlock(nn.Module):
    """Two convolutions and a residual."""

    def __init__(self, width: int, lr_scale: float):
        super().__init__()
        self.one, self.two = (GridConv(width, width, lr_scale) for _ in range(2))

    def forward(self, z: Tensor) -> Tensor:
        return F.relu(self.two(F.relu(self.one(z))) + z)


class LayerNorm(nn.Module):
    """As in the public code: by the deviation of a sample, eps outside the root."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = tagged(nn.Parameter(torch.ones(width)), decay=False)
        self.bias = tagged(nn.Parameter(torch.zeros(width)), decay=False)

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        centred = x32 - x32.mean(-1, keepdim=True)
        deviation = centred.square().sum(-1, keepdim=True).div(x.shape[-1] - 1).sqrt()
        return (self.weight * centred / (deviation + 1e-6) + self.bias).to(x.dtype)


class ConvLayer(nn.Module):
    """Mix tokens, then two convolutions of width 3. (B S D) -> (B S D)."""

    def __init__(self, config: ModelConfig, length: int):
        super().__init__()
        D, inner = config.width, Inner(config.expansion, config.inner_multiple)
        rotary = config.positions == "rotary"
        attention, style = config.mix != "mixer", attention_style(TRM_STYLE, config.mix)
        self.mix = Attention(D, config.heads, length, rotary, style) if attention else None
        self.mixer = None if attention else TokenMixer(length, inner)
        self.norm_mix, self.norm_conv = LayerNorm(D), LayerNorm(D)
        self.one = nn.Conv1d(D, inner.width(D), 3, padding=1)
        self.two = nn.Conv1d(inner.width(D), D, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + (self.mixer or self.mix)(self.norm_mix(x))
        h = self.norm_conv(x).mT
        for conv in (self.one, self.two):
            h = F.relu(F.conv1d(h, conv.weight.to(h.dtype), conv.bias.to(h.dtype), padding=1))
        return x + h.mT
