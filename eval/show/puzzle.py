"""The one puzzle that is shown: of a split by its number, typed, of a file, or made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.from_files import FromFiles
from data.task import Task
from eval import answer
from eval.load import model_for, puzzles_for, reader
from tinyreason.errors import UserError
from tinyreason.puzzle import Rows
from tinyreason.rules import Rules
from tinyreason.trained import Trained

EFFORT = 100_000  # positions of a search for the right answer


@dataclass
class Shown:
    """A puzzle, as a row of arrays."""

    rules: Rules
    rows: Rows  # of one; labels are PAD where the answer is not known
    number: int  # for models that draw random numbers
    name: str  # for the user
    notes: list[str] = field(default_factory=list)


def numbered(
    trained: Trained, split: str, index: int, source: Any, how: dict, embedding: str
) -> Shown:
    """Number `index` of a split, from 0. Raises UserError."""
    examined = puzzles_for(trained, split, source, None, how)
    trained.model = model_for(trained, examined.task, embedding)
    return one_of(examined.task, examined.puzzles.rows(), index, split)


def one_of(task: Task, rows: Rows, index: int, name: str) -> Shown:
    """One of several rows."""
    count = len(rows.inputs)
    if not 0 <= index < count:
        raise UserError(f"index={index}: {name} has {count} puzzles, from 0 to {count - 1}")
    chosen = Rows(*(column[index : index + 1] for column in rows))
    return Shown(task.rules, chosen, index, f"{name} {index}", list(task.notes))


def asked(trained: Trained, puzzle: str, index: int | None, how: dict, embedding: str) -> Shown:
    """What `puzzle=` says: a grid, a file, or - for standard input. Raises UserError."""
    if trained.config.notation.rules == "arc":
        return arc_file(trained, puzzle, index or 0, embedding)
    questions, notes = answer.asked(trained, puzzle, how)
    if len(questions) > 1 and index is None:
        raise UserError(f"puzzle={puzzle[:80]}: {len(questions)} puzzles; say which with index=0")
    at = index or 0
    if not 0 <= at < len(questions):
        raise UserError(f"index={at}: there are {len(questions)} puzzles, from 0")
    shown = typed(trained, questions[at])
    shown.notes = notes + shown.notes
    return shown


def typed(trained: Trained, question: np.ndarray, effort: int = EFFORT) -> Shown:
    """A puzzle of a user, (S,) tokens, with the right answer where rules say which it is, found
    with so much `effort` at most.
    """
    task = like(trained)
    known, why = task.answer_of(question, effort) if task else (None, "")
    blank = trained.config.facts.blank_identifier_id
    labels = np.zeros_like(question) if known is None else known
    rows = Rows(question[None], labels[None], np.full(1, blank, np.int32))
    notes = [f"its right answer is not known: {why}"] if why else []
    return Shown(trained.rules, rows, 0, "puzzle", notes)


def made(trained: Trained, seed: int) -> Shown:
    """A new puzzle of the run's kind, or one of its test puzzles where none can be made. Raises
    UserError.
    """
    if task := like(trained):
        try:
            return Shown(trained.rules, task.made(seed), seed, "a new puzzle")
        except UserError:  # of a kind that is not made here
            pass
    examined = puzzles_for(trained, "test")
    rows = examined.puzzles.rows()
    if not len(rows.inputs):
        raise UserError("this run has no test puzzles to choose from")
    return one_of(examined.task, rows, seed % len(rows.inputs), "test puzzle")


def like(trained: Trained) -> FromFiles | None:
    """The run's task, for puzzles that come from nowhere; None for a task without rules."""
    if trained.config.notation.rules not in ("sudoku", "maze"):
        return None
    task = reader(trained, "typed")
    task.be_like((trained.config.facts, trained.config.notation))
    return task


def arc_file(trained: Trained, puzzle: str, index: int, embedding: str) -> Shown:
    """A test pair of an ARC task that is known by its name, the file's. Raises UserError."""
    task = answer.arc_task(trained, puzzle, embedding)
    return one_of(task, task.splits["test"].rows(), index, f"{Path(puzzle).name}, test pair")
