"""A model at work on puzzles: segment after segment, and what it says after each.

B batch, N puzzles, S cells, K segments.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from tinyreason.exits import EXITS, POOLS, Exit, Watch, cells_of
from tinyreason.gradient import Gradient
from tinyreason.halting import Halting
from tinyreason.losses import judge, mean_of_scored, softmax
from tinyreason.metrics import cell_accuracy, exact
from tinyreason.models import Read, RecursiveModel
from tinyreason.noise import PuzzleNoise
from tinyreason.options import Options, option
from tinyreason.puzzle import IGNORE, Batch, Facts, Rows
from tinyreason.recursion import Depth, unroll
from tinyreason.segment import Carry, Trace, segment


@dataclass
class EvalConfig(Options):
    """How a model is examined."""

    split: str = option(choices=("train", "valid", "test"))
    puzzles: int | None = option(least=1)  # at most so many; None: all
    segments: int | None = option(least=1, shared_most=4096)  # None: as many as in training
    halt: bool
    # of the halting head, from which on it is believed; None: where the halting rule says so
    confidence: float | None = option(least=0, most=1)
    batch: int = option(least=1, shared_most=1 << 20)
    votes: int = option(least=0, shared_most=1 << 20)
    exit: str = option(choices=("none", *EXITS))  # where a puzzle may leave the recursion
    exit_threshold: float | None = option(least=0)  # None: as published
    exit_pool: str = option(choices=POOLS)  # over the cells of a puzzle


# between the numbers of a puzzle in two starts: a prime above the puzzles of any evaluation, and
# small, since a generator on the CPU looks at 32 bits
STRIDE = 1_000_003

CACHE = 1 << 18  # bytes of one latent of the slots of a core: what is made of it has ten times more
FEWEST = 4  # slots at once: products of fewer rows are slower


def nobody(finished: int) -> None:
    """Hears nothing."""


def confidence_of(halt_logits: np.ndarray) -> np.ndarray:
    """From 0 to 1: a sigmoid that cannot overflow."""
    return 0.5 * (1 + np.tanh(0.5 * halt_logits))


@dataclass
class Attempt:
    """What a model did with N puzzles, in numpy."""

    answers: np.ndarray  # (N, S) uint8, the last
    halt_logits: np.ndarray  # (N,) float32, at the last answer
    segments: np.ndarray  # (N,) int64, until the last answer
    exact: np.ndarray  # (N, K) bool, after each segment
    cells: np.ndarray  # (N, K) float32, share of cells right after each segment
    wants: np.ndarray  # (N, K) bool, the head says finished
    loss: np.ndarray  # (N,) float32, mean cross-entropy of the scored cells at the last answer
    # (N, K) float32, how far the logits of a cell moved in each segment, on average; 0 in the first
    moved: np.ndarray
    exit_exact: np.ndarray  # (N,) bool, where the puzzle may leave the recursion
    exit_recursions: np.ndarray  # (N,) int64, until then; 0 where no exit was asked for
    exited: np.ndarray  # (N,) bool, before the last recursion

    @property
    def confidence(self) -> np.ndarray:
        """(N,) float32 from 0 to 1: what the halting head gives the last answer."""
        return confidence_of(self.halt_logits)

    def rows(self, which: np.ndarray) -> "Attempt":
        """The puzzles `which` (bool mask or indices) alone."""
        return Attempt(*(getattr(self, field.name)[which] for field in fields(self)))


def empty_attempt(puzzles: int, cells: int, segments: int) -> Attempt:
    """To be filled in."""
    each = (puzzles, segments)
    return Attempt(
        answers=np.zeros((puzzles, cells), np.uint8),
        halt_logits=np.zeros(puzzles, np.float32),
        segments=np.zeros(puzzles, np.int64),
        exact=np.zeros(each, bool),
        cells=np.zeros(each, np.float32),
        wants=np.zeros(each, bool),
        loss=np.zeros(puzzles, np.float32),
        moved=np.zeros(each, np.float32),
        exit_exact=np.zeros(puzzles, bool),
        exit_recursions=np.zeros(puzzles, np.int64),
        exited=np.zeros(puzzles, bool),
    )


class Slots:
    """Which of N puzzles is in which of B slots, and its segments so far, on the host."""

    def __init__(self, count: int, puzzles: int, most: int):
        self.total, self.most = puzzles, most
        self.puzzles = np.arange(count)  # (B,)
        self.segments = np.zeros(count, np.int64)  # (B,)
        self.busy = np.ones(count, bool)  # (B,) and not a repeat
        self.next = count

    def advance(self, wants: np.ndarray | None) -> np.ndarray:
        """One segment more. (B,) bool: the slots whose puzzle has left, at its last segment or
        where it `wants`.

        They get the next puzzles, in order.
        """
        self.segments += 1
        finished = self.segments >= self.most
        if wants is not None:
            finished |= wants
        finished &= self.busy
        coming = self.next + np.arange(finished.sum())
        self.next += len(coming)
        self.puzzles[finished] = np.minimum(coming, self.total - 1)
        self.busy[finished] = coming < self.total
        self.segments[finished] = 0
        return finished


@dataclass
class Solver:
    """A model and how it is to be examined."""

    model: RecursiveModel
    depth: Depth
    gradient: Gradient
    halting: Halting
    segments: int  # K
    halt: bool
    batch: int
    device: torch.device
    exit: Exit | None = None
    confidence: float | None = None  # see EvalConfig
    start: int = 0  # of those that a model draws: another number, other random numbers
    first: int = 0  # number of the first puzzle, where others have those before it

    @torch.no_grad()
    def __call__(self, rows: Rows, facts: Facts, done: Callable[[int], None] = nobody) -> Attempt:
        """Attempt all `rows` (N of them, at least one).

        A slot whose puzzle is finished takes the next one, so the model always sees one batch size;
        slots that find no more puzzles repeat the last, unseen. What a puzzle comes to depends on
        neither its slot nor the others, bit for bit, where a product's rows do not: see
        `docs/evaluation.md`. `done` hears how many more puzzles are finished.
        """
        self.model.eval()
        slots = Slots(self.slots(*rows.inputs.shape), len(rows.inputs), self.segments)
        results = empty_attempt(len(rows.inputs), rows.inputs.shape[1], self.segments)
        batch = self.upload(rows, facts, slots.puzzles)
        carry = Carry.fresh(self.model, batch).refill(batch)
        watch = Watch(self.exit) if self.exit else None
        before = None  # logits of each slot after the segment before (B S V)
        while slots.busy.any():
            numbers = slots.puzzles + self.first + STRIDE * self.start
            noise = PuzzleNoise(slots.segments.tolist(), numbers.tolist())
            if watch:
                trace = self.watched(carry, noise, watch, slots, results)
            else:
                trace = segment(self.model, carry, self.depth, self.gradient, noise)
            carry = carry.advance(trace.state)
            read = trace.reads[-1]
            wants = self.finished(read)
            self.record(results, slots, carry, read, wants)
            self.record_moves(results, slots, before, read.logits)
            before = read.logits
            finished = slots.advance(wants.cpu().numpy() if self.halt else None)
            done(int(finished.sum()))
            if finished.any() and slots.busy.any():
                free = torch.from_numpy(finished).to(self.device)
                carry = replace(carry, halted=free).refill(self.upload(rows, facts, slots.puzzles))
        self.model.train()
        return results

    def slots(self, puzzles: int, cells: int) -> int:
        """How many of N `puzzles` of S `cells` are solved at once: `batch` at most.

        On a CPU fewer, so that what is computed for them stays in the cache of each core (a batch
        of 256 took twice as long a puzzle as one of 32); and such that rounds of equal length
        leave no slot empty.
        """
        most = self.batch
        if self.device.type == "cpu":
            state = 4 * self.model.config.width * (self.model.config.prefix + cells)
            fit = torch.get_num_threads() * CACHE // state
            most = min(most, max(fit, FEWEST))
        rounds = -(-puzzles // most)
        return -(-puzzles // rounds)

    def finished(self, read: Read) -> Tensor:
        """(B,) bool: the head says that the puzzle is finished, and is sure of it.

        What it is trained for, and where a puzzle leaves its slot in training, is one half: right
        for learning, too early for an answer.
        """
        said = self.halting.wants(read)
        if self.confidence is None:
            return said
        return said & (read.halt[:, 0].sigmoid() >= self.confidence)

    def watched(
        self, carry: Carry, noise: PuzzleNoise, watch: Watch, slots: Slots, results: Attempt
    ) -> Trace:
        """A segment that is read after every whole recursion, to see who may leave."""
        model, labels, total = self.model, carry.batch.labels, self.depth.total
        unit, cells = model.config.cycle or 1, labels.shape[1]
        x = model.encode(carry.batch)
        state = begun = carry.begun(model.start(x, noise))
        watch.begin(carry.segments == 0, cells_of(state[0], cells), model.heads.vocab_size)
        states = unroll(model.recursion(noise), state, x, Depth(total, total))
        for t, state in enumerate(states, start=1):
            if t % unit == 0:
                read = model.read(state)
                leaves = watch.leaves(cells_of(state[0], cells), read)
                self.record_exit(results, slots, t, leaves, exact(read.answer, labels))
        return Trace(state, [read], begun, {})

    def record_exit(
        self, results: Attempt, slots: Slots, t: int, leaves: Tensor, correct: Tensor
    ) -> None:
        """Write down what busy slots came to, until they have left."""
        leaves, correct = leaves.cpu().numpy(), correct.cpu().numpy()
        done = slots.segments * self.depth.total + t
        last = done >= self.segments * self.depth.total
        open_ = ~results.exited[slots.puzzles]
        if self.exit.again:
            open_ = leaves
        now = slots.busy & open_
        puzzles = slots.puzzles[now]
        results.exit_exact[puzzles] = correct[now]
        results.exit_recursions[puzzles] = done[now]
        results.exited[puzzles] = (leaves & ~last)[now]

    def upload(self, rows: Rows, facts: Facts, which: np.ndarray) -> Batch:
        """The puzzles `which` on the device."""
        return Batch.of(Rows(*(field[which] for field in rows)), facts, self.device)

    def record_moves(
        self, results: Attempt, slots: Slots, before: Tensor | None, logits: Tensor
    ) -> None:
        """Write down how far the logits moved, where a puzzle has had a segment before."""
        later = slots.busy & (slots.segments > 0)
        if before is not None and later.any():
            moved = (logits - before).float().norm(dim=-1).mean(-1).cpu().numpy()
            results.moved[slots.puzzles[later], slots.segments[later]] = moved[later]

    def record(
        self, results: Attempt, slots: Slots, carry: Carry, read: Read, wants: Tensor
    ) -> None:
        """Write down what the busy slots answered, for the segments after this one too."""
        answer, labels = read.answer, carry.batch.labels
        (cells,) = judge(softmax, [read], labels, carry.segments).cells
        loss = mean_of_scored(cells, labels != IGNORE)
        right = exact(answer, labels), cell_accuracy(answer, labels)
        found = answer, read.halt[:, 0], *right, wants, loss
        answers, halts, exacts, cells, wanted, losses = (
            tensor.cpu().numpy()[slots.busy] for tensor in found
        )
        puzzles, had = slots.puzzles[slots.busy], slots.segments[slots.busy]
        results.answers[puzzles] = answers
        results.halt_logits[puzzles] = halts
        results.loss[puzzles] = losses
        results.segments[puzzles] = had + 1
        later = np.arange(self.segments) >= had[:, None]
        for field, value in (
            (results.exact, exacts),
            (results.cells, cells),
            (results.wants, wanted),
        ):
            field[puzzles] = np.where(later, value[:, None], field[puzzles])
