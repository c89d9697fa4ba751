"""TRM that sees its own answer, and learns to repair it.

Unusual in it:
- the answer that can be read off z_H is embedded and injected beside the question, so the slow
  state tells the core what it has decided; the embedding starts at zero, as TRM without it
- in training some slots see some cells of it wrong: what the core is then asked for is a repair
- evaluations see the answer as it is

Source: the rungs exp008 to exp010 of priml's Sudoku log (github.com/rekursiv-ai/priml), +4.3 to
+5.9 points on three seeds. Departures: the answer is read in every cycle, not once a segment; a
wrong cell gets the answer of another cell of the puzzle, not a random digit; cells that the
question gives may be wrong too, since the library does not know which they are.

B batch, S sequence (prefix + cells), D width.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.special import ndtri

from tinyreason.models.base import CycleConfig, FixedStart, State, make_core
from tinyreason.noise import Noise, NoNoise
from tinyreason.options import option
from tinyreason.puzzle import Facts
from tinyreason.recursion import Recur


@dataclass
class RepairConfig(CycleConfig):
    """Of `Repair`."""

    slots: float = option(least=0, most=1)  # share of the slots that see a wrong answer
    cells: float = option(least=0, most=1)  # share of their cells that are wrong

    reads_each: ClassVar[bool] = True


class Repair(FixedStart):
    """Final."""

    Config = RepairConfig

    def __init__(self, config: RepairConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, State, dtype)
        self.core = make_core(config, facts)
        self.feedback = nn.Parameter(torch.zeros(facts.vocab_size, config.width))

    def recursion(self, noise: Noise) -> Recur:
        """The cells that are wrong are those of the segment: each recursion draws the same."""
        return lambda state, x, t: self.moved(state, x, t, noise.at(0))

    def recur(self, state: State, x: Tensor, t: int) -> State:
        """Without wrong cells."""
        return self.moved(state, x, t, NoNoise())

    def moved(self, state: State, x: Tensor, t: int, noise: Noise) -> State:
        """A recursion."""
        z_H, z_L = state
        z_L = self.core(z_L + (z_H + x + self.injected(z_H, noise)))
        if self.config.closes(t):
            z_H = self.core(z_H + z_L)
        return State(z_H, z_L)

    def injected(self, z_H: Tensor, noise: Noise) -> Tensor:
        """The answer that z_H holds, embedded, zero before the cells: (B S D)."""
        with torch.no_grad():
            answer = self.heads(z_H.detach())[0].argmax(-1)
            if self.training:
                answer = self.spoilt(answer, noise)
        cells = F.embedding(answer, self.feedback).to(z_H.dtype)
        return self.encoder.scale * F.pad(cells, (0, 0, self.config.prefix, 0))

    def spoilt(self, answer: Tensor, noise: Noise) -> Tensor:
        """(B cells) int64 with some cells as others of the same puzzle are."""
        like = answer.float()
        slots = noise.normal(like[:, :1]) < quantile(self.config.slots)
        cells = noise.normal(like) < quantile(self.config.cells)
        others = answer.gather(1, noise.normal(like).argsort(1))
        return torch.where(slots & cells, others, answer)


def quantile(share: float) -> float:
    """The number below which that share of standard normal numbers lies."""
    return float(ndtri(torch.tensor(share, dtype=torch.float64)))
