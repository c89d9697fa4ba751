"""Which ARC tasks are trained on and which are not, and what a user should know of it."""

from collections.abc import Callable
from functools import partial

from data.arc_task import ArcTask, Kept
from tinyreason.errors import UserError
from tinyreason.puzzle import Puzzles


def first(tasks: list[ArcTask], n: int | None, key: str) -> list[ArcTask]:
    """The first `n` tasks, None for all.

    Raises UserError, naming the option `task.{key}`, if there are fewer.
    """
    if n is not None and n > len(tasks):
        raise UserError(f"task.{key}={n}: the source has {len(tasks)}; null takes all of them")
    return tasks[:n]


def chosen(tasks: list[ArcTask], n: int | None, key: str, canvas: int, kept: Kept) -> list[ArcTask]:
    """The first `n` tasks, all of which fit on the canvas: those that do not are refused, or not
    among the first.
    """
    if kept.refuse:
        tasks = first(tasks, n, key)
    fitting = [one for task in tasks for one in kept.task(partial(fitted, task, canvas))]
    return fitting if kept.refuse else first(fitting, n, key)


def fitted(task: ArcTask, canvas: int) -> ArcTask:
    """The task. Raises UserError where a grid is larger than the canvas."""
    require_fit(task, canvas)
    return task


def require_fit(task: ArcTask, canvas: int) -> None:
    """Raises UserError, `task/part pair side: ...`, for a grid that is larger than the canvas."""
    for part, pairs in (("train", task.demonstrations), ("test", task.tests)):
        for n, pair in enumerate(pairs):
            for side, grid in zip(("input", "output"), pair, strict=True):
                if grid is not None and max(grid.shape) > canvas:
                    size = f"{grid.shape[0]} x {grid.shape[1]}"
                    raise UserError(
                        f"{task.id}/{part} {n} {side}: {size} "
                        f"cells do not fit on task.canvas={canvas}"
                    )


def without(train: list[ArcTask], test: set[str]) -> tuple[list[ArcTask], list[str]]:
    """Training tasks less those that are evaluated and less test pairs without an answer; and lines
    that say which.
    """
    notes, both = [], [task.id for task in train if task.id in test]
    if both:
        told = f"{len(both)} training tasks are evaluation tasks too"
        notes.append(f"{told}; only their demonstrations are trained on: {', '.join(both)}")
    unknown = [task.id for task in train if any(answer is None for _, answer in task.tests)]
    if unknown:
        notes.append(
            "training tasks with unanswered test pairs, which are left out: " + ", ".join(unknown)
        )
    kept = (task for task in train if task.id not in test)
    return [
        task._replace(tests=[pair for pair in task.tests if pair[1] is not None]) for task in kept
    ], notes


def twins(splits: dict[str, Puzzles], name: Callable[[int], str]) -> list[str]:
    """A line that names test pairs which are, in another task, training pairs (ARC-1 has one); none
    if there are none.

    `name` gives the task of a puzzle identifier.
    """
    known = {
        x.tobytes() + y.tobytes(): name(i) for x, y, i in zip(*splits["train"].rows(), strict=True)
    }
    found = []
    for x, y, i in zip(*splits["test"].rows(), strict=True):
        key = x.tobytes() + y.tobytes()
        if key in known and y.any():
            found.append(f"{name(i)} (in {known[key]})")
    return ["test pairs that are training pairs too: " + ", ".join(found)] if found else []


def largest(tasks: list[ArcTask], least: int = 6) -> int:
    """The largest side of any grid, at least `least`."""
    pairs = [pair for task in tasks for pair in task.demonstrations + task.tests]
    sides = [side for pair in pairs for grid in pair if grid is not None for side in grid.shape]
    return max([least, *sides])


def counted(train: list[ArcTask], test: list[ArcTask], source: object) -> list[str]:
    """Lines that say what was understood of a source, and what is trained on."""
    own = sum(len(task.demonstrations) + len(task.tests) for task in train)
    shown = sum(len(task.demonstrations) for task in test)
    asked = [pair for task in test for pair in task.tests]
    known = sum(answer is not None for _, answer in asked)
    told = f"{source}: {len(train)} tasks to train on ({own} pairs), {len(test)} to evaluate"
    notes = [f"{told} ({len(asked)} test inputs, {known} with an answer)"]
    if shown:
        of = f"{shown} of the {own + shown} training examples"
        notes.append(f"{of} are demonstrations of evaluation tasks")
    if not test:
        notes.append("no task has test pairs; task.source=[this,that] evaluates on those of that")
    return notes
