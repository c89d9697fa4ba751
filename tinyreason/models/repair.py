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
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.special import ndtri

from tinyreason.models.base import CycleConfig, FixedStart, State, make_core
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.puzzle import Facts
from tinyreason.recursion import Recur


@dataclass
class RepairConfig(CycleConfig):
    """Of `Repair`."""

    slots: float = option(least=0, most=1)  # share of the slots that see a wrong answer
    cells: float = option(least=0, most=1)  # share of their cells that are wrong

    reads_each: ClassVar[bool] = True


class Wrong(NamedTuple):
    """The cells that are seen wrong in a segment."""

    cells: Tensor  # (B cells) bool
    others: Tensor  # (B cells) int64, the cell of the puzzle whose answer each would get


class Repair(FixedStart):
    """Final."""

    Config = RepairConfig

    def __init__(self, config: RepairConfig, facts: Facts, dtype: torch.dtype):
        super().__init__(config, facts, State, dtype)
        self.core = make_core(config, facts)
        self.feedback = nn.Parameter(torch.zeros(facts.vocab_size, config.width))

    def recursion(self, noise: Noise) -> Recur:
        """The cells that are wrong are those of the segment: drawn once, at its first recursion."""
        wrong: list[Wrong] = []

        def recur(state: State, x: Tensor, t: int) -> State:
            if self.training and not wrong:
                wrong.append(self.wrong(x[:, self.config.prefix :, 0], noise.at(0)))
            return self.moved(state, x, t, *wrong)

        return recur

    def recur(self, state: State, x: Tensor, t: int) -> State:
        """Without wrong cells."""
        return self.moved(state, x, t)

    def moved(self, state: State, x: Tensor, t: int, wrong: Wrong | None = None) -> State:
        """A recursion."""
        z_H, z_L = state
        z_L = self.core(z_L + (z_H + x + self.injected(z_H, wrong)))
        if self.config.closes(t):
            z_H = self.core(z_H + z_L)
        return State(z_H, z_L)

    def injected(self, z_H: Tensor, wrong: Wrong | None = None) -> Tensor:
        """The answer that z_H holds, embedded, zero before the cells: (B S D)."""
        with torch.no_grad():
            answer = self.heads(z_H.detach())[0].argmax(-1)
            if wrong is not None:
                answer = spoilt(answer, wrong)
        cells = F.embedding(answer, self.feedback).to(z_H.dtype)
        return self.encoder.scale * F.pad(cells, (0, 0, self.config.prefix, 0))

    @torch.no_grad()
    def wrong(self, like: Tensor, noise: Noise) -> Wrong:
        """Of a segment, where `like` is (B cells)."""
        like = like.float()
        slots = noise.normal(like[:, :1]) < quantile(self.config.slots)
        cells = noise.normal(like) < quantile(self.config.cells)
        return Wrong(slots & cells, noise.normal(like).argsort(1))


def spoilt(answer: Tensor, wrong: Wrong) -> Tensor:
    """(B cells) int64 with some cells as others of the same puzzle are."""
    return torch.where(wrong.cells, answer.gather(1, wrong.others), answer)


def quantile(share: float) -> float:
    """The number below which that share of standard normal numbers lies."""
    return float(ndtri(torch.tensor(share, dtype=torch.float64)))
