"""Any task whose answer is a grid as large as its question: a table of two columns of texts, or a
folder in HRM's and TRM's format.

There are no rules and no symmetries: an answer is right where it equals the known one. In a table
the characters are the vocabulary, in the order of their code points; in a folder tokens are
numbers.

N examples, S cells.
"""

import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from data.from_files import FromFiles, parse_columns
from data.picked import Picked
from data.read import Read
from data.sources import Source, folder_splits, is_folder
from data.table import Record, Table
from data.task import require, split_counts
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Puzzles, Rows
from tinyreason.rules import Notation

MOST = 255  # different characters


class Grid(FromFiles):
    """Final. Options:

    - source: a file or files of two columns of texts, or a folder, see `data/sources.py`.
    - train_puzzles, valid_puzzles, test_puzzles: how many to choose from a file by seed; None: all
      that are left; "auto": what suits the file, see `picked.fit`.
    - columns: [question, answer]; None: by their names, or the first and the second.
    - bad: "refuse" or "skip" rows of files that are no examples.
    """

    spaced = True

    def __init__(
        self,
        *,
        source: Source,
        train_puzzles: int | str | None,
        valid_puzzles: int | str | None,
        test_puzzles: int | str | None,
        columns: list[str] | None,
        bad: str,
    ):
        require(
            "source", source, source not in (None, "generate"), "a file or a folder of examples"
        )
        self.counts = split_counts(train_puzzles, valid_puzzles, test_puzzles, False)
        self.columns = parse_columns(columns)
        self.source, self.bad = source, bad
        self.facts = self.notation = None
        self.notes: list[str] = []

    def load(self, seed: int) -> dict[str, Puzzles]:
        self.notes = []
        if not is_folder(self.source):
            return self.from_files(self.source, seed)
        facts, splits, _ = folder_splits(self.source)
        self.facts, self.notation = facts, Notation("grid", "", False)
        return splits

    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """As they are."""
        return rows

    def keys(self, puzzles: Puzzles) -> np.ndarray:
        return self.keys_of(puzzles)

    def keys_of(self, part: Any) -> np.ndarray:
        """(N,) uint64, equal for equal questions."""
        digests = [sha256(row.tobytes()).digest()[:8] for row in part.inputs]
        return np.array([int.from_bytes(one, "big") for one in digests], np.uint64)

    def looks(self, text: str) -> bool:
        return len(text) > 1

    def form(self, tables: dict[Path, tuple[Table, list[Record]]]) -> tuple[int, int]:
        """Sets the vocabulary, and the grid: lines where texts have some, else a square, else one
        row.
        """
        path, (_, some) = next(iter(tables.items()))
        grid = self.facts.grid if self.examined else shape_of(some[0].question)
        for other, (table, records) in tables.items():
            if not table.answered and not self.examined:
                raise UserError(
                    f"{other}: no column of answers, which task=grid has no way to compute"
                )
            if shape_of(records[0].question) != grid and len(
                flat(records[0].question)
            ) != math.prod(grid):
                raise UserError(
                    f"{other}: {told_size(records[0].question)}, not {grid[0]} x {grid[1]} cells"
                )
        if self.examined:
            return grid
        texts = (
            text
            for _, some in tables.values()
            for one in some
            for text in (one.question, one.answer)
        )
        characters = "".join(sorted({c for text in texts for c in flat(text or "")}))
        if len(characters) > MOST or not characters.isprintable():
            raise UserError(
                f"{path}: {len(characters)} different characters; at most {MOST}, printable"
            )
        self.facts = Facts(vocab_size=1 + len(characters), grid=grid)
        self.notation = Notation("grid", characters, False)
        return grid

    def parsed(self, table: Table, records: list[Record], form: Any, notes: Picked) -> Read:
        token = {character: i for i, character in enumerate(self.notation.alphabet, 1)}
        cells, rows, pairs = math.prod(form), [], []
        for record in records:
            texts = flat(record.question), flat(record.answer or "")
            why = self.fault(texts, cells, token, table.answered)
            if why:
                notes.bad(table.path, record.row, why)
                continue
            rows.append(record.row)
            pairs.append([[token[c] for c in text] or [0] * cells for text in texts])
        arrays = np.array(pairs, np.uint8).reshape(len(pairs), 2, cells)
        return Read(table.path, np.array(rows, np.int64), arrays[:, 0].copy(), arrays[:, 1].copy())

    def fault(self, texts: tuple[str, str], cells: int, token: dict, answered: bool) -> str | None:
        """Why a row is no example, if it is none."""
        for name, text in zip(("question", "answer"), texts, strict=True):
            if name == "answer" and not text and not answered:
                continue
            if len(text) != cells:
                return f"{name} has {len(text)} characters, not {cells}"
            strange = next((c for c in text if c not in token), None)
            if strange is not None:
                place = text.index(strange) + 1
                return f"{name} has {strange!r} at character {place}, which the model has not seen"
        return None

    def judged(self, read: Read, table: Table, form: Any, notes: Picked) -> Read:
        return self.distinct(read, notes)

    def told(self, table: Table, form: tuple[int, int]) -> str:
        size = f"{form[0]} x {form[1]}"
        return f"examples of {size} cells ({table.form}, characters {self.notation.alphabet!r})"

    def line(self, *given: Any) -> str:
        return super().line(*given).replace("answers checked", "answers as given")


def flat(text: str) -> str:
    """All cells, row by row."""
    return text.replace("\r\n", "\n").replace("\n", "")


def shape_of(text: str) -> tuple[int, int]:
    """Rows and columns of a text."""
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if len(lines) > 1 and len({len(line) for line in lines}) == 1:
        return len(lines), len(lines[0])
    cells = len(flat(text))
    side = math.isqrt(cells)
    return (side, side) if side * side == cells else (1, cells)


def told_size(text: str) -> str:
    rows, columns = shape_of(text)
    return f"{rows} x {columns} cells"
