"""Deep thinking, "End-to-end Algorithm Synthesis with Recurrent Networks", arXiv 2202.05826: a
convolutional core that works on the grid itself.

Unusual in it:
- no attention and no positions: what a cell knows spreads by one cell in each convolution, so the
  reach grows with the recursions, and grids of any size fit
- recall: the puzzle is fed in again at every recursion, beside the state
- the answer is scored at the stated depth and at a drawn one (`supervision=progressive`)

Departures: what stands in the first prefix token, as a puzzle embedding, is added to every cell;
tokens are embedded, at `model.width` features, where the paper has three colours; a
halting head reads the first cell; cross-entropy is that of `loss=`.

B batch, S cells (rows x columns), D width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from tinyreason.models.base import LoopConfig, LoopState, Read, RecursiveModel
from tinyreason.models.convolutions import GridBlock, GridConv
from tinyreason.noise import Noise
from tinyreason.puzzle import Batch, Facts

HEAD = (32, 8)  # features of the convolutions that read the answer


@dataclass
class DeepThinkingConfig(LoopConfig):
    """Of `DeepThinking`. `layers` are blocks of two convolutions; there is no attention, so `mix`,
    `heads` and the inner widths decide nothing.
    """

    recall: bool  # the puzzle is fed in at every recursion, not at the start alone


class DeepThinking(RecursiveModel):
    """Final."""

    Config = DeepThinkingConfig

    def __init__(self, config: DeepThinkingConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, dtype, scale=1.0, tied=True)
        self.grid, D = facts.grid, config.width
        self.heads.prefix = 0
        slower = 1 / config.recursions  # as published: the loop's rate by its length
        self.projection = GridConv(D, D)
        self.recall = GridConv(2 * D, D, slower) if config.recall else None
        self.blocks = nn.Sequential(*(GridBlock(D, slower) for _ in range(config.layers)))
        first, second = HEAD
        self.answer = nn.Sequential(
            GridConv(D, first),
            nn.ReLU(),
            GridConv(first, second),
            nn.ReLU(),
            GridConv(second, facts.vocab_size),
        )

    def encode(self, batch: Batch) -> Tensor:
        x, prefix = self.encoder(batch), self.config.prefix
        return x[:, prefix:] + x[:, :1] if prefix else x

    def start(self, x: Tensor, noise: Noise) -> LoopState:
        return LoopState(self.flat(F.relu(self.projection(self.square(x)))))

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        z = self.square(state.z)
        if self.recall is not None:
            z = self.recall(torch.cat((z, self.square(x)), dim=1))
        return LoopState(self.flat(self.blocks(z)))

    def read(self, state: LoopState) -> Read:
        logits = self.flat(self.answer(self.square(state.z)))
        return Read(logits, self.heads.halt(state.z[:, 0]).float())

    def square(self, x: Tensor) -> Tensor:
        """(B S D) -> (B D rows columns)."""
        return rearrange(x, "b (r c) d -> b d r c", r=self.grid[0])

    def flat(self, x: Tensor) -> Tensor:
        """(B D rows columns) -> (B S D)."""
        return rearrange(x, "b d r c -> b (r c) d")
