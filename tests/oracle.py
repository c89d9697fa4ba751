"""What a puzzle file holds, read by rules as dumb as they come: the judge of the readers in
`tests/test_fuzz.py`.

Nothing here shares code with the readers: characters go through a table of states, grids are lists
of lists. Each function returns what the file means, or raises `Wrong` with the rows (any of them
may be named) that make it none.
"""

import ast
import gzip
import json
import re
from functools import lru_cache
from typing import Any

import numpy as np


class Wrong(Exception):
    """The file is none. `rows` are those that a refusal may name; None: any row, or none at all."""

    def __init__(self, rows: set | None = None):
        self.rows = rows


class Unclear(Wrong):
    """The file may be read or refused."""


# CSV, by RFC 4180: a quote inside an unquoted field is a character; after a closing quote comes a
# comma or the end


def unpacked(content: bytes) -> bytes:
    """What a gz file holds."""
    try:
        return gzip.decompress(content)
    except Exception:
        raise Wrong from None


def lines_of(content: bytes) -> list[tuple[int, str | None]]:
    """(number, text) of each line; the text is None where no line can be read, and nothing comes
    after.
    """
    lines: list[tuple[int, str | None]] = []
    for number, line in enumerate(re.findall(rb"[^\n]*\n|[^\n]+", content), 1):
        text = None
        if len(line) <= 100_000 and 0 not in line:
            try:
                text = line.decode()
            except UnicodeDecodeError:
                text = None
        lines.append((number, text[1:] if number == 1 and text and text[0] == "\ufeff" else text))
        if text is None:
            break
    return lines


def records_of(content: bytes) -> tuple[list[tuple[int, list[str]]], int | None]:
    """The records, each with the number of its first line, and the line at which reading has to
    stop.
    """
    records, fields, field, quoted, begun = [], [], "", None, 1
    for number, text in lines_of(content):
        begun = begun if quoted else number
        if text is None:
            return records, number
        at, end = 0, len(text.rstrip("\r\n"))
        while at < len(text):
            here, following = text[at], text[at + 1 : at + 2]
            if quoted:
                if here == '"' and following != '"':
                    quoted = False
                    if following and following not in ",\r\n":
                        return records, begun
                else:
                    at += here == '"'
                    field += here
            elif at >= end:
                break
            elif here in "\r\n":
                return records, begun  # the end of a row within a line
            elif here == ",":
                fields, field, quoted = [*fields, field], "", None
            elif here == '"' and quoted is None:
                quoted = True
            else:
                field, quoted = field + here, False
            if len(field) > 131_072:
                return records, begun
            at += 1
        if not quoted:
            empty = not fields and quoted is None
            records.append((begun, [] if empty else [*fields, field]))
            fields, field, quoted = [], "", None
    return records, begun if quoted else None


def puzzles(content: bytes, cells: int, judge) -> list[tuple[int, list[int], list[int]]]:
    """(line, input tokens, label tokens) of every row; `judge` gives the tokens of a question and
    its answer. Any row that is none may be named.
    """
    records, stop = records_of(content)
    header = records[0][1] if records else []
    if header.count("question") != 1 or header.count("answer") != 1:
        raise Wrong
    if len({name.strip().lower() for name in header}) < len(header):
        raise Unclear  # two names that differ in case alone
    question, answer = header.index("question"), header.index("answer")
    judged, bad = [], {stop} - {None}
    unreadable = {number for number, text in lines_of(content) if text is None}
    for number, fields in records[1:]:
        if fields:  # an empty line is none
            texts = [fields[i] for i in (question, answer) if i < len(fields)]
            fits = len(fields) == len(header) and all(len(text) == cells for text in texts)
            tokens = judge(*texts) if fits else None
            if tokens is None:
                bad.add(number)
            else:
                judged.append((number, *tokens))
    if bad:
        raise Wrong(bad | unreadable)
    if not judged:
        raise Wrong
    return judged


def written(content: bytes, row: int, cells: str, blank: str) -> bool:
    """Whether the `cells` of a grid ('.' for a blank) stand in the text from line `row` on, in
    their order, whatever stands between them; `blank` is a pattern of one blank.
    """
    text = b"\n".join(re.split(rb"\r?\n", content)[row - 1 : row + 60]).decode("utf-8", "replace")
    between = r"[\s,;|\[\]()'\"+*=-]*?"
    pattern = between.join(blank if cell == "." else re.escape(cell) for cell in cells)
    return re.search(pattern, text) is not None


def sudoku(
    question: str, answer: str, side: int, box: tuple[int, int]
) -> tuple[list[int], list[int]] | None:
    """Tokens of a Sudoku and its solution, None if they are not one.

    Boxes are `box` rows and columns.
    """
    digits = "123456789"[:side]
    if any(c not in digits for c in answer) or any(c not in digits + ".0" for c in question):
        return None
    if any(q in digits and q != a for q, a in zip(question, answer, strict=True)):
        return None
    for n in range(side):
        r, c = n // (side // box[1]) * box[0], n % (side // box[1]) * box[1]
        row = [answer[n * side + i] for i in range(side)]
        column = [answer[i * side + n] for i in range(side)]
        inside = [answer[(r + i // box[1]) * side + c + i % box[1]] for i in range(side)]
        if any(sorted(house) != sorted(digits) for house in (row, column, inside)):
            return None
    return [digits.find(c) + 2 for c in question], [digits.find(c) + 2 for c in answer]


def maze(question: str, answer: str, side: int) -> tuple[list[int], list[int]] | None:
    """Tokens of a maze and a path in it, None if they are not one."""
    if (
        any(c not in "# SG" for c in question)
        or question.count("S") != 1
        or question.count("G") != 1
    ):
        return None
    if any(a != q and not (a == "o" and q == " ") for q, a in zip(question, answer, strict=True)):
        return None
    path = {(i // side, i % side) for i in range(side * side) if answer[i] in "SGo"}
    links = {cell: [n for n in neighbours(cell) if n in path] for cell in path}
    ends = [divmod(answer.index(c), side) for c in "SG"]
    if any(len(links[cell]) != (1 if cell in ends else 2) for cell in path):
        return None
    before, here, steps = None, ends[0], 1
    while here != ends[1]:
        before, here, steps = here, next(n for n in links[here] if n != before), steps + 1
    if steps != len(path):  # a ring beside the path
        return None
    return [1 + "# SGo".index(c) for c in question], [1 + "# SGo".index(c) for c in answer]


def neighbours(cell: tuple[int, int]) -> list[tuple[int, int]]:
    r, c = cell
    return [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]


# JSON


@lru_cache(100)
def parsed(content: bytes) -> Any:
    """The value in a JSON text without a name twice in an object and not nested absurdly."""

    def pairs(found: list) -> dict:
        if len({name for name, _ in found}) < len(found):
            raise ValueError
        return dict(found)

    try:
        found = json.loads(content, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        found = Wrong
    if b"[" * 5000 not in content and b"[" * 900 in content:
        raise Unclear  # how deep Python's parser goes depends on who calls it
    if found is Wrong:
        raise Wrong
    return found


def is_grid(value: Any, strings: bool = False) -> bool:
    """1 to 30 rows of as many cells each, 1 to 30, of colours."""
    if type(value) is not list or not 1 <= len(value) <= 30:
        return False
    if any(
        type(row) is not list or len(row) != len(value[0]) or not 1 <= len(row) <= 30
        for row in value
    ):
        return False
    return all(colour(cell, strings) is not None for row in value for cell in row)


def colour(cell: Any, strings: bool) -> int | None:
    """0 to 9, as a whole number or as a digit in a string; null beside strings is 0."""
    if cell is None and strings:
        return 0
    if type(cell) is str:
        return int(cell) if cell in list("0123456789") else None
    return int(cell) if type(cell) in (int, float) and cell in range(10) else None


def plain(grid: list | None) -> list | None:
    return grid and [[colour(cell, True) for cell in row] for row in grid]


def has_strings(pairs: list) -> bool:
    """Some cell of a task is a string."""
    grids = [grid for pair in pairs if type(pair) is dict for grid in pair.values()]
    rows = [row for grid in grids if type(grid) is list for row in grid]
    return any(type(cell) is str for row in rows if type(row) is list for cell in row)


def is_task(value: Any) -> bool:
    """An ARC task: non-empty lists of pairs; a test pair may lack its output."""
    if type(value) is not dict or any(
        type(value.get(part)) is not list or not value[part] for part in PARTS
    ):
        return False
    pairs = [(part, pair) for part in PARTS for pair in value[part]]
    if any(type(pair) is not dict or "input" not in pair for _, pair in pairs):
        return False
    if any("output" not in pair for part, pair in pairs if part == "train"):
        return False
    strings = has_strings([pair for _, pair in pairs])
    return all(
        is_grid(pair[side], strings)
        for _, pair in pairs
        for side in ("input", "output")
        if side in pair
    )


PARTS = ("train", "test")


def arc_file(content: bytes) -> list:
    """[demonstrations, tests] of a file with one task, each a list of [input, output or None]."""
    value = parsed(content)
    if type(value) is list and value:
        if not is_task({"train": value, "test": value}):
            raise Wrong
        value = {"train": value, "test": []}
    elif not is_task(value):
        raise Wrong
    return [
        [[plain(pair["input"]), plain(pair.get("output"))] for pair in value[part]]
        for part in PARTS
    ]


def kaggle(challenges: bytes, solutions: bytes) -> dict[str, list]:
    """name: [demonstrations, tests] of Kaggle's pair of files."""
    tasks, answers = parsed(challenges), parsed(solutions)
    if type(tasks) is not dict or type(answers) is not dict or set(tasks) != set(answers):
        raise Wrong
    if not all(map(is_id, tasks)):
        raise Wrong
    bad = {name for name in tasks if not is_task(tasks[name])}
    bad |= {n for n in tasks if n not in bad and not are_answers(answers[n], len(tasks[n]["test"]))}
    if bad:
        raise Wrong(bad)
    found = {}
    for name, task in tasks.items():
        tests = [
            [plain(pair["input"]), plain(answer)]
            for pair, answer in zip(task["test"], answers[name], strict=True)
        ]
        found[name] = [
            [[plain(pair["input"]), plain(pair["output"])] for pair in task["train"]],
            tests,
        ]
    return found


def is_id(name: str) -> bool:
    return 1 <= len(name) <= 200 and name.isprintable() and "|||" not in name


def are_answers(value: Any, count: int) -> bool:
    return type(value) is list and len(value) == count and all(is_grid(one) for one in value)


# Folders of arrays

TYPES = {
    "inputs": ("uint8", 2),
    "labels": ("uint8", 2),
    "puzzle_identifiers": ("int32", 1),
    "puzzle_indices": ("int32", 1),
    "group_indices": ("int32", 1),
}


@lru_cache(100)
def array(content: bytes, kind: str, dimensions: int) -> Any:
    """The nested lists in an npy file of version 1.0."""
    if content[:8] != b"\x93NUMPY\x01\x00" or len(content) < 10:
        raise Wrong
    end = 10 + int.from_bytes(content[8:10], "little")
    header = content[10:end]
    if len(content) < end or len(header) > 10_000:
        raise Wrong
    try:
        stated = ast.literal_eval(header.decode("latin-1"))
        shape, kept = stated["shape"], stated["fortran_order"] is False
        fits = stated.keys() == {"descr", "fortran_order", "shape"} and np.dtype(
            stated["descr"]
        ) == np.dtype(kind)
    except Exception:
        raise Wrong from None
    size = np.dtype(kind).itemsize
    if not (
        fits and kept and type(shape) is tuple and all(type(n) is int and n > 0 for n in shape)
    ):
        raise Wrong
    data = content[end:]
    if len(shape) != dimensions or len(data) != size * int(np.prod(shape, dtype=object)):
        raise Wrong
    flat = [
        int.from_bytes(data[i : i + size], "little", signed=kind[0] == "i")
        for i in range(0, len(data), size)
    ]
    return (
        flat if dimensions == 1 else [flat[i : i + shape[1]] for i in range(0, len(flat), shape[1])]
    )


def integer(stated: dict, key: str, low: int, high: int) -> int:
    if type(stated.get(key)) is not int or not low <= stated[key] <= high:
        raise Wrong
    return stated[key]


def facts(stated: Any, notes: Any) -> tuple:
    """(tokens, grid, box, pad, ignored label, blank identifier, identifiers) that a dataset.json
    states.
    """
    if type(stated) is not dict or type(notes) is not dict:
        raise Wrong
    tokens, cells = integer(stated, "vocab_size", 1, 256), integer(stated, "seq_len", 1, 65536)
    names = integer(stated, "num_puzzle_identifiers", 1, 2**31)
    ignored = stated.get("ignore_label_id")
    if ignored is not None:
        integer(stated, "ignore_label_id", 0, 255)
    sides = [n for n in range(1, 257) if n * n <= cells]
    grid, box = notes.get("grid"), notes.get("box")
    for pair in (grid, box):
        if pair is not None and not (
            type(pair) is list and len(pair) == 2 and all(type(n) is int for n in pair)
        ):
            raise Wrong
    grid = [sides[-1], sides[-1]] if grid is None else grid
    if min(grid) < 1 or grid[0] * grid[1] != cells:
        raise Wrong
    if box is not None and (min(box) < 1 or grid[0] % box[0] or grid[1] % box[1]):
        raise Wrong
    pad, blank = (
        integer(stated, "pad_id", 0, tokens - 1),
        integer(stated, "blank_identifier_id", 0, names - 1),
    )
    return tokens, tuple(grid), box and tuple(box), pad, ignored, blank, names


def edges(found: list[int], count: int, end: int) -> None:
    """`count` pieces of 0..end, none of them empty."""
    if len(found) != count + 1 or found[0] != 0 or found[-1] != end or sorted(set(found)) != found:
        raise Wrong


def split(files: dict[str, bytes], name: str, notes: Any) -> tuple[tuple, dict]:
    """Facts and nested lists of a split."""
    stated = value_of(files, f"{name}/dataset.json")
    known = facts(stated, notes)
    sets = stated.get("sets")
    if type(sets) is not list or len(sets) != 1 or type(sets[0]) is not str:
        raise Wrong
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", sets[0]):
        raise Wrong
    arrays = {}
    for key, (kind, dimensions) in TYPES.items():
        path = f"{name}/{sets[0]}__{key}.npy"
        if path not in files:
            raise Wrong
        arrays[key] = array(files[path], kind, dimensions)
    for key in ("inputs", "labels"):
        rows = arrays[key]
        if len(rows) != len(arrays["inputs"]) or any(
            len(row) != known[1][0] * known[1][1] for row in rows
        ):
            raise Wrong
        if any(token >= known[0] for row in rows for token in row):
            raise Wrong
    named, groups = arrays["puzzle_identifiers"], integer(stated, "total_groups", 1, 2**31)
    edges(arrays["puzzle_indices"], len(named), len(arrays["inputs"]))
    edges(arrays["group_indices"], groups, len(named))
    if any(i not in range(known[-1]) for i in named):
        raise Wrong
    return known, arrays


def value_of(files: dict[str, bytes], path: str) -> Any:
    """A JSON file."""
    if path not in files:
        raise Wrong
    return parsed(files[path])


def folder(files: dict[str, bytes]) -> tuple[tuple, dict[str, dict], list[str]]:
    """Facts, {split: arrays as nested lists} and names of a data set, from the bytes of its files
    by relative path.
    """
    notes = value_of(files, "tinyreason.json") if "tinyreason.json" in files else {}
    present = [
        name
        for name in ("train", "valid", "test")
        if any(path.startswith(f"{name}/") for path in files)
    ]
    read = {name: split(files, name, notes) for name in present}
    known = read["train"][0]
    if any(other[0] != known for other in read.values()):
        raise Wrong
    names = value_of(files, "identifiers.json")
    if type(names) is not list or len(names) != known[-1]:
        raise Wrong
    if not all(
        type(name) is str and 1 <= len(name) <= 200 and name.isprintable() for name in names
    ):
        raise Wrong
    return known, {name: arrays for name, (_, arrays) in read.items()}, names
