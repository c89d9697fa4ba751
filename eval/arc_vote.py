"""ARC: one answer from many. Answers under each augmentation are mapped back, counted and ranked,
as in TRM's code.

Rank: (votes, mean halting probability), both falling; among equals the answer that the earliest
copy gave, so that copy 0, the task as it is, decides. pass@k: the share of a task's test inputs
with the right answer among the first k, averaged over tasks; `_all` counts a task only when all its
test inputs are right, as HRM did.

Departures from the reference: only the predictions handed in are counted (it pools those of earlier
evaluations too); an answer without a grid is no vote; each test input is in the submission, with
[[0]] where nothing was predicted.

M answers, S cells.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from data.arc import ARC
from data.arc_augment import decode
from tinyreason.errors import UserError
from tinyreason.solver import confidence_of

Grid = list[list[int]]
NOTHING = [[0]]


def vote(
    task: ARC, where: np.ndarray, answers: np.ndarray, halt_logits: np.ndarray
) -> tuple[dict[str, float], dict[str, list[dict[str, Grid]]]]:
    """(metrics, submission) of the tokens `answers` (M, S) to the rows `where` of
    `task.views("test", ...)`.

    halt_logits (M,), float. Metrics: pass@1, pass@2, pass@1_all, pass@2_all in 0..1 over the tasks
    that have a known answer (absent if none has), and the counts of tasks, of test inputs scored
    and of those with any answer.
    """
    ranked = rank(task, where, answers, halt_logits)
    test, scores, submission = task.splits["test"], [], {}
    for puzzle in test.group_indices[
        :-1
    ]:  # in a folder the other puzzles of a group are its augmentations
        identifier, (first, end) = (
            test.puzzle_identifiers[puzzle],
            test.puzzle_indices[puzzle : puzzle + 2],
        )
        t = int(task.augmentations.task[identifier])
        best = [ranked.get((t, n), []) for n in range(end - first)]
        submission[task.names[t]] = [
            _attempts([decode(a, task.canvas).tolist() for a in b[:2]]) for b in best
        ]
        labels = task.undo(test.labels[first:end], np.full(end - first, identifier))
        known = [(b, label) for b, label in zip(best, labels, strict=True) if label.any()]
        if known:
            scores.append([[_hit(b, label, k) for b, label in known] for k in (1, 2)])
    counts = {
        "tasks": len(scores),
        "inputs_scored": sum(len(s[0]) for s in scores),
        "inputs_answered": len(ranked),
    }
    return _passes(scores) | counts, submission


def rank(
    task: ARC, where: np.ndarray, answers: np.ndarray, halt_logits: np.ndarray
) -> dict[tuple[int, int], list[np.ndarray]]:
    """(task, number of the test input) -> its distinct answers, best first: canvases (S,) in the
    task's own frame.
    """
    if not len(where) == len(answers) == len(halt_logits):
        raise ValueError(
            f"{len(where)} rows, {len(answers)} answers, {len(halt_logits)} halting logits"
        )
    own = task.undo(np.asarray(answers).astype(np.uint8), where[:, 3])
    sure = confidence_of(np.asarray(halt_logits, np.float64))
    ballots: dict[tuple[int, int], dict[bytes, list]] = {}
    for i in np.argsort(
        where[:, 2], kind="stable"
    ):  # by copy: dicts keep the order of arrival, sorted() keeps it
        if own[i].any():
            box = ballots.setdefault((int(where[i, 0]), int(where[i, 1])), {})
            box.setdefault(own[i].tobytes(), []).append(sure[i])
    return {
        key: [np.frombuffer(a, np.uint8) for a in sorted(box, key=_merit(box))]
        for key, box in ballots.items()
    }


def write_submission(path: Path, submission: dict[str, Any]) -> None:
    """A `submission.json` as Kaggle's ARC Prize reads it."""
    try:
        path.write_text(json.dumps(submission), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def _merit(box: dict[bytes, list]):
    # sorted: order adds no rounding
    return lambda answer: (
        -len(box[answer]),
        -float(np.mean(np.sort(box[answer]))),
    )


def _hit(best: list[np.ndarray], label: np.ndarray, k: int) -> bool:
    return any(np.array_equal(answer, label) for answer in best[:k])


def _attempts(grids: list[Grid]) -> dict[str, Grid]:
    first = grids[0] if grids else NOTHING
    return {"attempt_1": first, "attempt_2": grids[1] if len(grids) > 1 else first}


def _passes(scores: list) -> dict[str, float]:
    """scores: for each task, for k = 1 and 2, whether each test input was hit."""
    if not scores:
        return {}
    mean = {f"pass@{k + 1}": float(np.mean([np.mean(task[k]) for task in scores])) for k in (0, 1)}
    every = {f"pass@{k + 1}_all": float(np.mean([all(task[k]) for task in scores])) for k in (0, 1)}
    return mean | every
