"""Puzzles in JSON, a value a line or a list of them, and in OpenSudoku's XML."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from data.opened import lines_of, text_of
from data.raw import Looks, Raw
from tinyreason.errors import UserError

LOOKED = 50  # entries of a column by which it is judged
MAX_WHOLE = 8 << 20  # bytes of a JSON list or an XML file, which are read whole


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
    if '"' not in text:  # as Python writes a list
        text = text.replace("'", '"').replace("None", "null")
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


def json_object(path: Path, looks: Looks) -> Raw:
    """One JSON object: a puzzle and its answer, or columns of them, each a list, or an object of
    row numbers as pandas writes it.
    """
    value = parsed(path, 1, text_of(path, MAX_WHOLE))
    values = [list(v.values()) if isinstance(v, dict) else v for v in value.values()]
    lists = [v for v in values if isinstance(v, list) and v]
    columns = any(all(looks(as_text(one)) for one in v[:LOOKED]) for v in lists)
    if columns == any(looks(as_text(v)) for v in values):
        raise UserError(f"{path}: a JSON object, neither a puzzle nor columns of puzzles")
    if not columns:
        return Raw(path, lambda: iter([(1, list(map(as_text, values)))]), list(value), "JSON")
    if len({len(v) if isinstance(v, list) else 0 for v in values}) > 1:
        raise UserError(f"{path}: a JSON object of columns that are not of one length")

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, row in enumerate(zip(*values, strict=True), 1):
            yield number, list(map(as_text, row))

    return Raw(path, rows, list(value), "JSON columns")


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


def as_text(value: Any) -> str:
    """A text as it is; a list of texts, or rows of single characters and digits, as lines; anything
    else as JSON.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return json.dumps(value)
    if value and all(isinstance(one, str) and len(one) > 1 for one in value):
        return "\n".join(value)
    rows = value if value and all(isinstance(row, list) for row in value) else [value]
    if all(is_single(cell) for row in rows for cell in row):
        return "\n".join("".join("0" if c is None else str(c) for c in row) for row in rows)
    return json.dumps(value).replace("null", "0")


def is_single(cell: Any) -> bool:
    """A cell that is one character when it is written down; null is a blank."""
    digit = type(cell) is int and 0 <= cell <= 9
    return cell is None or digit or (isinstance(cell, str) and len(cell) == 1)
