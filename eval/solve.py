"""How much of a split does a model solve? `python -m eval.solve run=runs/NAME [split=test]
[halt=true] [json=FILE]`

`run` may also be a folder that `eval.export` wrote, or one on the hub, `hub:owner/name[@revision]`.
The evaluation inside training is this `solve`. Every puzzle gets all segments, as in the
references, unless `halt` takes the answer at the first segment where the halting head says that it
is finished.

B batch, N puzzles, S cells, K segments.
"""

import hashlib
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from scipy.stats import binomtest
from torch import Tensor

from conf.cli import command, pick_device
from conf.schema import SolveConfig, at_least, typed
from data.arc import ARC
from data.task import Task
from eval.arc_vote import vote, write_submission
from eval.exported import Exported
from eval.load import open_run
from tinyreason.errors import UserError
from tinyreason.halting import Halting, make_halting
from tinyreason.metrics import cell_accuracy, exact
from tinyreason.models import Read, RecursiveModel
from tinyreason.noise import PuzzleNoise
from tinyreason.puzzle import Batch, Facts, Puzzles, Rows
from tinyreason.recursion import Depth, Gradient
from tinyreason.run.console import say
from tinyreason.segment import Carry, segment


@dataclass
class Attempt:
    """What a model did with N puzzles, in numpy."""

    answers: np.ndarray  # (N, S) uint8, the last
    halt_logits: np.ndarray  # (N,) float32, at the last answer
    exact: np.ndarray  # (N, K) bool, after each segment
    cells: np.ndarray  # (N, K) float32, share of cells right after each segment
    wants: np.ndarray  # (N, K) bool, the head says finished

    def rows(self, which: np.ndarray) -> "Attempt":
        """The puzzles `which` (bool mask or indices) alone."""
        return Attempt(*(getattr(self, field.name)[which] for field in fields(self)))


def empty_attempt(puzzles: int, cells: int, segments: int) -> Attempt:
    """To be filled in."""
    each = (puzzles, segments)
    return Attempt(
        answers=np.zeros((puzzles, cells), np.uint8),
        halt_logits=np.zeros(puzzles, np.float32),
        exact=np.zeros(each, bool),
        cells=np.zeros(each, np.float32),
        wants=np.zeros(each, bool),
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

    @torch.no_grad()
    def __call__(self, rows: Rows, facts: Facts) -> Attempt:
        """Attempt all `rows` (N of them, at least one).

        A slot whose puzzle is finished takes the next one, so the model always sees one batch size;
        slots that find no more puzzles repeat the last, unseen.
        """
        self.model.eval()
        slots = Slots(min(self.batch, len(rows.inputs)), len(rows.inputs), self.segments)
        results = empty_attempt(len(rows.inputs), rows.inputs.shape[1], self.segments)
        batch = self.upload(rows, facts, slots.puzzles)
        carry = Carry.fresh(self.model, batch).refill(batch)
        while slots.busy.any():
            noise = PuzzleNoise(slots.segments.tolist(), slots.puzzles.tolist())
            trace = segment(self.model, carry, self.depth, self.gradient, noise)
            carry = carry.advance(trace.state)
            read = trace.reads[-1]
            wants = self.halting.wants(read)
            self.record(results, slots, carry, read, wants)
            finished = slots.advance(wants.cpu().numpy() if self.halt else None)
            if finished.any() and slots.busy.any():
                free = torch.from_numpy(finished).to(self.device)
                carry = replace(carry, halted=free).refill(self.upload(rows, facts, slots.puzzles))
        self.model.train()
        return results

    def upload(self, rows: Rows, facts: Facts, which: np.ndarray) -> Batch:
        """The puzzles `which` on the device."""
        return Batch.of(Rows(*(field[which] for field in rows)), facts, self.device)

    def record(
        self, results: Attempt, slots: Slots, carry: Carry, read: Read, wants: Tensor
    ) -> None:
        """Write down what the busy slots answered, for the segments after this one too."""
        answer, labels = read.answer, carry.batch.labels
        found = answer, read.halt[:, 0], exact(answer, labels), cell_accuracy(answer, labels), wants
        answers, halts, exacts, cells, wanted = (
            tensor.cpu().numpy()[slots.busy] for tensor in found
        )
        puzzles, had = slots.puzzles[slots.busy], slots.segments[slots.busy]
        results.answers[puzzles] = answers
        results.halt_logits[puzzles] = halts
        later = np.arange(self.segments) >= had[:, None]
        for field, value in (
            (results.exact, exacts),
            (results.cells, cells),
            (results.wants, wanted),
        ):
            field[puzzles] = np.where(later, value[:, None], field[puzzles])


def solve(
    solver: Solver,
    task: Task,
    puzzles: Puzzles,
    split: str,
    limit: int | None = None,
    votes: int = 0,
) -> dict:
    """Metrics of `solver` on the first `limit` examples of a split; with `votes`, ARC's pass@k and
    submission too.
    """
    if votes:
        return solve_by_votes(solver, task, split, limit, votes)
    rows = puzzles.rows(slice(limit))
    return metrics(solver(rows, task.facts), rows, task) if len(rows.inputs) else {"puzzles": 0}


def solve_by_votes(solver: Solver, task: Task, split: str, limit: int | None, votes: int) -> dict:
    """ARC's answer from many augmentations.

    The metrics of single answers are those of the tasks as they are.
    """
    if not isinstance(task, ARC) or split != "test" or limit is not None:
        raise UserError("votes are for all of the test split of task=arc; leave the option out")
    rows, where = task.views(split, votes)
    if not len(rows.inputs):
        return {"puzzles": 0}
    attempt, plain = solver(rows, task.facts), where[:, 2] == 0
    scores, submission = vote(task, where, attempt.answers, attempt.halt_logits)
    found = metrics(attempt.rows(plain), Rows(*(field[plain] for field in rows)), task)
    return found | scores | {"submission": submission}


def metrics(attempt: Attempt, rows: Rows, task: Task) -> dict:
    """What the attempt is worth. Puzzles without a known answer are not counted."""
    known = (rows.labels != task.facts.ignore_label_id).any(-1)  # None is equal to no label
    if not known.any():
        return {"puzzles": 0}
    attempt = attempt.rows(known)
    inputs, labels = rows.inputs[known], rows.labels[known]
    scored = labels != task.facts.ignore_label_id
    solved, wants, count = attempt.exact[:, -1], attempt.wants, int(known.sum())
    interval = binomtest(int(solved.sum()), count).proportion_ci(method="wilson")
    first = np.where(wants.any(1), wants.argmax(1) + 1, wants.shape[1])
    right = attempt.answers == labels
    checks = task.check(inputs, attempt.answers)
    return {
        "puzzles": count,
        "exact_accuracy": float(solved.mean()),
        "exact_low": interval.low,
        "exact_high": interval.high,
        "cell_accuracy": float(attempt.cells[:, -1].mean()),
        "blank_accuracy": float(right[task.blanks(inputs) & scored].mean()),
        **{f"{name}_rate": float(kept.mean()) for name, kept in checks.items()},
        "halting_accuracy": float(((attempt.halt_logits >= 0) == solved).mean()),
        "segments_to_halt": float(first.mean()),
        "exact_by_segment": [round(float(x), 6) for x in attempt.exact.mean(0)],
        "solved": "".join("01"[int(x)] for x in solved),
        "puzzles_sha256": hashlib.sha256(inputs.tobytes()).hexdigest(),
    }


def brief(found: dict) -> str:
    """Metrics in one line."""
    if not found.get("puzzles"):
        return "no puzzles"
    interval = f"[{found['exact_low']:.1%}, {found['exact_high']:.1%}]"
    parts = [f"exact {found['exact_accuracy']:.1%} {interval}"]
    parts.append(f"blank cells {found['blank_accuracy']:.1%}")
    for name, value in found.items():
        if name.endswith("_rate") or name.startswith("pass@"):
            parts.append(f"{name.removesuffix('_rate')} {value:.1%}")
    parts.append(f"halting: {found['segments_to_halt']:.1f} segments on average")
    parts.append(f"{found['halting_accuracy']:.1%} correct")
    return f"{', '.join(parts)} ({found['puzzles']} puzzles)"


def save_submission(found: dict, folder: Path) -> None:
    """Move ARC's submission out of the metrics to `folder`/submission.json, for Kaggle."""
    if (submission := found.pop("submission", None)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_submission(folder / "submission.json", submission)
        say(f"wrote {folder / 'submission.json'}")


def main(words: DictConfig) -> None:
    options = typed(SolveConfig, words)
    device = pick_device(options.device)
    at_least(1, batch=options.batch, segments=options.segments, max_puzzles=options.max_puzzles)
    out = Path(options.json) if options.json else None
    if out and not out.parent.is_dir():
        raise UserError(f"json={out}: there is no folder {out.parent}")
    trained = open_run(options.run)
    config = trained.config
    segments = options.segments or config.eval.segments or config.halting.segments
    halt = config.eval.halt if options.halt is None else options.halt
    votes = options.votes or 0
    if options.votes is None and options.split == "test":
        votes = config.eval.votes
    task, splits = trained.puzzles(options.source)
    if options.split not in splits:
        raise UserError(f"split={options.split} is unknown; use one of {', '.join(splits)}")
    solver = Solver(
        model=trained.model(task.facts, options.weights, device),
        depth=trained.depth(),
        gradient=trained.gradient(),
        halting=make_halting(config.halting),
        segments=segments,
        halt=halt,
        batch=options.batch or config.eval.batch,
        device=device,
    )
    found = solve(solver, task, splits[options.split], options.split, options.max_puzzles, votes)
    beside = Path() if isinstance(config, Exported) else trained.path
    save_submission(found, out.parent if out else beside / "again")
    say(f"{options.split}: {brief(found)}")
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    command("solve", main)
