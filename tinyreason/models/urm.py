"""URM, "Universal Reasoning Model", arXiv 2512.14693.

Unusual in it:
- one latent and one tied stack; the puzzle is added to the state before every recursion
- a short convolution along the sequence inside each SwiGLU, which looks to the left alone
- the gradient covers the last L_cycles recursions (`gradient=full`); those before run free

Departures: the convolution has the activations' type (the reference keeps it in bf16 always).

B batch, S sequence (prefix + cells), D width, I inner width of a SwiGLU.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.layers import Inner, SwiGLU
from tinyreason.models.base import CycleConfig, FixedStart, LoopState, make_core
from tinyreason.options import option
from tinyreason.puzzle import Facts


@dataclass
class URMConfig(CycleConfig):
    """Of `URM`."""

    kernel: int = option(least=1, most=64)  # tokens that the convolution sees

    def applied(self, t: int) -> None:
        """The cost of the convolution is counted."""


class ConvSwiGLU(SwiGLU):
    """A SwiGLU whose gated features are convolved along the sequence, each alone, and gated again.

    (B S D) -> (B S D).
    """

    def __init__(self, width: int, inner: Inner, kernel: int):
        super().__init__(width, inner)
        features, pad = inner.width(width), kernel // 2
        self.conv = nn.Conv1d(features, features, kernel, padding=pad, groups=features)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        features = (F.silu(gate) * up).mT  # (B I S)
        weight, bias = self.conv.weight.to(x.dtype), self.conv.bias.to(x.dtype)
        options = {"padding": self.conv.padding, "groups": self.conv.groups}
        mixed = F.conv1d(features, weight, bias, **options)[..., : x.shape[1]]
        return self.down(F.silu(mixed.mT))


class URM(FixedStart):
    """Final."""

    Config = URMConfig

    def __init__(self, config: URMConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, LoopState, dtype)
        self.core = make_core(config, facts)
        inner = Inner(config.expansion, config.inner_multiple)
        for block in self.core.blocks:
            block.mlp = ConvSwiGLU(config.width, inner, config.kernel)

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        return LoopState(self.core(state.z + x))
