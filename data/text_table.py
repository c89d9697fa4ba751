"""Text files of puzzles: fields between separators, with or without a header; one puzzle a line;
grids of several lines (`.sdk`, `.ss`, drawn with lines); by their first characters JSON and XML.

The form of a file is seen in its first lines, and every row is then held against it.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from data.json_table import json_lines, json_list, json_object, open_sudoku
from data.opened import bytes_of, lines_of
from data.raw import ANSWERS, HEAD, QUESTIONS, SQUARES, Looks, Raw, only
from tinyreason.errors import UserError

SEPARATORS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
SPACE = {" ": "space"}


def text_table(path: Path, looks: Looks, spaced: bool) -> Raw:
    """The form of a text, by its first lines."""
    begin = bytes_of(path, 200).decode("utf-8-sig", "replace").strip()
    if begin.startswith("{"):
        return json_lines(path) if is_json_lines(path) else json_object(path, looks)
    if not spaced and re.match(r"\[\s*([\[{\"'\d]|$)", begin):
        return json_lines(path) if is_json_lines(path) else json_list(path)
    if begin.startswith("<"):
        return open_sudoku(path)
    with closing(lines_of(path)) as lines:
        head = list(islice(lines, HEAD))
    if spaced and is_drawn(head):
        return drawn(path)
    if not spaced and is_blocks(head, looks):
        return blocks(path, looks)
    return delimited(path, head, looks, spaced)


def is_json_lines(path: Path) -> bool:
    """Each of the first lines is a JSON value of its own."""
    try:
        with closing(lines_of(path)) as lines:
            return len([json.loads(line) for line in islice(lines, HEAD) if line.strip()]) > 1
    except (ValueError, RecursionError, UserError):
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
    named = SEPARATORS | SPACE
    note = f"separator {named[separator]}" if separator not in (None, ",") else ""
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
    if separator == " ":
        yield from ((n, line.split()) for n, line in enumerate(lines, 1) if line.strip())
        return
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
    if comment and text and all(sum(map(looks, line.split())) > 0 for line in text) and not counts:
        return " " if any(len(line.split()) > 1 for line in text) else None
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
            if is_left(block) and path is not None:
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
    if is_left(block) and path is not None:
        raise UserError(f"{path}:{begun}: {len(block)} lines that are no grid")


def is_left(block: list[str]) -> bool:
    """There are lines that are neither a grid nor a line around one."""
    return any(not re.fullmatch(r"[-+|=*'.:\s]*", text) for text in block)


# ---- mazes over their lines: a space is a cell, an empty line stands between them


def is_drawn(head: list[str]) -> bool:
    """Each group of lines is of one length; there are several, or one with two cells (start and
    goal) that stand once in it.
    """
    groups = [lines for _, lines in groups_of(iter(head))]
    if not groups or any(c in line for line in head for c in ',;"'):
        return False
    even = all(len(lines) > 2 and len({len(line) for line in lines}) == 1 for lines in groups)
    counts = Counter("".join(groups[0])).values()
    return even and (len(groups) > 1 or sum(count == 1 for count in counts) >= 2)


def drawn(path: Path) -> Raw:
    """Grids of several lines each."""

    def rows() -> Iterator[tuple[int, list[str]]]:
        with closing(lines_of(path)) as lines:
            for number, group in groups_of(lines):
                yield number, ["\n".join(group)]

    return Raw(path, rows, None, "a row a line")


def groups_of(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """(first line, lines) of what stands between empty lines."""
    group, begun = [], 0
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if text:
            begun = begun if group else number
            group.append(text)
        elif group:
            yield begun, group
            group = []
    if group:
        yield begun, group
