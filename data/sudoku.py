"""Sudoku of side 4 (2x2 boxes), 6 (2 rows x 3 columns) and 9 (3x3): generated, from a bank, or from
files.

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

import numpy as np

from data import sudoku_rules as rules
from data import sudoku_symmetry as symmetry
from data.sources import Source, choose, folder_splits, is_folder, resolve, split_files
from data.sudoku_board import BOX
from data.sudoku_generate import FEWEST_CLUES, distinct
from data.sudoku_rules import Read
from data.sudoku_solve import RATING, solve
from data.task import Task, require, split_counts, whole
from tinyreason.errors import UserError
from tinyreason.puzzle import SPLITS, Facts, Puzzles, Rows

BANK = Path(__file__).parent / "bank" / "sudoku_9x9.csv.gz"


class Sudoku(Task):
    """Final. Options:

    - side: 4, 6 or 9.
    - source: "generate"; "bank", 2,000 hard 9x9 puzzles that ship with the project; or files, see
      `data/sources.py`.
    - train_puzzles, valid_puzzles, test_puzzles: how many to generate, or to choose from a file by
      seed. None: all that the choices before it leave (test, train, valid, in this order). From a
      file, valid makes do with what is left.
    - clues: the number of givens, or None: generated puzzles are minimal (no given can be spared),
      others not filtered.
    - min_guesses: only puzzles for which the own solver guesses at least so often; 0 keeps all.
    - augment: show training puzzles under random symmetries.

    No two generated puzzles are symmetric to each other. In a file, a row that repeats an earlier
    one up to symmetry is left out (`notes` says how many); a test file with a row symmetric to one
    of the training file is refused.
    """

    def __init__(
        self,
        *,
        side: int,
        source: Source,
        train_puzzles: int | None,
        valid_puzzles: int | None,
        test_puzzles: int | None,
        clues: int | None,
        min_guesses: int,
        augment: bool,
    ):
        require("side", side, whole(side, 4, 9) and side in BOX, "4, 6 or 9")
        least = FEWEST_CLUES[side]
        require(
            "clues",
            clues,
            clues is None or whole(clues, least, side**2),
            f"{least}..{side**2}, or null",
        )
        require("min_guesses", min_guesses, whole(min_guesses, 0), "0 or more")
        require("augment", augment, isinstance(augment, bool), "true or false")
        require("source", source, source != "bank" or side == 9, "another source, or task.side=9")
        self.counts = split_counts(train_puzzles, valid_puzzles, test_puzzles, source == "generate")
        self.facts = Facts(vocab_size=side + 2, grid=(side, side), box=BOX[side], ignore_label_id=0)
        self.side, self.source, self.augmented = side, source, augment
        self.clues, self.min_guesses = clues, min_guesses
        self.notes: list[str] = []

    def load(self, seed: int) -> dict[str, Puzzles]:
        """See `Task.load`. Fewer or more training puzzles leave the generated test puzzles what
        they are.
        """
        self.notes = [f"task.min_guesses counts {RATING}"] if self.min_guesses else []
        if self.source == "generate":
            return self._generate(seed)
        source = BANK if self.source == "bank" else resolve(self.source)
        return self._folder(source) if is_folder(source) else self._files(source, seed)

    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """Each row under a symmetry of its own, input and label under the same; `copy` has no part
        in it.
        """
        if not self.augmented:
            return rows
        drawn = symmetry.draw(len(rows.inputs), self.side, rng)
        return Rows(drawn.apply(rows.inputs), drawn.apply(rows.labels), rows.puzzle_ids)

    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """ "valid": the answer is a full legal grid and keeps the givens, whether or not it is the
        stored one.
        """
        kept = ((inputs == answers) | self.blanks(inputs)).all(1)
        return {"valid": kept & rules.legal(answers, self.side)}

    def blanks(self, inputs: np.ndarray) -> np.ndarray:
        """See `Task.blanks`."""
        return inputs == rules.BLANK

    def guesses(self, inputs: np.ndarray) -> np.ndarray:
        """(N,) int: the own rating of puzzles (N, S), tokens; 1 to 40 ms each at side 9."""
        return np.array([solve(self.side, row).guesses for row in (inputs - 1).tolist()], np.int64)

    def key(self, puzzles: Read) -> np.ndarray:
        """(N,) uint64, see `sudoku_symmetry.key`."""
        return symmetry.key(puzzles.inputs, puzzles.labels, self.side)

    def _generate(self, seed: int) -> dict[str, Puzzles]:
        seen: set[int] = set()
        splits = {}
        for stream, name in enumerate(("test", "valid", "train")):
            rng = np.random.Generator(np.random.PCG64([seed, stream]))
            made = distinct(self.side, self.counts[name], self.clues, self.min_guesses, rng, seen)
            splits[name] = Puzzles.single(*made)
        return {name: splits[name] for name in SPLITS}

    def _folder(self, source: Path) -> dict[str, Puzzles]:
        """A folder is a finished data set: counts, clues and guesses do not apply."""
        facts, splits, _ = folder_splits(source)
        if (facts.vocab_size, facts.seq_len) != (self.facts.vocab_size, self.facts.seq_len):
            raise UserError(
                f"task.source={source}: no Sudokus of task.side={self.side}, it holds {facts}"
            )
        for name, puzzles in splits.items():
            kept = ((puzzles.inputs == rules.BLANK) | (puzzles.inputs == puzzles.labels)).all(1)
            wrong = np.flatnonzero(~(kept & rules.legal(puzzles.labels, self.side)))
            if len(wrong):
                raise UserError(
                    f"{source / name}: example {wrong[0]} is not a Sudoku and its solution"
                )
        return splits

    def _files(self, source: Path | list[Path], seed: int) -> dict[str, Puzzles]:
        train_path, test_path = split_files(source)
        train, test = (
            path and self._distinct(rules.read(path, self.side)) for path in (train_path, test_path)
        )
        if test:
            self._refuse_shared(train, test)
            parts = self._choose(train, ("train", "valid"), seed) | self._choose(
                test, ("test",), seed
            )
        else:
            fits = self.counts["test"] is not None
            require(
                "test_puzzles",
                None,
                fits,
                f"a number, since {train_path} is all there is, or name a test file",
            )
            parts = self._choose(train, ("test", "train", "valid"), seed)
        return {name: Puzzles.single(parts[name].inputs, parts[name].labels) for name in SPLITS}

    def _choose(self, puzzles: Read, names: tuple[str, ...], seed: int) -> dict[str, Read]:
        puzzles = self._filtered(puzzles)
        counts = {f"{name}_puzzles": self.counts[name] for name in names}
        chosen = choose(len(puzzles.rows), counts, seed, puzzles.path)
        return {name: puzzles.select(chosen[f"{name}_puzzles"]) for name in names}

    def _filtered(self, puzzles: Read) -> Read:
        if self.clues is not None:
            puzzles = puzzles.select((~self.blanks(puzzles.inputs)).sum(1) == self.clues)
        if self.min_guesses:
            puzzles = puzzles.select(self.guesses(puzzles.inputs) >= self.min_guesses)
        return puzzles

    def _distinct(self, puzzles: Read) -> Read:
        """The first of each set of symmetric puzzles, in file order."""
        first = np.sort(np.unique(self.key(puzzles), return_index=True)[1])
        if repeats := len(puzzles.rows) - len(first):
            self.notes.append(
                f"{puzzles.path}: {repeats} rows repeat an "
                "earlier one up to symmetry and are left out"
            )
        return puzzles.select(first)

    def _refuse_shared(self, train: Read, test: Read) -> None:
        """Raise UserError where the test file holds a training puzzle: accuracy on it would be
        memory.
        """
        _, i, j = np.intersect1d(
            self.key(train), self.key(test), assume_unique=True, return_indices=True
        )
        if len(j):
            at = j.argmin()
            raise UserError(
                f"{test.path}:{test.rows[j[at]]}: up to symmetry "
                f"the puzzle of {train.path}:{train.rows[i[at]]}, "
                f"so it cannot test what is trained on that ({len(j)} such rows)"
            )
