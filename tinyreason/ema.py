"""The moving average of the weights that is evaluated and shared (EMA, decay 0.999 in TRM).

Own and not torch's AveragedModel: that one moves its step counter to the device at every update,
which makes the host wait once a step on CUDA, and copies every buffer, the puzzle table among them.
Equal to TRM's from the first step on: no warm-up, no bias correction, buffers not averaged.
"""

from copy import deepcopy

import torch
from torch import nn

from tinyreason.puzzle_embedding import share_tables


class EMA:
    """`module` holds the averaged weights of `model`: w = decay w + (1 - decay) model's w at each
    update.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.module = deepcopy(model).requires_grad_(False)
        share_tables(model, self.module)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Once after each optimizer step."""
        torch._foreach_lerp_(
            list(self.module.parameters()), list(model.parameters()), 1 - self.decay
        )
