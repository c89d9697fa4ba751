"""From a batch to what is injected at every recursion, and from a state to what is read off it.

Prefix tokens stand before the cells: the first carries the puzzle embedding and is what the halting
head reads.

Sources: HRM, arXiv 2506.21734; TRM, arXiv 2510.04871.

B batch, S sequence (prefix + cells), D width, V vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinyreason.errors import UserError
from tinyreason.layers import Linear, truncated_normal
from tinyreason.puzzle import Batch, Facts
from tinyreason.puzzle_embedding import PuzzleEmbedding

POSITIONS = ("rotary", "learned", "grid", "none")


class Encoder(nn.Module):
    """Prefix and cells, with positions, times `scale`: what is injected at every recursion. Batch
    -> (B S D).

    The first prefix token carries the puzzle embedding (zero where there is none); the others are
    zero, as registers. HRM, TRM and Huginn scale by sqrt(D), which is `scale=None`.
    """

    def __init__(
        self,
        facts: Facts,
        width: int,
        prefix: int,
        positions: str,
        puzzle_embedding: bool,
        dtype: torch.dtype,
        scale: float | None = None,
    ):
        super().__init__()
        if puzzle_embedding and not prefix:
            raise UserError(
                "model.puzzle_embedding=true needs a prefix token; use model.prefix=1 or more"
            )
        self.width, self.prefix, self.dtype = width, prefix, dtype
        self.scale = math.sqrt(width) if scale is None else scale
        self.tokens = nn.Parameter(truncated_normal((facts.vocab_size, width), width**-0.5))
        self.puzzles = (
            PuzzleEmbedding(facts.num_puzzle_identifiers, width) if puzzle_embedding else None
        )
        self.positions = make_positions(positions, facts, width, prefix)

    def forward(self, batch: Batch) -> Tensor:
        cells = F.embedding(batch.inputs, self.tokens).to(self.dtype)
        x = torch.cat((self.prefix_of(batch), cells), dim=1) if self.prefix else cells
        return self.positions(x) * self.scale

    def prefix_of(self, batch: Batch) -> Tensor:
        """(B prefix D)."""
        prefix = torch.zeros(
            len(batch), self.prefix, self.width, dtype=self.dtype, device=batch.inputs.device
        )
        if self.puzzles is None:
            return prefix
        return torch.cat(
            (self.puzzles(batch.puzzle_ids).to(self.dtype)[:, None], prefix[:, 1:]), dim=1
        )


class Learned(nn.Module):
    """A learned vector for each position, prefix included; the sum is scaled to keep variance. (B S
    D) -> (B S D).
    """

    def __init__(self, length: int, width: int):
        super().__init__()
        self.table = nn.Parameter(truncated_normal((length, width), width**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        return math.sqrt(0.5) * (x + self.table.to(x.dtype))


class GridPositions(nn.Module):
    """Learned vectors for row, column and box of each cell; none for the prefix. (B S D) -> (B S
    D).

    The cell knows its place on the grid, which one axis of positions hides. Not in the papers;
    priml's Sudoku log reports +9 points for attention.
    """

    def __init__(self, facts: Facts, width: int, prefix: int):
        super().__init__()
        (rows, columns), box = facts.grid, facts.box
        row, column = (
            a.flatten()
            for a in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        )
        places, count = [row, rows + column], rows + columns
        if box:
            places.append(count + row // box[0] * (columns // box[1]) + column // box[1])
            count += rows // box[0] * (columns // box[1])
        self.prefix = prefix
        self.register_buffer("places", torch.stack(places), persistent=False)
        self.table = nn.Parameter(truncated_normal((count, width), width**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        grid = self.table[self.places].sum(0).to(x.dtype)
        return x + F.pad(grid, (0, 0, self.prefix, 0))


def make_positions(positions: str, facts: Facts, width: int, prefix: int) -> nn.Module:
    """What is added to the embedded sequence, by its name in `model.positions`; rotary acts inside
    attention.
    """
    if positions in ("rotary", "none"):
        return nn.Identity()
    if positions == "learned":
        return Learned(facts.seq_len + prefix, width)
    return GridPositions(facts, width, prefix)


class Heads(nn.Module):
    """Reads the answer off the cells, the halting logits off the first token. (B S D) -> (B cells
    V), (B 2) float32.

    The halting head starts at weight 0 and bias -5: nothing halts before it has been learnt. With
    `tied`, the answer is read by the embedding of the tokens, which is handed in, and there is no
    other weight for it.
    """

    def __init__(self, vocab_size: int, width: int, prefix: int, tied: bool = False):
        super().__init__()
        self.prefix, self.vocab_size = prefix, vocab_size
        self.answer = None if tied else Linear(width, vocab_size)
        self.halt = Linear(width, 2, bias=True)
        nn.init.zeros_(self.halt.weight)
        nn.init.constant_(self.halt.bias, -5.0)

    def forward(self, z: Tensor, tokens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        logits = self.answer(z) if tokens is None else F.linear(z, tokens.to(z.dtype))
        return logits[:, self.prefix :], self.halting(z[:, :1]).float()

    def halting(self, first: Tensor) -> Tensor:
        """A small product for each puzzle. (B 1 D) -> (B 2).

        A single one of B rows would have other bits for other B, where a CPU's library has a
        method of its own for few rows; all other products have the rows of a whole grid a puzzle.
        """
        weight = self.halt.weight.to(first.dtype).T.expand(len(first), -1, -1)
        return torch.bmm(first, weight)[:, 0] + self.halt.bias.to(first.dtype)
