"""Sudokus out of other people's files: side, digits, blank and boxes are seen in the puzzles.

Answers that a file lacks are found by this project's solver; puzzles with several solutions are
counted. What is wrong with a row is told with its place.

N puzzles, S cells.
"""

import math
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data.picked import Picked
from data.sudoku_board import board
from data.sudoku_solve import NODE_CAP, UndecidedError, search
from data.table import Record
from tinyreason.errors import UserError
from tinyreason.rules.sudoku import BLANK, BOX, DIGITS, contradiction, legal
from tinyreason.rules.text import rows_in

SIDES = tuple(BOX)
ALPHABETS = (DIGITS, "0123456789ABCDEF", "ABCDEFGHIJKLMNOP")  # how digits are written
MARKS = "._-*?xX#+~:"  # a blank, where it is no digit
MOSTLY = 0.9  # of the cells of a file are written in one way


class Form(NamedTuple):
    """How the puzzles of a file are written."""

    side: int
    digits: str  # of value 1, 2, ...
    blanks: str  # characters of a blank cell

    @property
    def alphabet(self) -> str:
        return "." + self.digits


class Read(NamedTuple):
    """Some puzzles of one file."""

    path: Path
    rows: np.ndarray  # (N,) line in the file, or number of the entry
    inputs: np.ndarray  # (N, S) uint8
    labels: np.ndarray  # (N, S) uint8

    def select(self, which: np.ndarray) -> "Read":
        """The puzzles `which`, indices or (N,) bool."""
        return Read(self.path, self.rows[which], self.inputs[which], self.labels[which])


def cells_in(text: str) -> list[str]:
    """The cells of a grid as characters; numbers from 10 on as letters. Raises UserError unless
    they are in one line or in lines of one length.
    """
    rows = rows_in(text, "a grid", keep_spaces=False)
    if len(rows) > 1 and {len(row) for row in rows} != {len(rows)}:
        counts = sorted({len(row) for row in rows})
        raise UserError(f"{len(rows)} lines of {counts[0]} to {counts[-1]} cells")
    return [cell if isinstance(cell, str) else letter_of(cell) for row in rows for cell in row]


def letter_of(value: int) -> str:
    """A cell that was written as a number of two digits."""
    if not 0 <= value <= len(DIGITS):
        raise UserError(f"a cell is {value}")
    return DIGITS[value - 1] if value else "0"


def looks(text: str) -> bool:
    """Whether a text may be a Sudoku: as many cells as one has, of digits and marks."""
    if len(text) < 16:
        return False
    try:
        cells = cells_in(text)
    except UserError:
        return False
    side = math.isqrt(len(cells))
    found = {cell.upper() for cell in cells}
    marks = {c for c in found if not c.isalnum()} | (found & {"0", "X"})
    square = side * side == len(cells) and side in SIDES
    return square and len(found - marks) <= side and (len(found) > 1 or found <= marks)


# ---- how a file is written


def form_of(records: list[Record], path: Path) -> Form:
    """The side, the digits and the blank of the puzzles in the head of a file. Raises UserError."""
    questions = [readable(record.question) for record in records]
    sizes = Counter(len(cells) for cells in questions if cells)
    fitting = [
        size for size in sizes if math.isqrt(size) ** 2 == size and math.isqrt(size) in SIDES
    ]
    if not fitting:
        first = next(iter(records))
        raise UserError(
            f"{path}:{first.row}: {what_of(first.question)}; a Sudoku has a side of {SIDES}"
        )
    if len(fitting) > 1 and min(sizes[size] for size in fitting) * 5 > sum(sizes.values()):
        told = ", ".join(f"{sizes[n]} of {round(n**0.5)}" for n in sorted(fitting))
        raise UserError(f"{path}: Sudokus of several sides ({told}); use a file for each")
    side = round(max(fitting, key=lambda size: sizes[size]) ** 0.5)
    used = Counter(cell for cells in questions if cells and len(cells) == side**2 for cell in cells)
    answers = [readable(record.answer) for record in records if record.answer]
    full = Counter(cell for cells in answers if cells and len(cells) == side**2 for cell in cells)
    digits = digits_of(side, used, full, path)
    cases = set(digits) | set(digits.lower())
    marks = [c for c in used if c not in cases]
    return Form(side, digits, blanks_of(marks, used, len(records), path, side))


def readable(text: str | None) -> list[str] | None:
    """The cells of a text; None of what is no grid."""
    try:
        return cells_in(text or "")
    except UserError:
        return None


def what_of(text: str) -> str:
    """What is wrong with the size of a grid, in a few words."""
    try:
        return f"{len(cells_in(text))} cells"
    except UserError as error:
        return str(error)


def digits_of(side: int, used: Counter, full: Counter, path: Path) -> str:
    """Of the known ways to write digits, the one that the answers, or else the questions, follow.

    A few strange characters are faults of their rows. Raises UserError where most are strange.
    """
    counts = Counter()
    for cell, count in (full or used).items():
        if cell.isalnum():
            counts[cell.upper()] += count
    marked = any(cell in MARKS for cell in used)
    if not full and not (side > 9 and marked and DIGITS[side - 1] not in counts):
        del counts["0"]  # a blank
    ways = [one[:side] for one in ALPHABETS]
    covered = [sum(counts[digit] for digit in one) for one in ways]
    if not sum(counts.values()) or max(covered) < MOSTLY * sum(counts.values()):
        strange = sorted(set(counts) - set(ways[0]))[:3]
        told = f"{ways[0][0]}-{ways[0][-1]}"
        raise UserError(f"{path}: a {side}x{side} grid holds {told}, this one {', '.join(strange)}")
    return ways[covered.index(max(covered))]


def blanks_of(marks: list[str], used: Counter, records: int, path: Path, side: int) -> str:
    """The characters of a blank: one that can mean nothing else, or '.' and '0' together."""
    usual = "".join(c for c in marks if c in ".0")
    common = [c for c in marks if used[c] > max(records // 20, 1) or len(marks) == 1]
    allowed = [c for c in common if c in MARKS.replace(".", "")]
    if not allowed or (usual and sum(used[c] for c in allowed) < sum(used[c] for c in usual)):
        return usual or "."
    if usual and sum(used[c] for c in usual) > max(records // 20, 1):
        allowed += usual
    if len(allowed) > 1:
        told = " and ".join(map(repr, sorted(allowed)))
        raise UserError(
            f"{path}: {told} may both be blanks of a {side}x{side} grid; keep one of them"
        )
    return allowed[0]


# ---- rows


def encode(path: Path, records: list[Record], form: Form) -> tuple[Read, list[tuple[int, str]]]:
    """The records as tokens, answers all PAD where they are not given; and (row, fault) of those
    that are no puzzles.
    """
    rows, inputs, labels, faults = [], [], [], []
    for record in records:
        try:
            question = tokens_of(record.question, form, "question")
            answer = tokens_of(record.answer, form, "answer") if record.answer else None
        except UserError as error:
            faults.append((record.row, str(error)))
            continue
        rows.append(record.row)
        inputs.append(question)
        labels.append(np.zeros(len(question), np.uint8) if answer is None else answer)
    cells = form.side**2
    arrays = (np.array(part, np.uint8).reshape(len(rows), cells) for part in (inputs, labels))
    return Read(path, np.array(rows, np.int64), *arrays), faults


def tokens_of(text: str, form: Form, name: str) -> np.ndarray:
    """(S,) uint8 of one grid. Raises UserError."""
    try:
        cells = cells_in(text)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    wanted = form.side**2
    if len(cells) != wanted:
        raise UserError(f"{name} has {len(cells)} characters, not {wanted}")
    table = table_of(form, name == "question")
    for place, cell in enumerate(cells):
        if cell not in table:
            hint = (
                f" and {' or '.join(map(repr, form.blanks))} for a blank"
                if name == "question"
                else ""
            )
            digits = f"{form.digits[0]}-{form.digits[-1]}"
            raise UserError(
                f"{name} has {cell!r} at character {place + 1}; "
                f"a {form.side}x{form.side} {name} holds digits {digits}{hint}"
            )
    return np.array([table[cell] for cell in cells], np.uint8)


def table_of(form: Form, blanks: bool) -> dict[str, int]:
    """Character -> token."""
    table = {digit.lower(): i + 2 for i, digit in enumerate(form.digits)}
    table |= {digit: i + 2 for i, digit in enumerate(form.digits)}
    return table | (dict.fromkeys(form.blanks, BLANK) if blanks else {})


# ---- boxes and solutions


def box_of(reads: list[Read], form: Form, box: tuple[int, int] | None) -> tuple[int, int]:
    """The rows and columns of a box: as the user says, or the only ones that the puzzles allow.

    Raises UserError where two are possible.
    """
    if box is not None:
        return box
    shapes = boxes_of(form.side)
    if len(shapes) == 1:
        return shapes[0]
    fitting = [one for one in shapes if all(allows(read, one) for read in reads)]
    if len(fitting) == 1:
        return fitting[0]
    where = " and ".join(str(read.path) for read in reads)
    told = " or ".join(f"{high} rows x {wide} columns" for high, wide in fitting or shapes)
    high, wide = (fitting or shapes)[0]
    if fitting:
        raise UserError(f"{where}: boxes may be {told}; say which with task.box=[{high},{wide}]")
    return shapes[0]  # wrong under every shape: the rows are judged by the usual one


def boxes_of(side: int) -> list[tuple[int, int]]:
    """The usual boxes of a side, and the upright ones."""
    high, wide = BOX[side]
    return [(high, wide)] if high == wide else [(high, wide), (wide, high)]


def allows(read: Read, box: tuple[int, int]) -> bool:
    """Most answers are legal under such boxes; without answers, the first questions have one."""
    known = read.labels.any(1)
    if known.any():
        return bool(legal(read.labels[known], box).mean() > 0.5)
    first = read.inputs[:20]
    return all(solutions(row, box, 1) for row in first)


def solutions(question: np.ndarray, box: tuple[int, int], most: int) -> list[np.ndarray] | None:
    """Up to `most` solutions (S,) of tokens (S,); None where the search was given up."""
    if contradiction(question, box, "?" * 20):
        return []
    b = board(box[0] * box[1], box)
    try:
        found = search(b, *b.place(b.bits((question - 1).tolist())), NODE_CAP)
        return [np.array(b.digits(x), np.uint8) + 1 for x, _ in islice(found, most)]
    except UndecidedError:
        return None


def judged(
    read: Read, box: tuple[int, int], notes: Picked, alphabet: str, searched: bool
) -> tuple[Read, np.ndarray]:
    """The puzzles with an answer each, and (N,) bool: those with several solutions, unless they are
    not `searched` for any.

    What is wrong with a row goes to `notes`.
    """
    kept, several, labels = [], [], read.labels.copy()
    bar = tqdm(read.inputs, desc=f"checking {read.path.name}", disable=None, leave=False)
    faults = dict(faults_of(read, box, alphabet))
    undecided = 0
    for i, question in enumerate(bar):
        why = faults.get(i)
        given = labels[i].any()
        found = [] if why else solutions(question, box, 2) if searched or not given else [labels[i]]
        if found is None:
            undecided += 1
        if why is None and not found and (found is not None or not given):
            why = "the question has no solution" if found is not None else "no solution was found"
        if why:
            notes.bad(read.path, read.rows[i], why)
            continue
        if not given:
            labels[i] = found[0]
        kept.append(i)
        several.append(found is not None and len(found) > 1)
    if undecided:
        notes.say(
            f"{read.path}: of {undecided} puzzles it is "
            "not known whether they have a second solution"
        )
    which = np.array(kept, np.int64)
    return Read(read.path, read.rows, read.inputs, labels).select(which), np.array(several, bool)


def faults_of(read: Read, box: tuple[int, int], alphabet: str) -> list[tuple[int, str]]:
    """(index, what is wrong) of the rows whose question or answer breaks a rule."""
    faults = []
    given = read.labels.any(1)
    differ = ((read.inputs != BLANK) & (read.inputs != read.labels)).any(1) & given
    illegal = given & ~legal(read.labels, box)
    other = [one for one in boxes_of(box[0] * box[1]) if one != box]
    upright = other and legal(read.labels, other[0])
    for i, question in enumerate(read.inputs):
        why = contradiction(question, box, alphabet)
        if differ[i]:
            faults.append((i, "the answer changes a digit of the question"))
        elif illegal[i]:
            hint = ""
            if other and upright[i]:
                told = "{} rows x {} columns".format(*box)
                hint = f" of {told}; task.box=[{other[0][0]},{other[0][1]}] has the others"
            faults.append((i, f"the answer repeats a digit in a row, column or box{hint}"))
        elif why:
            faults.append((i, f"the question contradicts itself: {why}"))
    return faults


def described(form: Form, box: tuple[int, int]) -> str:
    """For the line that says what was understood."""
    boxes = (
        "" if len(boxes_of(form.side)) == 1 else f" with boxes of {box[0]} rows x {box[1]} columns"
    )
    return f"Sudokus of {form.side}x{form.side}{boxes}"


def spelt(form: Form) -> str:
    """How cells are written, where that is worth a word."""
    digits = "" if form.digits == DIGITS[: form.side] else f", digits {form.digits}"
    return f"blank {' or '.join(form.blanks)}{digits}"


def parse_box(value: object) -> tuple[int, int] | None:
    """`task.box`, [rows, columns] of a box, or None."""
    pair = value is None or (
        isinstance(value, list | tuple) and len(value) == 2 and all(type(n) is int for n in value)
    )
    if not pair or (value is not None and tuple(value) not in ALL_BOXES):
        known = re.sub(r"[()]", "", ", ".join(f"[{a};{b}]" for a, b in ALL_BOXES)).replace(";", ",")
        raise UserError(f"task.box={value}: must be one of {known}, or null")
    return None if value is None else tuple(value)


ALL_BOXES = [box for side in SIDES for box in boxes_of(side)]
