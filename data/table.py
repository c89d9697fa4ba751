"""Rows of other people's files: delimited text with or without a header, JSON lines, a JSON list,
one puzzle a line, blocks of lines (`.sdk`, `.ss`), OpenSudoku, parquet, a pair of npy arrays.

Nothing here knows a puzzle's rules. What is a grid is asked of the task (`looks`), to tell a header
from a puzzle and the columns apart. The form of a file is seen in its first rows, and every row is
then held against it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from data.array_table import arrays, parquet
from data.opened import begins
from data.raw import ANSWERS, HEAD, QUESTIONS, RATINGS, SQUARES, Looks, Raw, only
from data.text_table import text_table
from tinyreason.errors import UserError

MAX_COLUMNS = 1000  # a 16x16 grid and its answer, a column a cell, have 512
STRAY = 0.1  # of the rows of a column that is none of grids may look like one


class Record(NamedTuple):
    """A puzzle as it is written."""

    row: int  # the line it begins at, the first line is 1; or the number of the entry
    question: str
    answer: str | None
    rating: float | None


@dataclass
class Table:
    """A file whose form is known. `rows()` begins anew at each call."""

    path: Path
    form: str  # for messages: "columns quizzes -> solutions"
    answered: bool
    rated: bool
    rows: Callable[[], Iterator[Record]]


def open_table(
    path: Path, looks: Looks, columns: list[str] | None, spaced: bool, rated: bool = False
) -> Table:
    """The puzzles in a file.

    `looks` says whether a text is a grid of the task; `columns` names question and answer where the
    user did; `spaced`: a space is a cell, and '#' no comment; `rated`: its column of ratings is
    needed. Raises UserError.
    """
    first = begins(path)
    if first.startswith(b"PAR1"):
        raw = parquet(path)
    elif first.startswith(b"\x93NUMPY"):
        raw = arrays(path)
    else:
        raw = text_table(path, looks, spaced)
    raw.head = list(islice(raw.rows(), HEAD))
    if not raw.head:
        raise UserError(
            f"{path}: no puzzles, " + ("only a header" if raw.header else "it is empty")
        )
    return with_roles(raw, looks, columns, spaced, rated)


# ---- which column is what


def with_roles(
    raw: Raw, looks: Looks, columns: list[str] | None, spaced: bool, rated: bool
) -> Table:
    """Question, answer and rating among the columns, by their names, or else by what they hold."""
    width = len(raw.header or raw.head[0][1])
    if width > MAX_COLUMNS:
        raise UserError(f"{raw.path}: {width:,} columns, more than {MAX_COLUMNS}")
    if raw.header is None and width > 2 and is_cell_a_column(raw):
        return cells_in_columns(raw, width)
    names = raw.header or [str(i + 1) for i in range(width)]
    question, answer = chosen_columns(raw, names, looks, columns, spaced)
    if answer is not None and not any(
        fields[answer] for _, fields in raw.head if len(fields) == width
    ):
        answer = None
    rating = only(names, RATINGS) if rated and raw.header else None
    form = told_form(raw, names, question, answer)

    def rows() -> Iterator[Record]:
        for row, fields in raw.rows():
            if len(fields) != width:
                raise UserError(f"{raw.path}:{row}: {len(fields)} fields, {told_width(raw, width)}")
            rated = None if rating is None else number(raw.path, row, names[rating], fields[rating])
            told = None if answer is None else fields[answer]
            yield Record(row, fields[question], told or None, rated)

    return Table(raw.path, form, answer is not None, rating is not None, rows)


def told_width(raw: Raw, width: int) -> str:
    return f"the header has {width}" if raw.header else f"the first row has {width}"


def told_form(raw: Raw, names: list[str], question: int, answer: int | None) -> str:
    """For the line that says what was understood."""
    if raw.header:
        kind = (
            f"columns {names[question]} -> {names[answer]}"
            if answer is not None
            else (f"column {names[question]}, no answers")
        )
    elif answer is not None:
        kind = f"no header, column {question + 1} -> {answer + 1}"
    else:
        kind = "no answers"
    return ", ".join(part for part in (raw.note, kind) if part)


def chosen_columns(
    raw: Raw, names: list[str], looks: Looks, columns: list[str] | None, spaced: bool
) -> tuple[int, int | None]:
    """Where the question and the answer stand. Raises UserError where that is not certain."""
    if columns is not None:
        return named_columns(raw, names, columns)
    question, answer = only(names, QUESTIONS), only(names, ANSWERS)
    if raw.header and question is not None and question != answer:
        if answer is None and (other := grids(raw, looks, len(names)) - {question}):
            unsure(raw, names, {question, *other})
        return question, answer
    found = sorted(grids(raw, looks, len(names)))
    if not found:
        hint = f" among {', '.join(names)[:100]}" if raw.header else ""
        first = raw.head[0]
        raise UserError(
            f"{raw.path}:{first[0]}: no column of puzzles{hint}; "
            "name them with task.columns=[question,answer]"
        )
    if len(found) == 1:
        return found[0], None
    if len(found) == 2 and not raw.header:
        return tuple(reversed(found)) if is_swapped(raw, found, spaced) else tuple(found)
    return unsure(raw, names, set(found))


def is_swapped(raw: Raw, columns: list[int], spaced: bool) -> bool:
    """The answers stand first: a Sudoku's question has a character more, its blank; a maze's answer
    has one, the path.
    """
    width = max(columns)
    one, two = (
        {c for _, fields in raw.head if len(fields) > width for c in fields[i]} for i in columns
    )
    return one > two if spaced else two > one


def unsure(raw: Raw, names: list[str], found: set[int]):
    told = " or ".join(names[i] for i in sorted(found)[:4])
    one, two = (names[i] for i in sorted(found)[:2])
    raise UserError(
        f"{raw.path}: puzzles may be in column {told}; "
        f"say which with task.columns=[{one},{two}] (question, answer)"
    )


def named_columns(raw: Raw, names: list[str], columns: list[str]) -> tuple[int, int | None]:
    """Those of `task.columns`; in a file without header they are numbers from 1."""
    places = []
    for column in columns:
        if names.count(str(column)) != 1:
            told = ", ".join(names)[:200]
            raise UserError(f"task.columns={columns}: {raw.path} has the columns {told}")
        places.append(names.index(str(column)))
    return places[0], places[1] if len(places) > 1 else None


def grids(raw: Raw, looks: Looks, width: int) -> set[int]:
    """The columns that hold grids, in more rows of the head than chance would have it."""
    rows = [fields for _, fields in raw.head if len(fields) == width]
    counts = [sum(looks(fields[i]) for fields in rows) for i in range(width)]
    return {i for i, count in enumerate(counts) if count > len(rows) * STRAY}


def number(path: Path, row: int, name: str, text: str) -> float | None:
    """A rating; None where there is none."""
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{path}:{row}: {name} is {text[:20]!r}, not a number") from None
    if value != value:
        raise UserError(f"{path}:{row}: {name} is not a number")
    return value


# ---- a column a cell


def is_cell_a_column(raw: Raw) -> bool:
    """As many fields as a grid, or a grid and its answer, have cells, each short."""
    width = len(raw.head[0][1])
    short = all(len(text.strip()) <= 2 for _, fields in raw.head for text in fields)
    return short and (width in SQUARES or (width % 2 == 0 and width // 2 in SQUARES))


def cells_in_columns(raw: Raw, width: int) -> Table:
    """Question cells, then answer cells where there are twice as many."""
    if width in SQUARES and width % 2 == 0 and width // 2 in SQUARES:
        raise UserError(
            f"{raw.path}: {width} columns may be one grid or two; join the cells of each"
        )
    cells = width if width in SQUARES else width // 2

    def rows() -> Iterator[Record]:
        for row, fields in raw.rows():
            if len(fields) != width:
                raise UserError(
                    f"{raw.path}:{row}: {len(fields)} fields, the first row has {width}"
                )
            parts = [part.strip() or "." for part in fields]
            answer = " ".join(parts[cells:]) if cells < width else None
            yield Record(row, " ".join(parts[:cells]), answer, None)

    return Table(raw.path, "a column a cell", cells < width, False, rows)
