"""Which ARC tasks are trained on and which are not, and what the user should know about it."""

from collections.abc import Callable

from data.arc_read import ArcTask
from tinyreason.errors import UserError
from tinyreason.puzzle import Puzzles


def first(tasks: list[ArcTask], n: int | None, key: str) -> list[ArcTask]:
    """The first `n` tasks, None for all. Raises UserError, naming the option `task.{key}`, if there are fewer."""
    if n is not None and n > len(tasks):
        raise UserError(f"task.{key}={n}: the source has {len(tasks)}; null takes all of them")
    return tasks[:n]


def require_fit(task: ArcTask, canvas: int) -> None:
    """Raises UserError, `task/part pair side: ...`, for a grid that is larger than the canvas."""
    for part, pairs in (("train", task.demonstrations), ("test", task.tests)):
        for n, pair in enumerate(pairs):
            for side, grid in zip(("input", "output"), pair, strict=True):
                if grid is not None and max(grid.shape) > canvas:
                    size = f"{grid.shape[0]} x {grid.shape[1]}"
                    raise UserError(
                        f"{task.id}/{part} {n} {side}: {size} cells do not fit on task.canvas={canvas}"
                    )


def without(train: list[ArcTask], test: set[str]) -> tuple[list[ArcTask], list[str]]:
    """Training tasks less those that are evaluated and less test pairs without an answer; and lines that say which."""
    notes, both = [], [task.id for task in train if task.id in test]
    if both:
        told = f"{len(both)} training tasks are evaluation tasks too; only their demonstrations are trained on: "
        notes.append(told + ", ".join(both))
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
    """A line that names test pairs which are, in another task, training pairs (ARC-1 has one); none if there are none.

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
