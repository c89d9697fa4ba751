"""Rows of other people's files: delimited text with or without a header, JSON lines, a JSON list,
one puzzle a line, blocks of lines (`.sdk`, `.ss`), OpenSudoku, parquet, a pair of npy arrays.

Nothing here knows a puzzle's rules. What is a grid is asked of the task (`looks`), to tell a header
from a puzzle and the columns apart. The form of a file is seen in its first rows, and every row is
then held against it.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from data.opened import begins, lines_of, text_of
from tinyreason.errors import UserError
from tinyreason.untrusted import read_npy_any

HEAD = 500  # rows by which the form of a file is judged
SEPARATORS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
MAX_WHOLE = 64 << 20  # bytes of a JSON list or an XML file
MAX_CELL = 20_000  # characters of a grid
QUESTIONS = (
    "question quiz quizze puzzle problem input board grid sudoku maze unsolved start initial given"
)
ANSWERS = "answer solution label output solved target result path"
RATINGS = "rating difficulty score explainerrating"

Looks = Callable[[str], bool]


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
    answer_named: bool = True


@dataclass
class Raw:
    """Rows of fields, before it is known which is what."""

    path: Path
    rows: Callable[[], Iterator[tuple[int, list[str]]]]
    header: list[str] | None = None
    note: str = ""
    head: list[tuple[int, list[str]]] = field(default_factory=list)


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
    return with_roles(raw, looks, columns, rated)


# ---- which column is what


def with_roles(raw: Raw, looks: Looks, columns: list[str] | None, rated: bool) -> Table:
    """Question, answer and rating among the columns, by their names, or else by what they hold."""
    width = len(raw.header or raw.head[0][1])
    if raw.header is None and width > 2 and is_cell_a_column(raw):
        return cells_in_columns(raw, width)
    names = raw.header or [str(i + 1) for i in range(width)]
    question, answer = chosen_columns(raw, names, looks, columns)
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
    raw: Raw, names: list[str], looks: Looks, columns: list[str] | None
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
        return found[0], found[1]
    return unsure(raw, names, set(found))


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


def grids(raw: Raw, looks: Looks, width: int) -> set[int]:
    """The columns that hold grids in every row of the head."""
    rows = [fields for _, fields in raw.head if len(fields) == width]
    return {i for i in range(width) if rows and all(looks(fields[i]) for fields in rows)}


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

SQUARES = (16, 36, 64, 81, 100, 144, 256)


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


# ---- text


def text_table(path: Path, looks: Looks, spaced: bool) -> Raw:
    """The form of a text, by its first lines."""
    with closing(lines_of(path)) as lines:
        head = list(islice(lines, HEAD))
    begin = next((line.strip() for line in head if line.strip()), "")
    if begin.startswith("{"):
        return json_lines(path)
    if begin.startswith("["):
        bracketed = re.match(r"\[\s*[\[{\"\d]|\[\s*$", begin)
        if bracketed and not spaced and not begin.lower().startswith("[puzzle"):
            return json_lines(path) if all_json(head) else json_list(path)
    if begin.startswith("<"):
        return open_sudoku(path)
    if not spaced and is_blocks(head, looks):
        return blocks(path, looks)
    return delimited(path, head, looks, spaced)


def all_json(head: list[str]) -> bool:
    """Each line is a JSON value of its own."""
    try:
        return len([json.loads(line) for line in head if line.strip()]) > 1
    except (ValueError, RecursionError):
        return False


def delimited(path: Path, head: list[str], looks: Looks, spaced: bool) -> Raw:
    """Fields between separators, or one field a line."""
    comment = None if spaced else "#"
    separator = separator_of(path, head, looks, comment)

    def rows() -> Iterator[tuple[int, list[str]]]:
        with closing(lines_of(path)) as lines:
            for number, fields in split(path, lines, separator, spaced):
                if not is_comment(fields, comment, looks):
                    yield number, fields

    first = next(iter(rows()), None)
    note = f"separator {SEPARATORS[separator]}" if separator not in (None, ",") else ""
    if first is None:
        return Raw(path, rows, None, note)
    if is_header(first[1], looks):
        names = [name.strip() for name in first[1]]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{path}:{first[0]}: two columns named {twice[:40]!r}")
        return Raw(path, lambda: islice(rows(), 1, None), names, note)
    return Raw(path, rows, None, note)


def is_header(fields: list[str], looks: Looks) -> bool:
    """Known names of columns, or words of which none could be a puzzle."""
    if all(only(fields, names) is not None for names in (QUESTIONS, ANSWERS)):
        return True
    words = all(re.fullmatch(r"\s*[^\W\d][\w .#()/-]{0,60}\s*", name) for name in fields)
    return words and not any(looks(name) for name in fields)


def is_comment(fields: list[str], mark: str | None, looks: Looks) -> bool:
    """It begins with '#', and holds no puzzle: that may begin with '#' for a blank."""
    return bool(mark) and fields[0].startswith(mark) and not any(map(looks, fields))


def split(
    path: Path, lines: Iterator[str], separator: str | None, spaced: bool
) -> Iterator[tuple[int, list[str]]]:
    """(first line of the record, its fields); empty lines are left out."""
    if separator is None:
        for number, line in enumerate(lines, 1):
            text = line.rstrip("\r\n") if spaced else line.strip()
            if text:
                yield number, [unquoted(text)]
        return
    table, read = csv.reader(lines, delimiter=separator, strict=True), 0
    try:
        for fields in table:
            begun, read = read + 1, table.line_num
            if fields:
                yield begun, fields
    except csv.Error as error:
        raise UserError(f"{path}:{read + 1}: {error}") from None


def unquoted(text: str) -> str:
    """Without the quotes around all of it."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1] if quoted else text


def separator_of(path: Path, head: list[str], looks: Looks, comment: str | None) -> str | None:
    """What stands between fields; None where a line is one field. Raises UserError if unsure."""
    text = [line for line in head if line.strip()]
    counts = {}
    for separator in SEPARATORS:
        rows = []
        with suppress(UserError):  # told when the rows are read
            for _, fields in split(path, iter(text), separator, True):
                if not is_comment(fields, comment, looks):
                    rows.append(fields)
        rows = rows[:-1] if len(rows) > 1 else rows  # the last may be cut in the middle
        widths = {len(fields) for fields in rows}
        gridded = sum(any(looks(one) for one in fields) for fields in rows)
        if rows and max(widths) > 1:
            counts[separator] = (len(widths) == 1, gridded / len(rows), max(widths))
    # as wide as a grid, each a cell
    wide = [s for s, (even, _, width) in counts.items() if even and width in CELLS]
    whole = sum(looks(line.strip("\r\n")) for line in text) / max(len(text), 1)
    fitting = [s for s, (even, share, _) in counts.items() if share > 0.5 and (even or share > 0.8)]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) > 1:
        told = " or ".join(SEPARATORS[s] for s in fitting)
        raise UserError(f"{path}: fields may be separated by {told}; keep one of them")
    if whole > 0.5:
        return None
    if len(wide) == 1:
        return wide[0]
    even = [s for s, (same, _, _) in counts.items() if same]
    return even[0] if len(even) == 1 else ("," if "," in counts else None)


CELLS = {n for square in SQUARES for n in (square, 2 * square)}


# ---- blocks of lines: .sdk, .ss, a grid drawn with lines


def is_blocks(head: list[str], looks: Looks) -> bool:
    """Some lines together are a grid, while none is alone."""
    texts = [line.strip() for line in head if line.strip() and not line.startswith("#")]
    if not texts or any(looks(text) or "," in text or '"' in text for text in texts[:20]):
        return False
    found = next(iter(block_rows(head, looks)), None)
    return found is not None


def blocks(path: Path, looks: Looks) -> Raw:
    """Grids of several lines each."""

    def rows() -> Iterator[tuple[int, list[str]]]:
        with closing(lines_of(path)) as lines:
            yield from block_rows(lines, looks, path)

    return Raw(path, rows, None, "a row a line")


def block_rows(lines, looks: Looks, path: Path | None = None) -> Iterator[tuple[int, list[str]]]:
    """Lines gathered until they are a grid; comments, titles and section names are left out."""
    block, begun = [], 0
    for number, line in enumerate(lines, 1):
        text = line.strip()
        title = text.startswith(("#", "[")) or re.match(r"(?i)(grid|puzzle|sudoku)\b", text)
        if title or not text:
            if block and path is not None:
                raise UserError(f"{path}:{begun}: {len(block)} lines that are no grid")
            block = []
            if text.lower().startswith("[state"):  # what a player had filled in
                return
            continue
        begun = begun if block else number
        block.append(text)
        if len(block) > 40:
            if path is not None:
                raise UserError(f"{path}:{begun}: {len(block)} lines that are no grid")
            return
        if looks("\n".join(block)):
            yield begun, ["\n".join(block)]
            block = []
    drawn = [text for text in block if not re.fullmatch(r"[-+|=*'.:\s]*", text)]
    if drawn and path is not None:
        raise UserError(f"{path}:{begun}: {len(block)} lines that are no grid")


# ---- JSON, XML


def json_lines(path: Path) -> Raw:
    """One JSON object, or list, a line."""

    def rows() -> Iterator[tuple[int, list[str]]]:
        keys = None
        with closing(lines_of(path)) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    keys, fields = entry(path, number, parsed(path, number, line), keys)
                    yield number, fields

    with closing(rows()) as found:
        next(found, None)
    return Raw(path, rows, header_of(first_value(path)), "JSON lines")


def first_value(path: Path) -> Any:
    """What the first line holds."""
    with closing(lines_of(path)) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                return parsed(path, number, line)
    return None


def json_list(path: Path) -> Raw:
    """A JSON list of objects, of texts, or of grids."""
    text = text_of(path, MAX_WHOLE)
    if text.count("[") + text.count("{") > len(text) // 8:
        raise UserError(f"{path}: more brackets than puzzles have")
    value = parsed(path, 1, text)
    if isinstance(value, list) and value and is_grid(value):
        value = [value]
    if not isinstance(value, list) or not value:
        raise UserError(f"{path}: not a list of puzzles")

    def rows() -> Iterator[tuple[int, list[str]]]:
        keys = None
        for number, one in enumerate(value, 1):
            keys, fields = entry(path, number, one, keys)
            yield number, fields

    return Raw(path, rows, header_of(value[0]), "JSON")


def is_grid(value: list) -> bool:
    """A list of rows of cells, or of cells."""
    rows = value if all(isinstance(row, list) for row in value) else [value]
    return all(not isinstance(cell, list | dict | str) for row in rows for cell in row)


def header_of(value: Any) -> list[str] | None:
    return list(value) if isinstance(value, dict) else None


def parsed(path: Path, number: int, text: str) -> Any:
    """A JSON value. Raises UserError."""
    try:
        return json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        raise UserError(f"{path}:{number}: nested too deep") from None
    except ValueError as error:
        raise UserError(f"{path}:{number}: not readable JSON: {str(error)[:100]}") from None


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def entry(
    path: Path, number: int, value: Any, keys: list[str] | None
) -> tuple[list[str] | None, list[str]]:
    """The keys that every entry must have, and the fields of this one as texts."""
    if isinstance(value, dict):
        here = list(value)
        if keys is not None and set(here) != set(keys):
            raise UserError(
                f"{path}:{number}: keys {', '.join(here)[:60]}, not {', '.join(keys)[:60]}"
            )
        keys = keys or here
        return keys, [as_text(value[key]) for key in keys]
    if keys is not None:
        raise UserError(f"{path}:{number}: not an object, as those before it are")
    if isinstance(value, list) and len(value) == 2 and not is_grid(value):
        return None, [as_text(one) for one in value]
    return None, [as_text(value)]


def as_text(value: Any) -> str:
    """A text as it is, a list of texts as lines, anything else as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    lines = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    if lines and all(len(one) > 1 for one in value):
        return "\n".join(value)
    return json.dumps(value).replace("null", "0") if isinstance(value, list) else json.dumps(value)


def open_sudoku(path: Path) -> Raw:
    """OpenSudoku's XML: `<game data="53..."/>`."""
    text = text_of(path, MAX_WHOLE)
    if "<!" in text.replace("<!--", ""):
        raise UserError(f"{path}: XML with a declaration of types or entities, which is not read")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"{path}:{error.position[0]}: not readable XML: {error}") from None
    games = [one.attrib["data"] for one in root.iter("game") if "data" in one.attrib]
    if root.tag not in ("opensudoku", "sudoku") or not games:
        raise UserError(f"{path}: XML of <{str(root.tag)[:20]}>, not of OpenSudoku's games")
    return Raw(path, lambda: ((i, [game]) for i, game in enumerate(games, 1)), None, "OpenSudoku")


# ---- arrays


def parquet(path: Path) -> Raw:
    """Columns of a parquet file; needs the parquet extra."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(f"{path}: a parquet file; pip install 'tinyreason[parquet]'") from None
    try:
        names = ParquetFile(path).schema_arrow.names
    except (ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable parquet: {str(error)[:100]}") from None

    def rows() -> Iterator[tuple[int, list[str]]]:
        number = 0
        try:
            for batch in ParquetFile(path).iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, [field_text(row[name]) for name in names]
        except (ArrowException, OSError) as error:
            raise UserError(
                f"{path}:{number + 1}: not readable parquet: {str(error)[:100]}"
            ) from None

    return Raw(path, rows, names, "parquet")


def field_text(value: Any) -> str:
    """A value of a column; bytes and objects are no texts of puzzles."""
    return (
        as_text(value) if isinstance(value, str | int | float | list | None) else str(type(value))
    )


def arrays(path: Path) -> Raw:
    """`quizzes.npy` beside `solutions.npy`: whole numbers (N, S) or (N, rows, columns)."""
    answer = partner(path)
    found = [read_npy_any(one) for one in (path, answer) if one is not None]
    if len(found) == 2 and found[0].shape != found[1].shape:
        raise UserError(f"{answer}: shape {found[1].shape}, but {path.name} has {found[0].shape}")
    note = f"npy, answers in {answer.name}" if answer else "npy"

    def rows() -> Iterator[tuple[int, list[str]]]:
        for i in range(len(found[0])):
            yield i + 1, [" ".join(map(str, array[i].reshape(-1).tolist())) for array in found]

    return Raw(path, rows, None, note)


def partner(path: Path) -> Path | None:
    """The file of answers beside one of questions: the same name but for the field's words."""
    for question, answer in zip(("question", "quiz", "puzzle", "input"), PARTNERS, strict=True):
        for one in answer:
            for end in ("s", "es", "zes", ""):
                name = path.stem.lower()
                if name.endswith(question + end):
                    for plural in ("s", ""):
                        other = path.with_name(
                            path.stem[: -len(question + end)] + one + plural + ".npy"
                        )
                        if other.is_file():
                            return other
    return None


PARTNERS = (
    ("answer", "solution"),
    ("solution", "answer"),
    ("solution", "answer"),
    ("label", "output"),
)
