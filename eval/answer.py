"""Answers to puzzles of yours: drawn side by side, or written to a table.

What is asked is a grid, a file of grids, standard input, or an ARC task; known answers are not
needed. All puzzles are read before the first is solved, and files are written when all are.

N puzzles, S cells.
"""

import csv
import io
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from conf.schema import SolveConfig
from data.arc import ARC
from data.from_files import FromFiles
from data.opened import text_of
from data.registry import make_task
from data.task import Task
from eval.load import model_for, reader
from eval.score import solve_by_votes
from tinyreason.errors import UserError
from tinyreason.puzzle import Rows
from tinyreason.run.atomic import write_whole
from tinyreason.run.console import say
from tinyreason.solutions import Solutions
from tinyreason.solver import Attempt
from tinyreason.trained import Trained

MOST_STDIN = 64 << 20  # characters
MOST_GRID = 100_000  # bytes of a file that is one grid
MOST_PATH = 1000  # characters of a path


def answer(trained: Trained, options: SolveConfig) -> None:
    """What `puzzle=` asks, to the terminal or to `json=` and `answers=`. Raises UserError."""
    if options.source is not None:
        raise UserError("puzzle= and source= are two ways to ask; leave one out")
    if trained.config.notation.rules == "arc":
        arc_attempts(trained, options)
        return
    questions, notes = asked(trained, str(options.puzzle), options.task)
    for note in notes:
        say(f"note: {note}")
    solver = trained.solver(options.segments, options.halt, options.batch, options.recursions)
    began = time.monotonic()
    hidden = True if len(questions) == 1 else None
    with tqdm(total=len(questions), unit="puzzle", disable=hidden, leave=False) as bar:
        found = trained.answer(questions, solver, bar.update)
    seconds = time.monotonic() - began
    if not options.json and not options.answers:
        show(found)
    if options.json:
        content = json.dumps(found.table(), indent=1) + "\n"
        write_whole(Path(options.json), content.encode())
    if options.answers:
        write_whole(Path(options.answers), as_csv(found.table()).encode())
    if len(found) > 1:
        say(f"{len(found)} puzzles{told_valid(found)}, {len(found) / seconds:.1f} a second")


def told_valid(found: Solutions) -> str:
    """How many answers keep the rules, where there are rules."""
    return "" if found.valid is None else f", {found.valid.sum()} answers keep the rules"


def show(found: Solutions) -> None:
    """Question and answer of each, side by side; what was filled in is bold on a terminal."""
    bold = sys.stdout is not None and sys.stdout.isatty()
    for i in range(len(found)):
        print(found.picture(i, bold), end="\n\n" if i + 1 < len(found) else "\n", flush=True)


# ---- what is asked


def asked(trained: Trained, puzzle: str, how: dict) -> tuple[np.ndarray, list[str]]:
    """(N, S) tokens of a grid, of the grids in a file, or of those on standard input; and what was
    understood of a file. Raises UserError.
    """
    if puzzle == "-":
        return piped(trained, how)
    path = existing(puzzle)
    if path is None:
        return trained.rules.tokens(hint(puzzle))[None], []
    question = drawn(trained, path)
    return from_file(trained, path, str(path), how) if question is None else (question, [])


def drawn(trained: Trained, path: Path) -> np.ndarray | None:
    """(1, S) tokens of a file that is one grid and nothing else; None for any other."""
    try:
        return trained.rules.tokens(text_of(path, MOST_GRID))[None]
    except UserError:
        return None


def hint(puzzle: str) -> str:
    """A path that does not exist is told as such."""
    if "/" in puzzle or puzzle.endswith(
        (".csv", ".txt", ".json", ".jsonl", ".sdk", ".sdm", ".npy")
    ):
        raise UserError(f"puzzle={puzzle[:200]}: no such file, and no grid")
    return puzzle


def existing(text: str) -> Path | None:
    """The file of that name, if there is one."""
    try:
        path = Path(text).expanduser()
        return path if len(text) < MOST_PATH and path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def piped(trained: Trained, how: dict) -> tuple[np.ndarray, list[str]]:
    """From standard input, in any form that a file may have."""
    if sys.stdin is None:
        raise UserError("puzzle=-: there is no standard input")
    text = sys.stdin.read(MOST_STDIN + 1)
    if len(text) > MOST_STDIN:
        raise UserError(f"puzzle=-: more than {MOST_STDIN >> 20} MiB; write it to a file")
    if not text.strip("\n"):
        raise UserError("puzzle=-: nothing came in")
    try:
        return trained.rules.tokens(text)[None], []
    except UserError as error:
        single = error
    with TemporaryDirectory() as folder:
        path = Path(folder) / "standard input"
        path.write_text(text, encoding="utf-8")
        try:
            return from_file(trained, path, "standard input", how)
        except UserError as error:
            told = str(error).replace(str(path), "standard input")
            one_line = text.strip("\n").count("\n") == 0
            raise UserError(str(single) if one_line else told) from None


def from_file(trained: Trained, path: Path, name: str, how: dict) -> tuple[np.ndarray, list[str]]:
    """The questions of a file."""
    task = reader(trained, str(path), how)
    kind = trained.config.notation.rules
    if not isinstance(task, FromFiles):
        raise UserError(f"puzzle={name}: files of task={kind} are not read here")
    questions, notes = task.questions(path, (trained.config.facts, trained.config.notation))
    return questions, [note.replace(str(path), name) for note in notes]


# ---- what is written


def write_attempt(path: Path, task: Task, rows: Rows, attempt: Attempt) -> None:
    """The answers of an evaluation, as a table."""
    found = Solutions(
        rules=task.rules,
        questions=rows.inputs,
        tokens=attempt.answers,
        checks=task.check(rows.inputs, attempt.answers),
        confidence=attempt.confidence,
        segments=attempt.segments,
    )
    exact = attempt.exact[:, -1]
    lines = [row | {"exact": bool(right)} for row, right in zip(found.table(), exact, strict=True)]
    write_whole(path, as_csv(lines).encode())
    say(f"wrote {path}")


def as_csv(rows: list[dict]) -> str:
    """With a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# ---- ARC


def arc_attempts(trained: Trained, options: SolveConfig) -> None:
    """Two attempts at each test input of an ARC task that the run knows by name."""
    task = arc_task(trained, str(options.puzzle), options.embedding)
    solver = trained.solver(options.segments, options.halt, options.batch, options.recursions)
    votes = options.votes or trained.config.eval.votes or 1
    found = solve_by_votes(solver, task, "test", None, votes)
    told_attempts(task, found, options)


def arc_task(trained: Trained, puzzle: str, embedding: str) -> ARC:
    """The ARC task of a file, loaded; the model is made to know it. Raises UserError."""
    path = existing(puzzle)
    if path is None:
        raise UserError(f"puzzle={puzzle[:100]}: use the JSON file of an ARC task")
    whole = {"source": str(path), "train_puzzles": None, "test_puzzles": None}
    task = make_task(trained.config.task | whole)
    if not len(task.load(trained.config.task["seed"])["test"]):
        raise UserError(f"{path}: a list of pairs, none of them a test; there is nothing to answer")
    trained.model = model_for(trained, task, embedding)
    return task


def told_attempts(task: ARC, found: dict, options: SolveConfig) -> None:
    """To the terminal, or to `json=` as Kaggle's submission."""
    submission = found["submission"]
    if options.json:
        write_whole(Path(options.json), (json.dumps(submission) + "\n").encode())
        say(f"wrote {options.json}")
        return
    for name, tests in submission.items():
        for number, attempts in enumerate(tests):
            for key, grid in attempts.items():
                lines = "\n".join(" ".join(map(str, row)) for row in grid)
                print(
                    f"{name}, test input {number + 1}, {key.replace('_', ' ')}:\n{lines}\n",
                    flush=True,
                )
