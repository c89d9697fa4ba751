"""Sudoku: generated with side 4 (2x2 boxes), 6 (2 rows x 3 columns) or 9 (3x3), from a bank, or
from files, of any side from 4 to 16.

The task of "Hierarchical Reasoning Model" (Wang et al. 2025) and "Less is More"
(Jolicoeur-Martineau 2025), with their encoding: PAD 0, blank 1, digits 2..side+1; every cell is
scored, the givens too.

Departures: the references store 1,001 copies of each puzzle, the first as it is and 1,000 under
random symmetries. Here each draw takes a fresh symmetry, uniform over the whole group. That is the
law of the references' random copies; what is left out is the stored copy's weight of 1/1001, and
that a puzzle meets the same 1,000 symmetries again. Difficulty is counted in guesses of this
project's solver (`sudoku_solve.RATING`), not the published rating.

N puzzles, S = side * side cells.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data import sudoku_files, sudoku_form
from data import sudoku_symmetry as symmetry
from data.from_files import FromFiles, parse_columns
from data.picked import WHOLE, Picked
from data.read import Read
from data.sources import Source, folder_splits, is_folder, resolve
from data.sudoku_generate import FEWEST_CLUES, distinct
from data.sudoku_solve import RATING, solve
from data.table import Record, Table
from data.task import Image, require, split_counts, whole
from tinyreason.errors import UserError
from tinyreason.puzzle import SPLITS, Facts, Puzzles, Rows
from tinyreason.rules import Notation
from tinyreason.rules.sudoku import BLANK, BOX, DIGITS, legal

LARGEST_MADE = 9  # side of a puzzle that is made while somebody waits
BANK = Path(__file__).parent / "bank" / "sudoku_9x9.csv.gz"


class Sudoku(FromFiles):
    """Final. Options:

    - side: 4, 6, 8, 9, 10, 12 or 16; None: as in the files. 4, 6 and 9 can be generated.
    - box: [rows, columns] of a box; None: the usual one, or the one that the answers of a file
      keep.
    - source: "generate"; "bank", 2,000 hard 9x9 puzzles that ship with the project; or files, see
      `data/sources.py`.
    - train_puzzles, valid_puzzles, test_puzzles: how many to generate, or to choose from a file by
      seed. None: all that the choices before it leave (test, train, valid, in this order). "auto":
      what suits the file, see `picked.fit`.
    - columns: of a file, [question, answer]; None: by their names or what they hold.
    - clues: the number of givens, or None: generated puzzles are minimal (no given can be spared),
      others not filtered.
    - min_guesses: only puzzles for which the own solver guesses at least so often; 0 keeps all.
    - min_rating, max_rating: of a file with a column of ratings, only those between; None: all.
    - ambiguous: "drop" or "keep" puzzles of files that have several solutions.
    - bad: "refuse" or "skip" rows of files that are no puzzles.
    - augment: show training puzzles under random symmetries.

    No two generated puzzles are symmetric to each other. In a file, a row that repeats an earlier
    one up to symmetry is left out (`notes` says how many); a test file with a row symmetric to one
    of the training file is refused.
    """

    def __init__(
        self,
        *,
        side: int | None,
        box: list[int] | None,
        source: Source,
        train_puzzles: int | str | None,
        valid_puzzles: int | str | None,
        test_puzzles: int | str | None,
        columns: list[str] | None,
        clues: int | None,
        min_guesses: int,
        min_rating: float | None,
        max_rating: float | None,
        ambiguous: str,
        bad: str,
        augment: bool,
    ):
        generated = source in ("generate", "bank")
        sides = tuple(FEWEST_CLUES) if source == "generate" else tuple(BOX)
        told = " or ".join((", ".join(map(str, sides[:-1])), str(sides[-1])))
        fits = (side is None and not generated) or (type(side) is int and side in sides)
        require("side", side, fits, told + ("" if generated else ", or null"))
        least = FEWEST_CLUES.get(side, 1)
        most = 256 if side is None else side**2
        require(
            "clues", clues, clues is None or whole(clues, least, most), f"{least}..{most}, or null"
        )
        require("min_guesses", min_guesses, whole(min_guesses, 0), "0 or more")
        require("augment", augment, isinstance(augment, bool), "true or false")
        require("source", source, source != "bank" or side == 9, "another source, or task.side=9")
        require("ambiguous", ambiguous, ambiguous in ("drop", "keep"), "drop or keep")
        for key, value in {"min_rating": min_rating, "max_rating": max_rating}.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            require(key, value, value is None or number, "a number, or null")
        self.counts = split_counts(train_puzzles, valid_puzzles, test_puzzles, source == "generate")
        self.box = sudoku_form.parse_box(box)
        usual = self.box is None or generated
        if self.box and (side or 0) not in (0, self.box[0] * self.box[1]):
            raise UserError(f"task.box={box}: a grid of task.side={side} has no such boxes")
        require("box", box, usual or not generated, "null, where puzzles are generated")
        self.side, self.source, self.augmented = side, source, augment
        self.clues, self.min_guesses = clues, min_guesses
        self.within, self.ambiguous, self.bad = (min_rating, max_rating), ambiguous, bad
        self.columns = parse_columns(columns)
        self.notes: list[str] = []
        self.facts = self.notation = None
        if side is not None:
            self.settle(side, self.box or BOX[side], "." + DIGITS[:side])

    def settle(self, side: int, box: tuple[int, int], alphabet: str) -> None:
        """What every puzzle shares."""
        self.facts = Facts(vocab_size=side + 2, grid=(side, side), box=box, ignore_label_id=0)
        self.notation = Notation("sudoku", alphabet, False)

    def load(self, seed: int) -> dict[str, Puzzles]:
        """See `Task.load`. Fewer or more training puzzles leave the generated test puzzles what
        they are.
        """
        self.notes = [f"task.min_guesses counts {RATING}"] if self.min_guesses else []
        if self.source == "generate":
            return self._generate(seed)
        source = BANK if self.source == "bank" else resolve(self.source)
        return self._folder(source) if is_folder(source) else self.from_files(source, seed)

    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """Each row under a symmetry of its own, input and label under the same; `copy` has no part
        in it.
        """
        if not self.augmented:
            return rows
        drawn = symmetry.draw(len(rows.inputs), self.facts.grid[0], rng, self.facts.box)
        return Rows(drawn.apply(rows.inputs), drawn.apply(rows.labels), rows.puzzle_ids)

    def answer_of(self, question: np.ndarray, effort: int) -> tuple[np.ndarray | None, str]:
        found = sudoku_files.solutions(question, self.facts.box, 2, effort)
        if found is None:
            return None, "it is too hard to find"
        if not found:
            return None, "it has no solution"
        return (found[0], "") if len(found) == 1 else (None, "it has several solutions")

    def made(self, seed: int) -> Rows:
        side, rng = self.facts.grid[0], np.random.Generator(np.random.PCG64(seed))
        if self.facts.box != BOX[side] or side > LARGEST_MADE:
            raise UserError(f"Sudokus of side {side} with such boxes are not made one by one")
        puzzles = Puzzles.single(*distinct(side, 1, self.clues, 0, rng, set()))
        return puzzles.rows()

    @property
    def kinds(self) -> tuple[str, ...]:
        return symmetry.kinds_of(self.facts.box)

    def image(self, rows: Rows, rng: np.random.Generator, kind: str | None = None) -> Image:
        """See `Task.image`."""
        kinds = self.kinds if kind is None else (kind,)
        side, box = self.facts.grid[0], self.facts.box
        drawn = symmetry.draw(len(rows.inputs), side, rng, box, kinds)
        moved = Rows(drawn.apply(rows.inputs), drawn.apply(rows.labels), rows.puzzle_ids)
        return Image(moved, drawn.inverse().apply)

    def guesses(self, inputs: np.ndarray) -> np.ndarray:
        """(N,) int: the own rating of puzzles (N, S), tokens; 1 to 40 ms each at side 9."""
        side, box = self.facts.grid[0], self.facts.box
        return np.array(
            [solve(side, row, box=box).guesses for row in (inputs - 1).tolist()], np.int64
        )

    def keys(self, puzzles: Puzzles) -> np.ndarray:
        """See `sudoku_symmetry.key`."""
        return self.keys_of(puzzles)

    # ---- files

    def looks(self, text: str) -> bool:
        return sudoku_form.looks(text)

    def form(self, tables: dict[Path, tuple[Table, list[Record]]]) -> sudoku_form.Form:
        forms = {path: sudoku_form.form_of(some[:1000], path) for path, (_, some) in tables.items()}
        first = next(iter(forms.values()))
        for path, form in forms.items():
            wanted = self.facts.grid[0] if self.examined else self.side or first.side
            if form.side != wanted:
                other = "task.side" if self.side else str(next(iter(forms)))
                other = "this model's side" if self.examined else other
                raise UserError(f"{path}: {form.side}x{form.side} grids, but {other} is {wanted}")
        form = max(forms.values(), key=lambda one: len(one.blanks))
        heads = [
            sudoku_files.encode(path, some[:200], forms[path])[0]
            for path, (_, some) in tables.items()
        ]
        box = sudoku_files.box_of(heads, form, self.box or self.usual())
        self.settle(form.side, box, form.alphabet)
        return forms

    def usual(self) -> tuple[int, int] | None:
        """The boxes of a model that is examined on other files."""
        return self.facts.box if self.facts and self.examined else None

    def parsed(self, table: Table, records: list[Record], form: dict, notes: Picked) -> Read:
        read, faults = sudoku_files.encode(table.path, records, form[table.path])
        for row, why in faults:
            notes.bad(table.path, row, why)
        return read

    def judged(self, read: Read, table: Table, form: dict, notes: Picked) -> Read:
        read = self._filtered_clues(read)
        known = self.source == "bank" or (
            self.ambiguous == "keep" and table.answered and len(read.rows) > WHOLE
        )
        box, alphabet = self.facts.box, form[table.path].alphabet
        if len(read.rows) and not (read.inputs == BLANK).any():
            advice = "if they are answers, name both columns with task.columns=[question,answer]"
            raise UserError(f"{table.path}: the questions have no blank cell; {advice}")
        read, several = sudoku_files.judged(read, box, notes, alphabet, not known)
        if known and self.source != "bank":
            notes.say(f"{table.path}: not checked for second solutions, as task.ambiguous=keep")
        if several.any():
            kept = "kept (task.ambiguous=keep)"
            if self.ambiguous == "drop":
                kept = "left out (task.ambiguous=keep keeps them)"
                read = read.select(~several)
            notes.say(
                f"{table.path}: {several.sum()} puzzles have several solutions and are {kept}"
            )
        if self.min_guesses:
            read = read.select(self.guesses(read.inputs) >= self.min_guesses)
        if not len(read.rows):
            why = "; ".join(notes.told()) or f"none has task.clues={self.clues} givens"
            raise UserError(f"{table.path}: no puzzle is left: {why}")
        return self.distinct(read, notes)

    def told(self, table: Table, form: dict) -> str:
        mine = form[table.path]
        return (
            f"{sudoku_form.described(mine, self.facts.box)} "
            f"({table.form}, {sudoku_form.spelt(mine)})"
        )

    def keys_of(self, part: Any) -> np.ndarray:
        return symmetry.key(part.inputs, part.labels, self.facts.grid[0], self.facts.box)

    def _filtered_clues(self, read: Read) -> Read:
        if self.clues is None:
            return read
        return read.select((read.inputs != BLANK).sum(1) == self.clues)

    # ---- generated, or a data set folder

    def _generate(self, seed: int) -> dict[str, Puzzles]:
        seen: set[int] = set()
        splits = {}
        for stream, name in enumerate(("test", "valid", "train")):
            rng = np.random.Generator(np.random.PCG64([seed, stream]))
            kind = (self.side, self.counts[name], self.clues, self.min_guesses)
            splits[name] = Puzzles.single(*distinct(*kind, rng, seen, self.spread))
        return {name: splits[name] for name in SPLITS}

    def _folder(self, source: Path) -> dict[str, Puzzles]:
        """A folder is a finished data set: counts, clues and guesses do not apply."""
        facts, splits, _ = folder_splits(source)
        side = self.side or facts.grid[0]
        if side not in BOX or facts.grid != (side, side) or facts.vocab_size != side + 2:
            rows, columns = facts.grid
            raise UserError(
                f"task.source={source}: not "
                f"Sudokus{f' of task.side={side}' if self.side else ''}: it "
                f"has {rows} x {columns} cells and {facts.vocab_size} tokens; task=grid takes any"
            )
        self.settle(side, self.box or facts.box or BOX[side], "." + DIGITS[:side])
        for name, puzzles in splits.items():
            kept = ((puzzles.inputs == BLANK) | (puzzles.inputs == puzzles.labels)).all(1)
            wrong = np.flatnonzero(~(kept & legal(puzzles.labels, self.facts.box)))
            if len(wrong):
                raise UserError(
                    f"{source / name}: example {wrong[0]} is not a Sudoku and its solution"
                )
        return splits
