"""Rows of fields out of a file, before it is known which column is what; and the names that columns
of the well-known sets have.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEAD = 500  # rows by which the form of a file is judged
SQUARES = (16, 36, 64, 81, 100, 144, 256)  # cells of a Sudoku
QUESTIONS = (
    "question quiz quizze puzzle problem input board grid sudoku maze unsolved start initial given"
)
ANSWERS = "answer solution label output solved target result path"
RATINGS = "rating difficulty score explainerrating"


Looks = Callable[[str], bool]  # whether a text is a grid of the task


@dataclass
class Raw:
    """Rows of fields, before it is known which is what."""

    path: Path
    rows: Callable[[], Iterator[tuple[int, list[str]]]]
    header: list[str] | None = None
    note: str = ""
    head: list[tuple[int, list[str]]] = field(default_factory=list)


def only(names: list[str], known: str) -> int | None:
    """The only column with one of the known names: as it stands, or else in any case, plural or
    with marks around it.
    """
    for spelling in (str, simple):
        found = [i for i, name in enumerate(names) if spelling(name) in known.split()]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def simple(name: str) -> str:
    """Letters alone, lower case, singular."""
    letters = re.sub(r"[^a-z]", "", name.lower())
    return letters[:-1] if letters.endswith("s") and len(letters) > 3 else letters
