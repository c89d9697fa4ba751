"""How the Sudokus of a file are written: side, digits, blank, seen in its first rows; and boxes."""

import math
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from data.table import Record
from tinyreason.errors import UserError
from tinyreason.rules.sudoku import BOX, DIGITS
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
    if 2 * sum(sizes[size] for size in fitting) < len(questions):
        first = next(r for r, cells in zip(records, questions, strict=True) if not is_side(cells))
        known = ", ".join(map(str, SIDES))
        raise UserError(
            f"{path}:{first.row}: {what_of(first.question)}; a Sudoku has a side of {known}"
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


def is_side(cells: list[str] | None) -> bool:
    """As many cells as a Sudoku has."""
    return (
        bool(cells)
        and math.isqrt(len(cells)) ** 2 == len(cells)
        and math.isqrt(len(cells)) in SIDES
    )


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


def boxes_of(side: int) -> list[tuple[int, int]]:
    """The usual boxes of a side, and the upright ones."""
    high, wide = BOX[side]
    return [(high, wide)] if high == wide else [(high, wide), (wide, high)]


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
