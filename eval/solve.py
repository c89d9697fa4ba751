"""How much of a split does a model solve? `python -m eval.solve run=runs/NAME [split=test] [halt=true] [json=FILE]`

The evaluation inside training is this `solve`. Every puzzle gets all segments, as in the references, unless `halt`
takes the answer at the first segment where the halting head says that it is finished (such puzzles leave the batch).

B batch, N puzzles, S cells, K segments.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from scipy.stats import binomtest

from conf.cli import command, pick_device
from conf.run import read_config
from conf.schema import Config, SolveConfig, at_least, typed
from data.arc import ARC
from data.registry import load_task
from data.task import Task
from eval.arc_vote import vote
from tinyreason import checkpoint
from tinyreason.errors import UserError
from tinyreason.halting import Halting, make_halting
from tinyreason.losses import cell_accuracy, exact
from tinyreason.models import RecursiveModel, make_model
from tinyreason.puzzle import IGNORE, Batch, Facts, Puzzles, Rows
from tinyreason.recursion import Depth
from tinyreason.segment import Carry


@dataclass
class Attempt:
    """What a model did with N puzzles, in numpy."""

    answers: np.ndarray  # (N, S) uint8, the last
    halt_logits: np.ndarray  # (N,) float32, at the last answer
    exact: np.ndarray  # (K, N) bool, after each segment
    cells: np.ndarray  # (K, N) float32, share of cells right after each segment
    wants: np.ndarray  # (K, N) bool, the head says finished


@dataclass
class Solver:
    """A model and how it is to be examined."""

    model: RecursiveModel
    depth: Depth
    halting: Halting
    segments: int  # K
    halt: bool
    batch: int
    device: torch.device

    def __call__(self, rows: Rows, facts: Facts) -> Attempt:
        """Attempt all `rows`, a batch at a time."""
        self.model.eval()
        starts = range(0, len(rows.inputs), self.batch)
        parts = [Batch.of(Rows(*(a[i : i + self.batch] for a in rows)), facts, self.device) for i in starts]
        attempts = [self.attempt(part) for part in parts]
        self.model.train()
        fields = (np.concatenate(field, -1 if i > 1 else 0) for i, field in enumerate(zip(*attempts, strict=True)))
        return Attempt(*fields)

    @torch.no_grad()
    def attempt(self, batch: Batch) -> tuple[np.ndarray, ...]:
        """The fields of Attempt for one batch."""
        carry = Carry.fresh(self.model, batch).refill(batch, self.model)
        live = torch.arange(len(batch), device=self.device)
        answers = torch.zeros_like(batch.inputs)
        halts = torch.zeros(len(batch), device=self.device)
        wants = torch.ones(self.segments, len(batch), dtype=torch.bool, device=self.device)
        exacts, cells = [], []
        for k in range(self.segments):
            if len(live):
                state, read = self.model(carry.state, carry.batch, self.depth)
                carry = carry.advance(state, torch.zeros_like)
                answers[live], halts[live] = read.answer.to(answers.dtype), read.halt[:, 0]
                wants[k, live] = self.halting.wants(read)
                if self.halt:
                    busy = ~wants[k, live]
                    carry, live = carry.select(busy), live[busy]
            exacts.append(exact(answers, batch.labels))
            cells.append(cell_accuracy(answers, batch.labels))
        fields = answers.to(torch.uint8), halts, torch.stack(exacts), torch.stack(cells), wants
        return tuple(field.cpu().numpy() for field in fields)


def solve(solver: Solver, task: Task, puzzles: Puzzles, split: str, limit: int | None = None, votes: int = 0) -> dict:
    """Metrics of `solver` on the first `limit` examples of a split; with `votes`, ARC's pass@k and submission too."""
    if votes and not isinstance(task, ARC):
        raise UserError("votes are for task=arc; leave the option out")
    if votes:
        rows, where = task.views(split, votes)
        attempt = solver(rows, task.facts)
        scores, submission = vote(task, where, attempt.answers, attempt.halt_logits)
        return metrics(attempt, rows, task) | scores | {"submission": submission}
    rows = puzzles.rows(slice(limit))
    return metrics(solver(rows, task.facts), rows, task) if len(rows.inputs) else {"puzzles": 0}


def metrics(attempt: Attempt, rows: Rows, task: Task) -> dict:
    """What the attempt is worth. Puzzles without a known answer are not counted."""
    labels = Batch.of(rows, task.facts).labels.numpy()
    known = (labels != IGNORE).any(-1)
    answers, labels, inputs = attempt.answers[known], labels[known], rows.inputs[known]
    solved, count = attempt.exact[:, known], int(known.sum())
    interval = binomtest(int(solved[-1].sum()), count).proportion_ci(method="wilson")
    blank = task.blanks(inputs) & (labels != IGNORE)
    wants = attempt.wants[:, known]
    first = np.where(wants.any(0), wants.argmax(0) + 1, len(wants))
    return {
        "puzzles": count,
        "exact_accuracy": float(solved[-1].mean()),
        "exact_low": interval.low,
        "exact_high": interval.high,
        "cell_accuracy": float(attempt.cells[-1, known].mean()),
        "blank_accuracy": float((answers == labels)[blank].mean()),
        **{f"{k}_rate": float(v.mean()) for k, v in task.check(inputs, answers).items()},
        "halting_accuracy": float(((attempt.halt_logits[known] >= 0) == solved[-1]).mean()),
        "segments_to_halt": float(first.mean()),
        "exact_by_segment": [round(float(x), 6) for x in solved.mean(1)],
        "solved": "".join("01"[int(x)] for x in solved[-1]),
        "puzzles_sha256": hashlib.sha256(inputs.tobytes()).hexdigest(),
    }


def brief(found: dict) -> str:
    """Metrics in one line."""
    if not found.get("puzzles"):
        return "no puzzles"
    head = f"exact {found['exact_accuracy']:.1%} [{found['exact_low']:.1%}, {found['exact_high']:.1%}]"
    rates = [
        f"{k.removesuffix('_rate')} {v:.1%}" for k, v in found.items() if k.endswith("_rate") or k.startswith("pass@")
    ]
    tail = f"halts after {found['segments_to_halt']:.1f} segments, right about it {found['halting_accuracy']:.1%}"
    return (
        ", ".join([head, f"blank cells {found['blank_accuracy']:.1%}", *rates, tail]) + f" ({found['puzzles']} puzzles)"
    )


def save_submission(found: dict, run: Path) -> None:
    """Move ARC's submission out of the metrics into runs/<name>/submission.json, in Kaggle's format."""
    if (submission := found.pop("submission", None)) is not None:
        (run / "submission.json").write_text(json.dumps(submission) + "\n")
        print(f"wrote {run / 'submission.json'}")


def load_model(run: Path, config: Config, facts: Facts, weights: str, device: torch.device) -> RecursiveModel:
    """The trained model of a run, its averaged or its raw weights. Raises UserError if the run has no checkpoint."""
    newest = checkpoint.newest(run / "checkpoints")
    if newest is None:
        raise UserError(f"{run} has no checkpoint yet; train longer or type save_every=")
    if weights not in ("ema", "raw"):
        raise UserError(f"weights={weights} is unknown; type weights=ema or weights=raw")
    state = checkpoint.load(newest)
    model = make_model(config.model, facts, device)
    model.load_state_dict(state["ema"] if weights == "ema" else state["model"])
    return model


def main(words: DictConfig) -> None:
    options = typed(SolveConfig, words)
    run, device = Path(options.run), pick_device(options.device)
    at_least(1, batch=options.batch, segments=options.segments, max_puzzles=options.max_puzzles)
    config = typed(Config, read_config(run))
    task, splits = load_task(config.task)
    if options.split not in splits:
        raise UserError(f"split={options.split} is unknown; type one of {', '.join(splits)}")
    model = load_model(run, config, task.facts, options.weights, device)
    segments = options.segments or config.halting.segments
    solver = Solver(
        model, config.model.depth, make_halting(config.halting), segments, options.halt, options.batch, device
    )
    found = solve(solver, task, splits[options.split], options.split, options.max_puzzles, options.votes)
    save_submission(found, run)
    print(f"{options.split}: {brief(found)}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    command("solve", main)
