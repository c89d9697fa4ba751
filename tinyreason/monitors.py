"""How a recursion fares, beside what it answers: three numbers for the log.

Source: what Huginn's code watches while training, arXiv 2502.05171.

B batch, S cells, D width.
"""

import torch
from torch import Tensor

from tinyreason.exits import cells_of
from tinyreason.models.base import RecursiveModel
from tinyreason.noise import PuzzleNoise
from tinyreason.puzzle import Batch
from tinyreason.recursion import Depth, unroll

MOST = 64  # puzzles that are looked at


@torch.no_grad()
def watched(model: RecursiveModel, batch: Batch, recursions: int) -> dict[str, float]:
    """Of the first segment of a batch:

    token_correlation: see there; 1: all cells have the same latent, which is a collapse
    relative_residual: how far the last whole recursion moves the latent; 0: a fixed point
    same_answer: the share of cells whose answer is that after one whole recursion; 1: recursions
        are not used
    """
    model.eval()
    unit, cells = model.config.cycle or 1, batch.inputs.shape[1]
    noise = PuzzleNoise([0] * len(batch), list(range(len(batch))))
    x = model.encode(batch)
    states = unroll(model.recursion(noise), model.start(x, noise), x, Depth(recursions, recursions))
    whole = [state for t, state in enumerate(states, start=1) if t % unit == 0]
    before = whole[-2] if len(whole) > 1 else model.start(x, noise)
    first, last = model.read(whole[0]).answer, model.read(whole[-1]).answer
    model.train()
    z = cells_of(whole[-1][0], cells)
    return {
        "token_correlation": token_correlation(z).item(),
        "relative_residual": relative_residual(cells_of(before[0], cells), z).item(),
        "same_answer": (first == last).float().mean().item(),
    }


def token_correlation(z: Tensor) -> Tensor:
    """Mean correlation between the latents of two cells of a puzzle, each with itself left out:
    (B S D) -> scalar. 0: they point everywhere, 1: all the same way.
    """
    centred = z.float() - z.float().mean(-1, keepdim=True)
    unit = torch.nn.functional.normalize(centred, dim=-1)
    S = z.shape[1]
    everything = (unit @ unit.mT).mean((1, 2))
    return ((everything - 1 / S) / (1 - 1 / S)).mean() if S > 1 else torch.zeros(())


def relative_residual(before: Tensor, z: Tensor) -> Tensor:
    """|z - before| / |z| of each puzzle, the mean over them: (B S D) -> scalar."""
    moved = (z - before).float().flatten(1).norm(dim=-1)
    return (moved / z.float().flatten(1).norm(dim=-1)).mean()
