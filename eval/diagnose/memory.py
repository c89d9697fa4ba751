"""Memory or skill: accuracy on the puzzles that a run was trained on against that on others, now,
in the checkpoints that are left, and in its log.

N puzzles.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.arc import ARC
from data.registry import load_task
from data.task import Task
from eval.diagnose.subject import LeftOut, Subject, answered
from eval.load import changed, model_for, open_run
from eval.report.log import read_log
from eval.statistics import wilson
from tinyreason.errors import UserError
from tinyreason.exported import Exported
from tinyreason.puzzle import SPLITS, Puzzles, Rows
from tinyreason.run import checkpoint, puzzles
from tinyreason.solver import Solver

MARGIN = 0.1  # by which training is ahead of held-out puzzles: the onset of memory
MOST_POINTS = 60  # of the log
NOTHING = "an export keeps no checkpoints and no log"


def memory(subject: Subject) -> dict:
    """What it makes of puzzles that it has seen, and of others."""
    task, splits, notes = own_splits(subject)
    rows = {name: plain_rows(task, splits[name], len(subject.rows.inputs)) for name in SPLITS}
    rows = {name: part for name, part in rows.items() if len(part.inputs)}
    solver = replace(subject.solver, segments=subject.at, halt=False, exit=None)
    now = [scores(solver, task, name, part) for name, part in rows.items()]
    found = {"segments": subject.at, "now": now, "left_out": notes}
    if isinstance(subject.trained.config, Exported):
        return found | {"left_out": [*notes, f"over time: {NOTHING}"]}
    steps, faults = over_time(subject, task, rows)
    logged, why = log_of(subject.trained.path)
    return found | {
        "checkpoints": steps,
        "log": logged[:: -(-len(logged) // MOST_POINTS)] if logged else [],
        "onset": onset(logged),
        "left_out": [*notes, *faults, *why],
    }


def own_splits(subject: Subject) -> tuple[Task, dict[str, Puzzles], list[str]]:
    """The run's own task, its splits, and what is to be said of them. Raises LeftOut."""
    trained = subject.trained
    if trained.config.task.get("source") is None:
        raise LeftOut("its puzzles were files where it was trained")
    if isinstance(subject.task, ARC) and not subject.own:
        raise LeftOut("the puzzle embeddings are in the order of another source")
    try:
        task, splits = load_task(trained.config.task)
    except UserError as error:
        raise LeftOut(f"the puzzles it was trained on cannot be read: {error}") from None
    if isinstance(trained.config, Exported):
        return task, splits, []
    before = puzzles.read(trained.path)
    why = changed(before, splits, SPLITS) if before else ""
    return task, splits, [f"{why} since this run was trained"] if why else []


def plain_rows(task: Task, part: Puzzles, limit: int) -> Rows:
    """The first examples whose answer is known, none of a stored augmentation."""
    plain = np.isin(part.puzzle_of_example(), part.group_indices[:-1])
    return answered(task, part.rows(np.flatnonzero(plain)[:limit]))


def scores(solver: Solver, task: Task, name: str, rows: Rows) -> dict:
    """Exact accuracy with its 95 % interval by Wilson."""
    hidden = {"disable": None, "leave": False}
    with tqdm(total=len(rows.inputs), desc=name, unit="puzzle", **hidden) as bar:
        solved = solver(rows, task.facts, bar.update).exact[:, -1]
    low, high = wilson(solved)
    share = {"exact": float(solved.mean()), "low": low, "high": high}
    return {"split": name, "puzzles": len(solved), **share}


# ---- over time


def over_time(subject: Subject, task: Task, rows: dict[str, Rows]) -> tuple[list[dict], list[str]]:
    """Accuracy by split of each checkpoint left, and a line for each that is damaged."""
    trained, found, faults = subject.trained, [], []
    for step in sorted(checkpoint.steps(trained.path / "checkpoints")):
        try:
            one = open_run(trained.path, str(step), trained.weights, trained.device)
            one.model = model_for(one, task, "own")
            solver = one.solver(subject.at, False, subject.solver.batch)
            solver = replace(solver, exit=None)
        except UserError as error:
            faults.append(f"step {step}: {error}")
            continue
        by_split = {name: scores(solver, task, name, part)["exact"] for name, part in rows.items()}
        found.append({"step": step} | by_split)
    return found, faults


def log_of(run: Path) -> tuple[list[dict], list[str]]:
    """At each evaluation of the log: exact accuracy in training since the evaluation before, and
    on held-out puzzles; and a line where there is none.
    """
    path = run / "log.jsonl"
    try:
        points = paired(read_log(path).lines)
    except UserError as error:
        return [], [str(error)]
    except (KeyError, TypeError) as error:
        return [], [f"{path} is damaged ({type(error).__name__})"]
    return points, [] if points else [f"{path} has no evaluation on held-out puzzles"]


def paired(lines: list[dict]) -> list[dict]:
    """The points of a log. Raises KeyError and TypeError for lines that are none of ours."""
    since, points = [], []
    for line in lines:
        if line["kind"] == "train":
            since.append(float(line["exact"]))
        elif line["kind"] == "eval" and line["split"] != "test":
            train = float(np.mean(since)) if since else None
            held_out = float(line["exact_accuracy"])
            points.append({"step": int(line["step"]), "train": train, "held_out": held_out})
            since = []
    return points


def onset(points: list[dict]) -> int | None:
    """The first evaluation from which on training is ahead by more than MARGIN; None: never."""
    found = None
    for point in reversed(points):
        if point["train"] is None or point["train"] - point["held_out"] <= MARGIN:
            break
        found = point["step"]
    return found
