"""Tasks whose puzzles may come from files: which file serves which split, how many of its rows are
used, and that none is in two splits.

What a file holds is for the task to say: `looks`, `form`, `read`.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data import picked
from data.picked import Picked
from data.read import Read
from data.sources import Source, files_of, is_folder, resolve
from data.table import Record, Table, open_table
from data.task import Task
from tinyreason.errors import UserError
from tinyreason.puzzle import SPLITS, Facts, Puzzles, Rows
from tinyreason.rules import Notation


class FromFiles(Task):
    """Abstract. `counts` by split: a number, None (all that are left) or "auto" (what suits a
    file).
    """

    spaced: ClassVar[bool] = False  # a space is a cell
    examined = False  # facts and notation are those of a model, not of the files
    source: Source
    counts: dict[str, Any]
    columns: list[str] | None
    within: tuple[float | None, float | None] = (None, None)  # least and most rating
    bad: str  # refuse | skip
    notes: list[str]

    @abstractmethod
    def looks(self, text: str) -> bool:
        """Whether a text may be a puzzle of this task."""

    @abstractmethod
    def form(self, tables: dict[Path, tuple[Table, list[Record]]]) -> Any:
        """How the puzzles of these files are written; sets `facts` and `notation`. Raises
        UserError.
        """

    @abstractmethod
    def parsed(self, table: Table, records: list[Record], form: Any, notes: Picked) -> Read:
        """The puzzles in some records as tokens, in file order. What cannot be read goes to
        `notes`.
        """

    @abstractmethod
    def judged(self, read: Read, table: Table, form: Any, notes: Picked) -> Read:
        """Those that are puzzles, with their answers. What breaks a rule goes to `notes`."""

    @abstractmethod
    def told(self, table: Table, form: Any) -> str:
        """What was understood of a file, but for its name and the number of puzzles."""

    def examine(
        self, source: Source, split: str, limit: int | None, seed: int, like: tuple[Facts, Notation]
    ) -> Puzzles:
        """The puzzles of a split of another source, all of them or `limit`, for a model of puzzles
        `like` those; a single file is all of it.

        Raises UserError where the source has no such split, or other puzzles.
        """
        self.source = source
        self.be_like(like)
        if is_folder(source):
            self.counts = dict.fromkeys(SPLITS, "auto")
            return self.load(seed)[split]
        files = files_of(resolve(source))
        if "all" not in files and split not in files:
            raise UserError(f"split={split}: {source} has {', '.join(files)}")
        chosen = {split: files.get(split, files.get("all"))}
        notes = Picked(self.bad)
        parts = self.parts(chosen, {split: {split: limit}}, seed, notes)
        self.notes = notes.told()
        return Puzzles.single(parts[split].inputs, parts[split].labels)

    def be_like(self, like: tuple[Facts, Notation]) -> None:
        """From here on, puzzles are those of a model."""
        self.examined, (self.facts, self.notation) = True, like

    def answer_of(self, question: np.ndarray, effort: int) -> tuple[np.ndarray | None, str]:
        """(S,) tokens of the only right answer to the tokens `question` (S,), looked for among
        `effort` positions; or None, and why it is not known.
        """
        return None, "there are no rules to find it by"

    def made(self, seed: int) -> Rows:
        """One new puzzle. Raises UserError where none can be made."""
        raise UserError("puzzles of this task cannot be made here")

    def questions(self, path: Path, like: tuple[Facts, Notation]) -> tuple[np.ndarray, list[str]]:
        """(N, S) tokens of all questions in a file, for a model of puzzles `like` those, and what
        was understood. Answers only help to see how they are written. Raises UserError.
        """
        self.be_like(like)
        table = open_table(path, self.looks, self.columns, self.spaced)
        records, _ = picked.records(table, None, 0, self.within)
        form, notes = self.form({path: (table, records)}), Picked("refuse")
        records = [record._replace(answer=None) for record in records]
        table.answered = False
        read = self.parsed(table, records, form, notes)
        for row, question in zip(read.rows, read.inputs, strict=True):
            if why := self.rules.contradiction(question):
                raise UserError(f"{path}:{row}: {why}")
        return read.inputs, [f"{path}: {len(records)} {self.told(table, form)}"]

    def from_files(self, source: Source, seed: int) -> dict[str, Puzzles]:
        """The splits of one file, or of one for each."""
        files = files_of(resolve(source))
        counts = {name: served(name, files, self.counts) for name in files}
        notes = Picked(self.bad)
        parts = self.parts(files, counts, seed, notes)
        self.refuse_shared(parts)
        self.notes += notes.told()
        empty = next(iter(parts.values()))
        nothing = empty.select(np.zeros(0, np.int64))
        found = {name: parts.get(name, nothing) for name in SPLITS}
        return {name: Puzzles.single(part.inputs, part.labels) for name, part in found.items()}

    def parts(
        self,
        files: dict[str, Path],
        counts: dict[str, dict[str, Any]],
        seed: int,
        notes: Picked,
        looked: int = 1,
    ) -> dict[str, Read]:
        """The puzzles of each split. Where a sample of a large file has too few that can be used,
        `looked` times as many rows are looked at.
        """
        tables, totals = {}, {}
        for name, path in files.items():
            rated = self.within != (None, None)
            table = open_table(path, self.looks, self.columns, self.spaced, rated)
            wanted = picked.wanted_of(counts[name])
            wanted = None if wanted is None else wanted * looked
            records, totals[name] = picked.records(table, wanted, seed, self.within)
            if not records:
                raise UserError(f"{path}: no puzzles with such a rating")
            tables[path] = (table, records)
        form, fresh, parts, lines = self.form(tables), Picked(self.bad), {}, []
        for name, path in files.items():
            table, records = tables[path]
            looked_at = len(records)
            read = self.parsed(table, with_answers(table, records, fresh), form, fresh)
            read = self.judged(read, table, form, fresh)
            short = len(read.rows) < (picked.wanted_of(counts[name]) or 0)
            if short and looked_at < totals[name]:
                return self.parts(files, counts, seed, notes, 4 * looked)
            parts |= self.chosen(read, counts[name], seed, path)
            size = looked_at, totals[name]
            lines.append(self.line(table, form, size, counts[name], parts))
        notes.notes += lines + fresh.notes
        notes.skipped |= fresh.skipped
        return parts

    def distinct(self, read: Read, notes: Picked) -> Read:
        """The first of each set of puzzles with one key, in file order; where a model is examined,
        all of them.
        """
        if self.examined:
            return read
        first = np.sort(np.unique(self.keys_of(read), return_index=True)[1])
        if repeats := len(read.rows) - len(first):
            same = "repeat an earlier one up to symmetry and are left out"
            notes.say(f"{read.path}: {repeats} rows {same}")
        return read.select(first)

    def chosen(self, read: Read, counts: dict[str, Any], seed: int, path: Path) -> dict[str, Read]:
        """The part of a file that each split gets; where a model is examined, at most so many."""
        if self.examined:
            most = len(read.rows)
            counts = {k: n if n is None else min(n, most) for k, n in counts.items()}
        numbers = picked.fit(len(read.rows), counts, str(path))
        rows = picked.choose(len(read.rows), numbers, seed)
        return {split: read.select(which) for split, which in rows.items()}

    def line(
        self, table: Table, form: Any, size: tuple[int, int], counts: dict, parts: dict
    ) -> str:
        """`FILE: 24 Sudokus of 9x9 (columns quizzes -> solutions, blank 0); answers checked`.

        `size` is how many rows were looked at, and how many there are.
        """
        looked_at, total = size
        count = f"{total:,}" if looked_at == total else f"{total:,} rows, {looked_at:,} looked at,"
        used = ", ".join(f"{len(parts[split].rows)} {split}" for split in SPLITS if split in counts)
        state = "answers checked" if table.answered else "answers computed"
        return f"{table.path}: {count} {self.told(table, form)}; {state}; used: {used}"

    def refuse_shared(self, parts: dict[str, Read]) -> None:
        """Raise UserError for a puzzle of one split that is, up to symmetry, in another: accuracy
        on it would be memory.
        """
        owner: dict[int, tuple[str, str]] = {}
        shared, first = 0, ""
        for split in SPLITS:
            if split not in parts:
                continue
            part = parts[split]
            for row, key in zip(part.rows, self.keys_of(part).tolist(), strict=True):
                name, place = owner.setdefault(key, (split, f"{part.path}:{row}"))
                if name != split:
                    shared += 1
                    first = first or (
                        f"{part.path}:{row}: up to symmetry the puzzle of {place}, so it cannot "
                        f"be a {split} puzzle of what is a {name} puzzle there"
                    )
        if shared:
            raise UserError(f"{first} ({shared} such rows)")

    @abstractmethod
    def keys_of(self, part: Any) -> np.ndarray:
        """(N,) uint64, equal for puzzles that are symmetric to each other."""


def with_answers(table: Table, records: list[Record], notes: Picked) -> list[Record]:
    """Those that have an answer, where a file has answers; an empty one goes to `notes`."""
    if not table.answered:
        return records
    for record in records:
        if not record.answer:
            notes.bad(table.path, record.row, "the answer is empty")
    return [record for record in records if record.answer]


def parse_columns(value: Any) -> list[str] | None:
    """`task.columns`: the names of question and answer, or of the question alone; or None."""
    fits = isinstance(value, list | tuple) and len(value) in (1, 2)
    if value is not None and not (fits and all(isinstance(one, str | int) for one in value)):
        raise UserError(f"task.columns={value}: must be [question,answer], or null")
    return None if value is None else [str(one) for one in value]


def served(name: str, files: dict[str, Path], counts: dict[str, Any]) -> dict[str, Any]:
    """The counts of the splits that a file serves: all, or those that have no file of their own."""
    if name == "all":
        return counts
    if name == "train" and "valid" not in files:
        return {split: counts[split] for split in ("train", "valid")}
    return {name: counts[name]}
