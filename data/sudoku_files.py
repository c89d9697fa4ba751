"""Sudokus out of other people's files: rows to tokens, the boxes that they keep, and solutions.

Answers that a file lacks are found by this project's solver; puzzles with several solutions are
counted. What is wrong with a row is told with its place.

N puzzles, S cells.
"""

from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.picked import Picked
from data.read import Read
from data.sudoku_board import board
from data.sudoku_form import Form, boxes_of, cells_in
from data.sudoku_solve import NODE_CAP, UndecidedError, search
from data.table import Record
from tinyreason.errors import UserError
from tinyreason.rules.sudoku import BLANK, contradiction, legal


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


def allows(read: Read, box: tuple[int, int]) -> bool:
    """Most answers are legal under such boxes; without answers, the first questions have one."""
    known = read.labels.any(1)
    if known.any():
        return bool(legal(read.labels[known], box).mean() > 0.5)
    first = read.inputs[:20]
    return all(solutions(row, box, 1) for row in first)


def solutions(
    question: np.ndarray, box: tuple[int, int], most: int, nodes: int = NODE_CAP
) -> list[np.ndarray] | None:
    """Up to `most` solutions (S,) of tokens (S,); None where the search was given up."""
    if contradiction(question, box, "?" * 20):
        return []
    b = board(box[0] * box[1], box)
    try:
        found = search(b, *b.place(b.bits((question - 1).tolist())), nodes)
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
