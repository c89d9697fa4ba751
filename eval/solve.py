"""How much of a split does a model solve, and what does it answer to puzzles of yours?
`python -m eval.solve run=runs/NAME [split=test] [halt=true] [json=FILE]`
`python -m eval.solve run=runs/NAME puzzle=53..7....6..195...|FILE|- [answers=FILE.csv]`

`run` may also be a folder that `eval.export` wrote, or one on the hub, `hub:owner/name[@revision]`.
Every puzzle gets all segments, as in the
references, unless `halt` takes the answer at the first segment where the halting head says that it
is finished.

B batch, N puzzles, S cells, K segments.
"""

import json
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from conf.cli import command
from conf.schema import SolveConfig, at_least, typed
from eval import answer
from eval.load import Examined, model_for, open_run, puzzles_for
from eval.score import brief, metrics, monitored, save_submission, solve_by_votes
from eval.starts import best_of
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.exits import ExitConfig
from tinyreason.exported import Exported
from tinyreason.options import check_value
from tinyreason.run.console import say
from tinyreason.solver import Attempt, Solver
from tinyreason.trained import Trained


def examine(trained: Trained, options: SolveConfig) -> tuple[dict, Examined, Attempt | None]:
    """The metrics of a split, the puzzles, and what was answered."""
    config = trained.config
    chosen = options.split, options.source, options.max_puzzles
    examined = puzzles_for(trained, *chosen, options.task)
    trained.model = model_for(trained, examined.task, options.embedding)
    solver = solver_of(trained, options)
    votes = options.votes or 0
    if options.votes is None and options.split == "test":
        votes = config.eval.votes
    if votes:
        return (
            solve_by_votes(solver, examined.task, options.split, options.max_puzzles, votes),
            examined,
            None,
        )
    rows = examined.puzzles.rows(slice(options.max_puzzles))
    if not len(rows.inputs):
        return {"puzzles": 0}, examined, None
    several = {}
    if (options.starts or 1) > 1:
        attempt, exact = best_of(solver, rows, examined.task.facts, options.starts)
        several = {"starts": options.starts, "exact_of_any_start": float(exact.any(0).mean())}
    else:
        with tqdm(total=len(rows.inputs), unit="puzzle", disable=None, leave=False) as bar:
            attempt = solver(rows, examined.task.facts, bar.update)
    found = metrics(attempt, rows, examined.task) | monitored(solver, rows, examined.task)
    return found | several, examined, attempt


def solver_of(trained: Trained, options: SolveConfig) -> Solver:
    """As asked for, else as while training. Raises UserError."""
    as_trained = trained.config.eval
    exit = ExitConfig(
        options.exit or as_trained.exit,
        as_trained.exit_threshold if options.threshold is None else options.threshold,
        options.pool or as_trained.exit_pool,
    )
    how = (options.segments, options.halt, options.batch, options.recursions)
    stated = trained.config.model.recursions
    if options.recursions not in (None, stated):
        say(f"note: {options.recursions} recursions a segment; it was trained with {stated}")
    return trained.solver(*how, exit, options.confidence)


def unseen(found: dict, examined: Examined) -> dict:
    """How many of the puzzles the run was trained on, and how it does on the others."""
    seen = examined.trained_on
    if seen is None or not seen.any() or "solved" not in found or len(found["solved"]) > len(seen):
        return {}
    seen = seen[: len(found["solved"])]
    solved = np.array([one == "1" for one in found["solved"]])
    others = solved[~seen]
    return {
        "trained_on": int(seen.sum()),
        "exact_on_others": float(others.mean()) if len(others) else None,
    }


def told_unseen(found: dict) -> str:
    """For the user."""
    what = f"note: {found['trained_on']} of these {found['puzzles']} puzzles were trained on"
    if found["exact_on_others"] is None:
        return f"{what} (up to symmetry), so this accuracy is memory"
    others = found["puzzles"] - found["trained_on"]
    return f"{what} (up to symmetry); exact on the {others} others: {found['exact_on_others']:.1%}"


def refuse_scores(options: SolveConfig) -> None:
    """Raises UserError for what is scored, and makes no other answer."""
    for key in ("starts", "exit", "threshold", "pool"):
        if getattr(options, key) is not None:
            raise UserError(f"{key}= is scored on a split, and puzzle= is answered; leave one out")


def main(words: DictConfig) -> None:
    options = typed(SolveConfig, words)
    at_least(1, batch=options.batch, segments=options.segments, max_puzzles=options.max_puzzles)
    at_least(0, threshold=options.threshold)
    check_value("confidence", options.confidence, False, 0, 1, (), None)
    at_least(1, starts=options.starts, recursions=options.recursions)
    out = Path(options.json) if options.json else None
    for key in ("json", "answers"):
        path = getattr(options, key)
        if path and not Path(path).parent.is_dir():
            raise UserError(f"{key}={path}: there is no folder {Path(path).parent}")
    device = pick_device(options.device)
    trained = open_run(options.run, options.checkpoint, options.weights, device)
    if options.puzzle is not None:
        refuse_scores(options)
        answer.answer(trained, options)
        return
    found, examined, attempt = examine(trained, options)
    for line in examined.task.notes if options.source else ():
        say(f"note: {line}")
    found |= unseen(found, examined)
    beside = Path() if isinstance(trained.config, Exported) else trained.path
    save_submission(found, out.parent if out else beside / "again")
    say(f"{options.split}: {brief(found)}")
    if "starts" in found:
        some = f"some start is exact in {found['exact_of_any_start']:.1%}"
        say(f"the best of {found['starts']} starts by its residual; {some}")
    if "trained_on" in found:
        say(told_unseen(found))
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.answers:
        if attempt is None:
            raise UserError("answers= is for single answers; votes write submission.json")
        rows = examined.puzzles.rows(slice(options.max_puzzles))
        answer.write_attempt(Path(options.answers), examined.task, rows, attempt)


if __name__ == "__main__":
    command("solve", main)
