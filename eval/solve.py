"""How much of a split does a model solve? `python -m eval.solve run=runs/NAME [split=test] [halt=true] [json=FILE]`

`run` may also be a folder that `eval.export` wrote, or one on the hub, `hub:owner/name[@revision]`.
The evaluation inside training is this `solve`. Every puzzle gets all segments, as in the references, unless `halt`
takes the answer at the first segment where the halting head says that it is finished (such puzzles leave the batch).

B batch, N puzzles, S cells, K segments.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from scipy.stats import binomtest

from conf.cli import command, pick_device
from conf.run import read_config
from conf.say import say, warn
from conf.schema import Config, SolveConfig, at_least, check, typed
from data.arc import ARC
from data.registry import load_task
from data.task import Task
from eval import exported
from eval.arc_vote import vote, write_submission
from eval.exported import Exported
from tinyreason import checkpoint
from tinyreason.errors import UserError
from tinyreason.halting import Halting, make_halting
from tinyreason.losses import cell_accuracy, exact
from tinyreason.models import RecursiveModel
from tinyreason.puzzle import Batch, Facts, Puzzles, Rows
from tinyreason.recursion import Depth
from tinyreason.segment import Carry
from tinyreason.weights import build


@dataclass
class Attempt:
    """What a model did with N puzzles, in numpy."""

    answers: np.ndarray  # (S, N) uint8, the last
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
        """Attempt all `rows` (N of them, at least one), a batch at a time.

        The last batch is filled up with repeats, which are cut off: a compiled model sees one size.
        """
        self.model.eval()
        n, attempts = len(rows.inputs), []
        size = min(self.batch, n)
        for i in range(0, n, size):
            which = np.minimum(np.arange(i, i + size), n - 1)
            attempts.append(self.attempt(Batch.of(Rows(*(a[which] for a in rows)), facts, self.device)))
        self.model.train()
        return Attempt(*(np.concatenate(field, axis=-1)[..., :n] for field in zip(*attempts, strict=True)))

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
        found = answers.to(torch.uint8).T, halts, torch.stack(exacts), torch.stack(cells), wants
        return tuple(field.cpu().numpy() for field in found)


def solve(solver: Solver, task: Task, puzzles: Puzzles, split: str, limit: int | None = None, votes: int = 0) -> dict:
    """Metrics of `solver` on the first `limit` examples of a split; with `votes`, ARC's pass@k and submission too."""
    if votes:
        return solve_by_votes(solver, task, split, limit, votes)
    rows = puzzles.rows(slice(limit))
    return metrics(solver(rows, task.facts), rows, task) if len(rows.inputs) else {"puzzles": 0}


def solve_by_votes(solver: Solver, task: Task, split: str, limit: int | None, votes: int) -> dict:
    """ARC's answer from many augmentations. The metrics of single answers are those of the tasks as they are."""
    if not isinstance(task, ARC) or split != "test" or limit is not None:
        raise UserError("votes are for all of the test split of task=arc; leave the option out")
    rows, where = task.views(split, votes)
    if not len(rows.inputs):
        return {"puzzles": 0}
    attempt, plain = solver(rows, task.facts), where[:, 2] == 0
    scores, submission = vote(task, where, attempt.answers.T, attempt.halt_logits)
    single = Attempt(*(getattr(attempt, f.name)[..., plain] for f in fields(Attempt)))
    found = metrics(single, Rows(*(a[plain] for a in rows)), task)
    return found | scores | {"submission": submission}


def metrics(attempt: Attempt, rows: Rows, task: Task) -> dict:
    """What the attempt is worth. Puzzles without a known answer are not counted."""
    scored = rows.labels != task.facts.ignore_label_id  # None is equal to no label
    known = scored.any(-1)
    count, solved, wants = int(known.sum()), attempt.exact[:, known], attempt.wants[:, known]
    if not count:
        return {"puzzles": 0}
    answers, labels, inputs, scored = attempt.answers.T[known], rows.labels[known], rows.inputs[known], scored[known]
    interval = binomtest(int(solved[-1].sum()), count).proportion_ci(method="wilson")
    first = np.where(wants.any(0), wants.argmax(0) + 1, len(wants))
    return {
        "puzzles": count,
        "exact_accuracy": float(solved[-1].mean()),
        "exact_low": interval.low,
        "exact_high": interval.high,
        "cell_accuracy": float(attempt.cells[-1, known].mean()),
        "blank_accuracy": float((answers == labels)[task.blanks(inputs) & scored].mean()),
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


def save_submission(found: dict, folder: Path) -> None:
    """Move ARC's submission out of the metrics into `folder`/submission.json, in Kaggle's format."""
    if (submission := found.pop("submission", None)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_submission(folder / "submission.json", submission)
        say(f"wrote {folder / 'submission.json'}")


def read_saved(run: Path) -> Config | Exported:
    """What a run, or an exported model, says of itself, every value checked. Raises UserError."""
    if exported.is_exported(run):
        return exported.read(run)
    config = typed(Config, read_config(run))
    check(config)
    return config


def newest_state(run: Path) -> tuple[Path, dict]:
    """The newest good checkpoint of a run and what is in it. Raises UserError if the run has none."""
    found = checkpoint.newest_good(run / "checkpoints", warn)
    if found is None:
        raise UserError(f"{run} has no checkpoint yet; train longer or type save_every=")
    return found


def weights_of(state: dict, weights: str) -> dict:
    """The averaged or the raw weights in a checkpoint; where nothing was averaged, they are the same."""
    if weights not in ("ema", "raw"):
        raise UserError(f"weights={weights} is unknown; type weights=ema or weights=raw")
    found = (weights == "ema" and state.get("ema")) or state.get("model")
    if not isinstance(found, dict):
        raise UserError("the checkpoint has no weights of a model")
    return found


def load_model(
    run: Path, config: Config | Exported, facts: Facts, weights: str, device: torch.device
) -> RecursiveModel:
    """The trained model of a run or an export, its averaged or its raw weights. Raises UserError if there is none."""
    if isinstance(config, Exported):
        if weights != config.weights:
            note = f"{run} holds the {config.weights} weights alone"
            if weights != "ema":  # what is asked for when nothing is typed
                raise UserError(f"{note}; leave weights= out")
            say(f"note: {note}")
        return exported.load(run, config, facts, device)
    path, state = newest_state(run)
    return build(config.model, facts, weights_of(state, weights), device, f"{path} does not fit {run}/config.yaml")


def puzzles_of(config: Config | Exported, source: Any, run: Path) -> tuple[Task, dict[str, Puzzles]]:
    """The task of a run or an export and its splits, read from `source` if one is given."""
    if source is None and config.task.get("source") is None:
        raise UserError(f"{run}: its puzzles were files where it was trained; type source=PATH of yours")
    return load_task(config.task if source is None else config.task | {"source": source})


def main(words: DictConfig) -> None:
    options = typed(SolveConfig, words)
    device = pick_device(options.device)
    at_least(1, batch=options.batch, segments=options.segments, max_puzzles=options.max_puzzles)
    out = Path(options.json) if options.json else None
    if out and not out.parent.is_dir():
        raise UserError(f"json={out}: there is no folder {out.parent}")
    run = exported.folder_of(options.run)
    config = read_saved(run)
    segments = options.segments or config.eval.segments or config.halting.segments
    halt = config.eval.halt if options.halt is None else options.halt
    votes = config.eval.votes if options.votes is None and options.split == "test" else options.votes or 0
    task, splits = puzzles_of(config, options.source, run)
    if options.split not in splits:
        raise UserError(f"split={options.split} is unknown; type one of {', '.join(splits)}")
    model = load_model(run, config, task.facts, options.weights, device)
    batch = options.batch or config.eval.batch
    solver = Solver(model, config.model.depth, make_halting(config.halting), segments, halt, batch, device)
    found = solve(solver, task, splits[options.split], options.split, options.max_puzzles, votes)
    save_submission(found, out.parent if out else (Path() if isinstance(config, Exported) else run) / "again")
    say(f"{options.split}: {brief(found)}")
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    command("solve", main)
