"""TRM with one latent, the "single z" row of Table 2 of arXiv 2510.04871 (71.9 against 87.4 with
two).

Unusual in it: z is both the reasoning and the answer; each cycle ends with one recursion that is
not fed the question.
"""

import torch
from torch import Tensor

from tinyreason.models.base import CycleConfig, FixedStart, LoopState, make_core
from tinyreason.puzzle import Facts


class SingleZ(FixedStart):
    """Final."""

    Config = CycleConfig

    def __init__(self, config: CycleConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, LoopState, dtype)
        self.core = make_core(config, facts)

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        z = self.core(state.z + x)
        if self.config.closes(t):
            z = self.core(z)
        return LoopState(z)
