"""One ARC task out of what a JSON file holds, every cell checked.

Files come from anywhere, so each refusal is a UserError, `file:task/pair: what is wrong`.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from data.arc_augment import LARGEST, SEPARATOR
from data.task import require
from tinyreason.errors import UserError

LONGEST = 200  # characters of the name of a task
SHOWN = 3  # tasks that a note names
MAX_PAIRS = 10_000  # of a task; re-arc has 1,000
MAX_ALL_PAIRS = 1_000_000  # of a source; re-arc has 400,000, a gigabyte on the largest canvas
PARTS = ("train", "test")  # of a task: demonstrations and tests
DIGITS = {str(n): n for n in range(10)}


class ArcTask(NamedTuple):
    """A task; a test pair whose answer is unknown has None for its output."""

    id: str
    demonstrations: list
    tests: list


class Kept:
    """Tasks as they are read: what is wrong is refused, or left out and counted."""

    def __init__(self, bad: str):
        require("bad", bad, bad in ("refuse", "skip"), "refuse or skip")
        self.refuse, self.skipped, self.notes = bad == "refuse", [], []
        self.pairs, self.nulls = 0, []  # pairs so far; tasks with null cells, by id

    def task(self, build: Callable[[], Any]) -> list:
        """The task in a list, or none where it is left out. Raises UserError."""
        try:
            return [build()]
        except UserError as error:
            if self.refuse:
                raise UserError(f"{error} (task.bad=skip leaves such tasks out)") from None
            self.skipped.append(str(error))
            return []

    def count(self, task: ArcTask, raw: Any) -> None:
        """A task that was read, and the JSON that it was. Raises UserError for more pairs than
        memory holds.
        """
        self.pairs += len(task.demonstrations) + len(task.tests)
        if self.pairs > MAX_ALL_PAIRS:
            told = f"task.source: more than {MAX_ALL_PAIRS:,} pairs, at task {task.id}"
            raise UserError(f"{told}; use a part of these files")
        if any(None in row for row in rows_in(raw)):
            self.nulls.append(task.id)

    def told(self) -> list[str]:
        """The notes, what was left out, and what was read as something that it does not say."""
        notes = list(self.notes)
        if self.skipped:
            names = "; ".join(self.skipped[:SHOWN])
            notes.append(f"{len(self.skipped)} tasks are left out: {names}")
        if self.nulls:
            told = f"null is read as 0 in {len(self.nulls)} tasks, whose cells are strings"
            notes.append(f"{told}: {', '.join(self.nulls)}")
        return notes


def task_of(file: str, name: str, raw: Any, evaluated: bool = False) -> ArcTask:
    """A checked task: demonstrations and tests, or a list of pairs, which are all demonstrations
    and no task to be `evaluated`.
    """
    where = f"{file}:{name}"[:400]
    if not name or not name.isprintable() or SEPARATOR in name or len(name) > LONGEST:
        raise UserError(
            f"{where}: not a task id (1 to {LONGEST} printable characters without {SEPARATOR!r})"
        )
    if isinstance(raw, list) and raw:
        if evaluated:
            raise UserError(f"{where}: a list of pairs, none of them a test; put it in training/")
        raw = {"train": raw, "test": []}
    elif not is_task(raw):
        raise UserError(f"{where}: not an object with the non-empty lists 'train' and 'test'")
    if (pairs := sum(len(raw[part]) for part in PARTS)) > MAX_PAIRS:
        raise UserError(f"{where}: {pairs:,} pairs, more than {MAX_PAIRS:,}; use fewer of them")
    strings = any(str in map(type, row) for row in rows_in(raw))
    parts = [
        [pair_of(f"{where}/{k} {n}", p, k == "train", strings) for n, p in enumerate(raw[k])]
        for k in PARTS
    ]
    return ArcTask(name, *parts)


def is_task(raw: Any) -> bool:
    """An object with demonstrations and tests."""
    return isinstance(raw, dict) and all(
        isinstance(raw.get(part), list) and raw[part] for part in PARTS
    )


def kind_of(raw: Any) -> str:
    """What a file of JSON is meant to be: "task", good or bad; "tasks" by name; "answers" to them
    by name; or "other".
    """
    if means_task(raw) or raw == []:
        return "task"
    if not isinstance(raw, dict):
        return "other"
    if any(map(means_task, raw.values())):
        return "tasks"
    lists = [value for value in raw.values() if isinstance(value, list)]
    grids = [one for value in lists for one in value[:1] if isinstance(one, list)]
    return "answers" if grids and len(lists) == len(raw) else "other"


def means_task(raw: Any) -> bool:
    """A task, or what somebody took for one: demonstrations or tests, or pairs."""
    if isinstance(raw, list):
        return any(map(is_pair, raw))
    if isinstance(raw, dict):
        return is_pair(raw) or any(isinstance(raw.get(part), list) for part in PARTS)
    return False


def is_pair(raw: Any) -> bool:
    """An object with an input or an output."""
    return isinstance(raw, dict) and ("input" in raw or "output" in raw)


def rows_in(raw: Any) -> Iterator[list]:
    """The rows of all grids of a task as JSON has it, whatever else is wrong with it."""
    pairs = raw if isinstance(raw, list) else raw["train"] + raw["test"]
    for pair in pairs:
        for grid in pair.values() if isinstance(pair, dict) else ():
            for row in grid if isinstance(grid, list) else ():
                if isinstance(row, list):
                    yield row


def answered(task: ArcTask, file: str, outputs: Any) -> ArcTask:
    """The task with the outputs of its test pairs, which were kept apart."""
    if not isinstance(outputs, list) or len(outputs) != len(task.tests):
        raise UserError(
            f"{file}:{task.id}: not a list of {len(task.tests)} grids, one for each test pair"
        )
    grids = [grid_of(f"{file}:{task.id}/{n}", output, False) for n, output in enumerate(outputs)]
    return task._replace(
        tests=[(grid, output) for (grid, _), output in zip(task.tests, grids, strict=True)]
    )


def pair_of(
    where: str, raw: Any, with_output: bool, strings: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Input and output; a test pair may lack its output."""
    if not isinstance(raw, dict) or "input" not in raw or (with_output and "output" not in raw):
        raise UserError(f"{where}: not an object with 'input' and 'output'")
    output = None
    if "output" in raw:
        output = grid_of(f"{where} output", raw["output"], strings)
    return grid_of(f"{where} input", raw["input"], strings), output


def grid_of(where: str, raw: Any, strings: bool) -> np.ndarray:
    """(rows, columns) uint8 of a JSON grid; where a task writes digits as `strings`, null is 0."""
    if not isinstance(raw, list) or not raw:
        raise UserError(f"{where}: not a list of 1 to {LARGEST} rows")
    if len(raw) > LARGEST:
        raise UserError(f"{where}: {len(raw)} rows, more than {LARGEST}")
    cells = []
    for n, row in enumerate(raw):
        if not isinstance(row, list) or not row or len(row) != len(raw[0]):
            raise UserError(f"{where}: row {n} is not a list of cells, as many as row 0 has")
        if len(row) > LARGEST:
            raise UserError(f"{where}: {len(row)} columns, more than {LARGEST}")
        values = [colour_of(cell, strings) for cell in row]
        if None in values:
            wrong = str(row[values.index(None)])[:20]
            raise UserError(f"{where}: row {n} has a cell {wrong!r}, not an integer from 0 to 9")
        cells.append(values)
    return np.array(cells, np.uint8)


def colour_of(cell: Any, strings: bool) -> int | None:
    """0 to 9: a whole number, a digit in a string; None for anything else."""
    if type(cell) is int:  # a bool is an int too
        return cell if 0 <= cell <= 9 else None
    if type(cell) is float and cell.is_integer():
        return int(cell) if 0 <= cell <= 9 else None
    if isinstance(cell, str):
        return DIGITS.get(cell)
    return 0 if cell is None and strings else None
