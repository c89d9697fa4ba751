"""What the server makes of a question: the trace of a puzzle being solved, or a new puzzle.

Nothing is kept from one question to the next, and nothing that a question says changes the model.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from secrets import randbelow
from typing import Any

import numpy as np
import torch

from data.arc_augment import decode, encode
from eval.load import Examined, mean_embedding, puzzles_for
from eval.serve.limits import Refused
from eval.show import puzzle as puzzles
from eval.show.puzzle import Shown
from eval.show.trace import described, trace, trained_depth
from tinyreason.described import whole
from tinyreason.errors import UserError
from tinyreason.puzzle import Rows
from tinyreason.trained import Trained

LARGEST = 30  # rows or columns of a grid
SECONDS = 20  # that an answer may take
DEEPER = 8  # times the trained segments, at most
MOST_SEGMENTS = 128
MOST_SHOWN = 6  # demonstrations of an example
EFFORT = 3000  # positions of a search for the right answer: seconds
UNKNOWN = "a task that it was not trained on"


@dataclass
class Answers:
    """A model that is asked."""

    trained: Trained

    def __post_init__(self):
        rows, columns = self.trained.config.facts.grid
        if max(rows, columns) > LARGEST:
            raise UserError(f"{self.trained.path}: {rows} x {columns} cells; {LARGEST} is the most")
        self.ids = known_tasks(self.trained)
        if self.ids:
            add_mean_embedding(self.trained)
        self.trained.model.eval()

    @property
    def most(self) -> int:
        """Segments that may be asked for."""
        return self.trained.deeper(DEEPER, MOST_SEGMENTS)

    def about(self) -> dict[str, Any]:
        """What the page has to know of the model."""
        return {
            "run": self.trained.path.name,
            "model": self.trained.config.model.name,
            "task": described(self.trained.rules),
            "trained": trained_depth(self.trained),
            "most": self.most,
            "names": [*self.ids, UNKNOWN] if self.ids else [],
        }

    def solve(self, question: dict[str, Any]) -> dict[str, Any]:
        """The trace of `question`: {"puzzle": text or rows, "segments"[, "name", "pair"]}. Raises
        Refused.
        """
        unknown = question.keys() - {"puzzle", "segments", "name", "pair"}
        if unknown:
            raise Refused(400, f"{min(unknown)[:40]!r} is no part of a question")
        segments = in_range(question.get("segments", 1), "segments", 1, self.most)
        try:
            shown = self.shown(question)
            solver = self.trained.solver(segments, False)
            found = trace(self.trained, solver, shown.rules, shown.rows, 0, deadline(SECONDS))
        except UserError as error:
            raise Refused(422, str(error)) from None
        return found | {"notes": shown.notes}

    def shown(self, question: dict[str, Any]) -> Shown:
        """The puzzle of a question. Raises UserError and Refused."""
        puzzle = question.get("puzzle")
        if self.trained.config.notation.rules == "arc":
            pair = in_range(question.get("pair", 0), "pair", 0, 100)
            return self.arc(puzzle, question.get("name", UNKNOWN), pair)
        if not isinstance(puzzle, str | list):
            raise Refused(400, "puzzle must be a text, or rows of cells")
        refuse_large(puzzle)
        return puzzles.typed(self.trained, self.trained.rules.tokens(puzzle), EFFORT)

    def new(self) -> dict[str, Any]:
        """A new puzzle: {"question": [S tokens], "name"}; of ARC an example: {"puzzle", "name"}.
        Raises Refused.
        """
        try:
            if self.trained.config.notation.rules == "arc":
                return self.arc_example()
            shown = puzzles.made(self.trained, randbelow(1 << 31))
        except UserError as error:
            raise Refused(422, str(error)) from None
        return {"question": shown.rows.inputs[0].tolist(), "name": shown.name}

    # ---- ARC

    def arc(self, puzzle: Any, name: Any, pair: int) -> Shown:
        """A test pair of the JSON of a task, or a grid alone."""
        if not isinstance(name, str) or (name != UNKNOWN and name not in self.ids):
            raise Refused(422, "the model does not know a task of that name")
        inside = next(iter(puzzle.values()), None) if isinstance(puzzle, dict) else None
        if isinstance(inside, dict) and "test" in inside:  # {"name": {...}}, as Kaggle has it
            puzzle = inside
        if isinstance(puzzle, dict):
            tests = puzzle.get("test")
            if not isinstance(tests, list) or not tests:
                raise Refused(422, 'a task is {"train": [...], "test": [{"input": rows}, ...]}')
            if pair >= len(tests) or not isinstance(tests[pair], dict):
                raise Refused(422, f"the task has {len(tests)} test pairs")
            grid, truth = tests[pair].get("input"), tests[pair].get("output")
        else:
            grid, truth = puzzle, None
        side = self.trained.config.facts.grid[0]
        question = encode(colours(grid, side), side)
        labels = np.zeros_like(question) if truth is None else encode(colours(truth, side), side)
        ids = np.full(1, self.ids.get(name, self.unknown_id), np.int32)
        return Shown(self.trained.rules, Rows(question[None], labels[None], ids), 0, "a test pair")

    def arc_example(self) -> dict[str, Any]:
        """A task of its own, with the demonstrations that it has. Raises UserError."""
        task, rows = self.own.task, self.own.puzzles.rows()
        if not len(rows.inputs):
            raise UserError("this run has no test puzzles to choose from")
        chosen = randbelow(len(rows.inputs))
        number = task.augmentations.task[rows.puzzle_ids[chosen]]
        shown = task.splits["train"].rows()
        same = task.augmentations.task[shown.puzzle_ids] == number
        pairs = [pair_of(shown, i, task.canvas) for i in np.flatnonzero(same)[:MOST_SHOWN]]
        puzzle = {"train": pairs, "test": [pair_of(rows, chosen, task.canvas)]}
        return {"puzzle": puzzle, "name": task.names[number]}

    @cached_property
    def own(self) -> Examined:
        """The run's own test puzzles. Raises UserError where they are files that are not here."""
        return puzzles_for(self.trained, "test")

    @property
    def unknown_id(self) -> int:
        """The row that `add_mean_embedding` added."""
        return self.trained.config.facts.num_puzzle_identifiers if self.ids else 0


def pair_of(rows: Rows, i: int, canvas: int) -> dict[str, list]:
    """Example `i` as ARC writes it."""
    grids = (decode(cells[i], canvas).tolist() for cells in (rows.inputs, rows.labels))
    return dict(zip(("input", "output"), grids, strict=True))


def known_tasks(trained: Trained) -> dict[str, int]:
    """Of an ARC model, the name of each task and its identifier."""
    if trained.config.notation.rules != "arc" or trained.model.encoder.puzzles is None:
        return {}
    found, number = {}, 1
    for name, count, _ in trained.config.identifiers or []:
        found[str(name)] = number
        number += count
    return found


def add_mean_embedding(trained: Trained) -> None:
    """A last row, for tasks that the model does not know."""
    embedding = trained.model.encoder.puzzles
    embedding.table = torch.cat([embedding.table, mean_embedding(embedding.table)[None]])


def in_range(value: Any, name: str, least: int, most: int) -> int:
    """A whole number in range. Raises Refused."""
    if not whole(value, least, most):
        raise Refused(422, f"{name} must be a whole number from {least} to {most}")
    return value


def refuse_large(puzzle: str | list) -> None:
    """Raises Refused for more cells than any puzzle has, before they are looked at."""
    cells = len(puzzle.split("\n")) if isinstance(puzzle, str) else len(puzzle)
    characters = len(puzzle) if isinstance(puzzle, str) else 0
    if cells > 3 * LARGEST or characters > 8 * LARGEST**2:
        raise Refused(422, f"more than {LARGEST} rows of {LARGEST} cells")
    wide = [row for row in puzzle if isinstance(row, list | str) and len(row) > 3 * LARGEST]
    if isinstance(puzzle, list) and wide:
        raise Refused(422, f"more than {LARGEST} rows of {LARGEST} cells")


def colours(grid: Any, most: int) -> np.ndarray:
    """(rows, columns) uint8 of an ARC grid. Raises Refused."""
    rows = grid if isinstance(grid, list) and grid else None
    if rows is None or not all(isinstance(row, list) and row for row in rows):
        raise Refused(422, "a grid is a list of rows of numbers")
    if len({len(row) for row in rows}) > 1:
        raise Refused(422, "the rows of a grid are not of one length")
    if len(rows) > most or len(rows[0]) > most:
        raise Refused(
            422, f"a grid of {len(rows)} x {len(rows[0])}; this model takes {most} x {most}"
        )
    if not all(type(cell) is int and 0 <= cell <= 9 for row in rows for cell in row):
        raise Refused(422, "the cells of a grid are whole numbers from 0 to 9")
    return np.array(rows, np.uint8)


def deadline(seconds: float) -> Callable[[], None]:
    """Raises Refused when it is called later than that."""
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise Refused(422, f"more than {seconds} seconds; use fewer segments")

    return check
