"""What the answers of a model are worth: the metrics of a split, and how they are told in a line.

The evaluation inside training is this `solve`.

N puzzles, S cells, K segments.
"""

import hashlib
from pathlib import Path

import numpy as np

from data.arc import ARC
from data.task import Task
from eval.arc_vote import vote, write_submission
from eval.statistics import wilson
from tinyreason.errors import UserError
from tinyreason.monitors import MOST, watched
from tinyreason.puzzle import Batch, Puzzles, Rows
from tinyreason.run.console import say
from tinyreason.solver import Attempt, Solver


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
    if not len(rows.inputs):
        return {"puzzles": 0}
    return metrics(solver(rows, task.facts), rows, task) | monitored(solver, rows, task)


def monitored(solver: Solver, rows: Rows, task: Task) -> dict:
    """How the recursion fares on the first puzzles."""
    few = Rows(*(field[:MOST] for field in rows))
    batch = Batch.of(few, task.facts, solver.device)
    return watched(solver.model, batch, solver.depth.total)


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
    as_they_are = Rows(*(field[plain] for field in rows))
    found = metrics(attempt.rows(plain), as_they_are, task)
    found |= monitored(solver, as_they_are, task)
    return found | scores | {"submission": submission}


def metrics(attempt: Attempt, rows: Rows, task: Task) -> dict:
    """What the attempt is worth. Puzzles without a known answer are not counted."""
    known = (rows.labels != task.facts.ignore_label_id).any(-1)  # None is equal to no label
    if not known.any():
        return {"puzzles": 0, "predicted": len(known)}
    attempt = attempt.rows(known)
    inputs, labels = rows.inputs[known], rows.labels[known]
    scored = labels != task.facts.ignore_label_id
    solved, count = attempt.exact[:, -1], int(known.sum())
    low, high = wilson(solved)
    right = attempt.answers == labels
    checks = task.check(inputs, attempt.answers)
    return {
        "puzzles": count,
        "exact_accuracy": float(solved.mean()),
        "exact_low": low,
        "exact_high": high,
        "answer_loss": float(attempt.loss.mean()),
        "cell_accuracy": float(attempt.cells[:, -1].mean()),
        "blank_accuracy": float(right[task.blanks(inputs) & scored].mean()),
        **{f"{name}_rate": float(kept.mean()) for name, kept in checks.items()},
        "segments": float(attempt.segments.mean()),
        **halting(attempt),
        **exits(attempt),
        "exact_by_segment": [round(float(x), 6) for x in attempt.exact.mean(0)],
        "solved": "".join("01"[int(x)] for x in solved),
        "puzzles_sha256": hashlib.sha256(inputs.tobytes()).hexdigest(),
    }


def halting(attempt: Attempt) -> dict:
    """What the halting head is worth: each puzzle stops at the first segment where the head says
    that it is finished, or at the last. Precision: of those that the head stopped, the share that
    is exact then. Recall: of those that are exact when they stop, the share that the head stopped.
    """
    wants = attempt.wants
    said = wants.any(1)  # (N,)
    first = np.where(said, wants.argmax(1), wants.shape[1] - 1)
    exact = attempt.exact[np.arange(len(first)), first]
    both = int((said & exact).sum())
    return {
        "exact_when_halted": float(exact.mean()),
        "segments_to_halt": float(first.mean() + 1),
        "halted": float(said.mean()),
        "halting_precision": both / int(said.sum()) if said.any() else None,
        "halting_recall": both / int(exact.sum()) if exact.any() else None,
        "halting_accuracy": float(((attempt.halt_logits >= 0) == attempt.exact[:, -1]).mean()),
    }


def exits(attempt: Attempt) -> dict:
    """What it would be to leave the recursion where the exit says so, if there is one."""
    taken = attempt.exit_recursions
    if not taken.any():
        return {}
    return {
        "exact_at_exit": float(attempt.exit_exact.mean()),
        "recursions_to_exit": float(taken.mean()),
        "exited": float(attempt.exited.mean()),
    }


def brief(found: dict) -> str:
    """Metrics in one line."""
    if not found.get("puzzles"):
        if found.get("predicted"):
            return f"{found['predicted']} predicted, none can be scored"
        return "no puzzles"
    interval = f"[{found['exact_low']:.1%}, {found['exact_high']:.1%}]"
    after = f"after {found['segments']:.3g} segments"
    parts = [f"exact {found['exact_accuracy']:.1%} {interval} {after}"]
    parts.append(f"blank cells {found['blank_accuracy']:.1%}")
    for name, value in found.items():
        if name.endswith("_rate") or name.startswith("pass@"):
            parts.append(f"{name.removesuffix('_rate')} {value:.1%}")
    if "exact_at_exit" in found:
        left = f"exact {found['exact_at_exit']:.1%} at its exit"
        parts.append(f"{left} after {found['recursions_to_exit']:.1f} recursions")
    return f"{', '.join(parts)}; {brief_halting(found)} ({found['puzzles']} puzzles)"


def brief_halting(found: dict) -> str:
    """The moment at which the head stops a puzzle, in one line."""
    if not found["halted"]:
        return "its halting head never halts"
    stopped = f"exact {found['exact_when_halted']:.1%} when it stops where its head says so"
    taken = f"after {found['segments_to_halt']:.1f} segments"
    recall = found["halting_recall"]
    told = "" if recall is None else f", recall {recall:.1%}"
    return f"{stopped}, {taken} (precision {found['halting_precision']:.1%}{told})"


def save_submission(found: dict, folder: Path) -> None:
    """Move ARC's submission out of the metrics to `folder`/submission.json, for Kaggle."""
    if (submission := found.pop("submission", None)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_submission(folder / "submission.json", submission)
        say(f"wrote {folder / 'submission.json'}")
