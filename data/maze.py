"""Mazes: find a shortest path from S to G on a grid with no border.

Data of the published maze-30x30-hard-1k (Wang et al. 2025, "Hierarchical Reasoning Model"):
characters `# SGo` for wall, open cell, start, goal and path are tokens 1 to 5; the label repeats
the maze with the path drawn in.

Departures: the published mazes have many shortest paths each (median 3.8 million), and their labels
are the one that a fixed search finds, so exact match on them also measures a tie-break. Mazes
generated here have one shortest path unless `ties="bfs"` asks for the published rule. Symmetries
turn such a search's answer into one that it would not have found: with `ties="bfs"` or the
published data, `augment=True` harms exact match (TRM 85 to 10 %).

N mazes, S cells of the canvas: a maze that is smaller stands at its top left, PAD beside it.
"""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from data import maze_engine as engine
from data import maze_files, maze_form
from data.from_files import FromFiles, parse_columns
from data.maze_symmetry import gathered, names_of, symmetries, turning, undone
from data.picked import Picked
from data.read import Read
from data.sources import Source, folder_splits, is_folder, resolve
from data.table import Record, Table
from data.task import Image, require, split_counts, whole
from tinyreason.errors import UserError
from tinyreason.puzzle import SPLITS, Facts, Puzzles, Rows
from tinyreason.rules import Notation
from tinyreason.rules.base import PAD
from tinyreason.rules.maze import CHARACTERS

# mazes at a time; part of what a seed means, as is everything that decides the order of draws
DRAWN = 256
MOST_IDLE_DRAWS = 80  # draws of that many that may bring nothing new before generation gives up


class Maze(FromFiles):
    """Final. Options:

    - side: of a generated maze, or of the canvas; None: the largest rows and columns in the files.
    - source: "generate", or files, see `data/sources.py`.
    - train_puzzles, valid_puzzles, test_puzzles: how many to generate, or to choose from a file by
      seed; None: all that are left; "auto": what suits the file, see `picked.fit`.
    - alphabet, grid, columns: of a file, the characters of wall, open cell, start, goal and path;
      the [rows, columns] of mazes in one line; [question, answer]. None: as they follow from what
      it holds.
    - ambiguous: "drop" or "keep" mazes of a file without answers that have several shortest paths.
    - bad: "refuse" or "skip" rows of files that are no mazes.
    - style: "random" (each cell a wall with probability `wall`) or "perfect" (a tree; `wall` is not
      used). min_path: cells of the shortest path, S and G counted: 110 means 109 steps, as in the
      published data. ties: "unique" or "bfs", see above. These only matter to `source="generate"`.
    - augment: show training mazes in all 8 symmetries of the square, each equally likely; where
      the canvas is none, in the 4 that keep its shape.
    """

    spaced = True

    def __init__(
        self,
        *,
        side: int | None,
        source: Source,
        train_puzzles: int | str | None,
        valid_puzzles: int | str | None,
        test_puzzles: int | str | None,
        alphabet: str | None,
        grid: list[int] | None,
        columns: list[str] | None,
        ambiguous: str,
        bad: str,
        style: str,
        wall: float,
        min_path: int,
        ties: str,
        augment: bool,
    ):
        generated = source == "generate"
        fits = whole(side, 3, 100) or (side is None and not generated)
        told = "a whole number in 3..100" + ("" if generated else ", or null")
        require("side", side, fits, told)
        require("style", style, style in ("random", "perfect"), "random or perfect")
        require("ties", ties, ties in ("unique", "bfs"), "unique or bfs")
        require("ambiguous", ambiguous, ambiguous in ("drop", "keep"), "drop or keep")
        require(
            "wall", wall, isinstance(wall, int | float) and 0 <= wall < 1, "a probability below 1"
        )
        most = side * side if generated else 100 * 100
        require("min_path", min_path, whole(min_path, 2, most), f"a number of cells in 2..{most}")
        require("augment", augment, isinstance(augment, bool), "true or false")
        self.counts = split_counts(train_puzzles, valid_puzzles, test_puzzles, generated)
        self.alphabet, self.flat = maze_form.parse_alphabet(alphabet), maze_form.parse_grid(grid)
        self.side, self.source, self.augmented = side, source, augment
        self.columns = parse_columns(columns)
        self.ambiguous, self.bad = ambiguous, bad
        self.how = {"style": style, "wall": wall, "min_path": min_path, "ties": ties}
        self.notes: list[str] = []
        self.facts = self.notation = None
        if side is not None:
            self.settle((side, side), self.alphabet or CHARACTERS, False)

    def settle(self, grid: tuple[int, int], alphabet: str, padded: bool) -> None:
        """What every maze shares."""
        self.facts = Facts(vocab_size=1 + len(CHARACTERS), grid=grid)
        self.notation = Notation("maze", alphabet, padded)

    def load(self, seed: int) -> dict[str, Puzzles]:
        """See `Task.load`. Generated splits do not depend on each other's size, except that no maze
        is in two.
        """
        self.notes = []
        source = self.source if self.source == "generate" else resolve(self.source)
        if source == "generate":
            splits = self._generate(seed)
        elif is_folder(source):
            splits = self._folder(source)
        else:
            splits = self.from_files(source, seed)
        copies = symmetries(self.facts.grid) if self.augmented else 1
        return {
            **{name: splits[name] for name in SPLITS},
            "train": replace(splits["train"], copies=copies),
        }

    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """Row i in symmetry `copy[i]` (0 to 7, the references' numbers): `copy` is all there is to
        draw.
        """
        table = self.tables(rows.inputs)[np.arange(len(copy)), copy]
        turned = (gathered(cells, table) for cells in (rows.inputs, rows.labels))
        return Rows(*turned, rows.puzzle_ids)

    def answer_of(self, question: np.ndarray, effort: int) -> tuple[np.ndarray | None, str]:
        read = Read(Path("maze"), np.zeros(1, int), question[None], np.zeros_like(question[None]))
        grid, alphabet = self.facts.grid, self.notation.alphabet
        read, several = maze_files.judged(read, grid, alphabet, Picked("skip"))
        if not len(read.rows):
            return None, "it is no maze"
        return (None, "several shortest paths") if several[0] else (read.labels[0], "")

    def made(self, seed: int) -> Rows:
        if self.facts.grid[0] != self.facts.grid[1]:
            raise UserError("mazes of a rectangle cannot be made here")
        self.side, rng = self.facts.grid[0], np.random.Generator(np.random.PCG64(seed))
        self.how["min_path"] = min(self.how["min_path"], self.side + 2)
        return Puzzles.single(*self._new_mazes(rng, 1, set())).rows()

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(names_of(self.facts.grid)[1:])

    def image(self, rows: Rows, rng: np.random.Generator, kind: str | None = None) -> Image:
        """See `Task.image`."""
        count = len(rows.inputs)
        copy = rng.integers(symmetries(self.facts.grid), size=count)
        if kind is not None:
            copy[:] = names_of(self.facts.grid).index(kind)
        table = self.tables(rows.inputs)[np.arange(count), copy]
        moved = (gathered(cells, table) for cells in (rows.inputs, rows.labels))
        undo = undone(table)
        return Image(Rows(*moved, rows.puzzle_ids), lambda answers: gathered(answers, undo))

    def tables(self, inputs: np.ndarray) -> np.ndarray:
        """(N, symmetries, S): which cell of each maze goes where; S for a cell beside it."""
        grid = self.facts.grid
        if not self.notation.padded:
            table = turning(grid, grid)
            return np.broadcast_to(table, (len(inputs), *table.shape))
        inside = inputs.reshape(-1, *grid) != PAD
        sizes = zip(inside.any(2).sum(1).tolist(), inside.any(1).sum(1).tolist(), strict=True)
        return np.stack([turning(size, grid) for size in sizes])

    def keys(self, puzzles: Puzzles) -> np.ndarray:
        return self.keys_of(puzzles)

    def keys_of(self, part: Any) -> np.ndarray:
        """(N,) uint64: equal for a maze in all its symmetries."""
        return np.array([self.key(maze) for maze in part.inputs], np.uint64)

    def key(self, maze: np.ndarray) -> int:
        """Of one maze (S,)."""
        rows = gathered(
            np.broadcast_to(maze, (symmetries(self.facts.grid), len(maze))),
            self.tables(maze[None])[0],
        )
        return int.from_bytes(sha256(min(row.tobytes() for row in rows)).digest()[:8], "big")

    # ---- files

    def looks(self, text: str) -> bool:
        return maze_form.looks(text)

    def form(self, tables: dict[Path, tuple[Table, list[Record]]]) -> dict:
        mazes = {path: maze_form.written(some) for path, (_, some) in tables.items()}
        found, sizes = {}, []
        for path, some in mazes.items():
            alphabet = maze_form.alphabet_of(some[:1000], path, self.alphabet)
            if maze_form.cut_at_the_ends(some, alphabet[1]):
                raise UserError(
                    f"{path}: its mazes have different lengths "
                    "and none begins or ends with an open "
                    "cell; a writer has probably cut the spaces off both ends, which cannot be put "
                    "back for certain; write the file again, with another character for open cells"
                )
            whole = self.facts.grid if self.examined and not self.notation.padded else None
            shapes = maze_form.shapes_of(some, alphabet, self.flat or whole)
            sizes += [shape for shape in shapes.values() if isinstance(shape, tuple)]
            sizes += {
                (len(one.question), len(one.question[0])) for one in some if len(one.question) > 1
            }
            found[path] = (alphabet, shapes)
        if not sizes:
            path, some = next(iter(mazes.items()))
            shape = found[path][1].get(some[0].cells)
            why = maze_files.unreadable(some[0], shape, found[path][0])
            raise UserError(f"{path}:{some[0].row}: {why}")
        path = next(iter(mazes))
        grid, padded = self.canvas(sizes, path)
        self.settle(grid, self.notation.alphabet if self.examined else found[path][0], padded)
        return found

    def canvas(self, sizes: list[tuple[int, int]], path: Path) -> tuple[tuple[int, int], bool]:
        """The grid on which all mazes stand, and whether some are smaller. Raises UserError."""
        rows, columns = (max(side) for side in zip(*sizes, strict=True))
        grid = self.facts.grid if self.facts else (rows, columns)
        smaller = any(size != grid for size in sizes)
        if (
            rows > grid[0]
            or columns > grid[1]
            or (smaller and self.examined and not self.notation.padded)
        ):
            told = "this model takes" if self.examined else f"task.side={self.side} is for"
            sized = " or ".join(f"{one[0]} x {one[1]}" for one in sorted(set(sizes))[:3])
            raise UserError(f"{path}: mazes of {sized}; {told} {grid[0]} x {grid[1]}")
        return grid, smaller or bool(self.examined and self.notation.padded)

    def parsed(self, table: Table, records: list[Record], form: dict, notes: Picked) -> Read:
        alphabet, shapes = form[table.path]
        mazes = maze_form.written(records)
        return maze_files.on_canvas(table.path, mazes, alphabet, self.facts.grid, shapes, notes)

    def judged(self, read: Read, table: Table, form: dict, notes: Picked) -> Read:
        read, several = maze_files.judged(read, self.facts.grid, form[table.path][0], notes)
        if several.any() and table.answered:
            notes.say(
                f"{table.path}: {several.sum()} mazes have "
                "several shortest paths; the answer is one"
            )
        elif several.any():
            kept = (
                "kept, with the first of them"
                if self.ambiguous == "keep"
                else ("left out (task.ambiguous=keep keeps them)")
            )
            notes.say(
                f"{table.path}: {several.sum()} mazes have several shortest paths and are {kept}"
            )
            read = read if self.ambiguous == "keep" else read.select(~several)
        if not len(read.rows):
            raise UserError(f"{table.path}: no maze is left; {'; '.join(notes.told())}")
        return self.distinct(read, notes)

    def told(self, table: Table, form: dict) -> str:
        alphabet, _ = form[table.path]
        rows, columns = self.facts.grid
        size = f"up to {rows} x {columns}" if self.notation.padded else f"{rows} x {columns}"
        roles = zip(("wall", "open", "start", "goal", "path"), alphabet, strict=True)
        told = ", ".join(f"{role} {character!r}" for role, character in roles)
        return f"mazes of {size} ({table.form}; {told})"

    # ---- generated, or a data set folder

    def _generate(self, seed: int) -> dict[str, Puzzles]:
        seen: set[int] = set()
        splits = {}
        for stream, name in enumerate(
            ("test", "valid", "train")
        ):  # the same test mazes for more or fewer to train on
            count = self.counts[name]
            rng = np.random.Generator(np.random.PCG64([seed, stream]))
            splits[name] = Puzzles.single(*self._new_mazes(rng, count, seen))
        return splits

    def _new_mazes(
        self, rng: np.random.Generator, count: int, seen: set[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels of `count` mazes that differ in more than symmetry from those in
        `seen`, which grows.
        """
        mazes, idle = [], 0
        while len(mazes) < count:
            before = len(mazes)
            drawn = engine.tokens(engine.draw(rng, DRAWN, self.side, **self.how))
            for maze, answer in zip(*drawn, strict=True):
                if len(mazes) < count and (key := self.key(maze)) not in seen:
                    seen.add(key)
                    mazes.append((maze, answer))
            idle = 0 if len(mazes) > before else idle + 1
            if idle == MOST_IDLE_DRAWS:
                options = " ".join(
                    f"task.{k}={v}" for k, v in {"side": self.side, **self.how}.items()
                )
                raise UserError(
                    f"no new maze in {MOST_IDLE_DRAWS * DRAWN} drawn "
                    f"with {options}; a lower task.min_path has more"
                )
        inputs, labels = (
            np.array(mazes, np.uint8).reshape(count, 2, self.facts.seq_len).swapaxes(0, 1)
        )
        return np.ascontiguousarray(inputs), np.ascontiguousarray(labels)

    def _folder(self, path: Path) -> dict[str, Puzzles]:
        """A folder is a finished data set: counts do not apply."""
        facts, splits, _ = folder_splits(path)
        wanted = self.facts or replace(facts, vocab_size=1 + len(CHARACTERS), box=None)
        if facts != wanted:
            rows, columns = facts.grid
            raise UserError(
                f"task.source={path}: not "
                f"mazes{f' of task.side={self.side}' if self.side else ''}: it "
                f"has {rows} x {columns} cells and {facts.vocab_size} tokens; task=grid takes any"
            )
        padded = any((p.inputs == PAD).any() for p in splits.values())
        self.settle(facts.grid, self.alphabet or CHARACTERS, padded)
        parts = {
            name: Read(path / name, np.arange(len(p)), p.inputs, p.labels)
            for name, p in splits.items()
        }
        for part in parts.values():
            faults = maze_files.faults_of(
                part.inputs, part.labels, facts.grid, self.notation.alphabet
            )
            for why, found in faults.items():
                if found.any():
                    raise UserError(f"{part.path}:{found.argmax()}: {why}")
        self.refuse_shared(parts)
        return splits
