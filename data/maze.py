"""Mazes: find a shortest path from S to G on an n x n grid with no border.

Data of the published maze-30x30-hard-1k (Wang et al. 2025, "Hierarchical Reasoning Model"):
characters `# SGo` for wall, open cell, start, goal and path are tokens 1 to 5; the label repeats
the maze with the path drawn in.

Departures: the published mazes have many shortest paths each (median 3.8 million), and their labels
are the one that a fixed search finds, so exact match on them also measures a tie-break. Mazes
generated here have one shortest path unless `ties="bfs"` asks for the published rule. Symmetries
turn such a search's answer into one that it would not have found: with `ties="bfs"` or the
published data, `augment=True` harms exact match (TRM 85 to 10 %).

N mazes, n side, S = n * n cells.
"""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import maze_engine as engine
from data import maze_rules as rules
from data.sources import Source, choose, folder_splits, is_folder, read_csv, resolve, split_files
from data.task import Task, require, split_counts, whole
from tinyreason.errors import UserError
from tinyreason.puzzle import SPLITS, Facts, Puzzles, Rows

# mazes at a time; part of what a seed means, as is everything that decides the order of draws
DRAWN = 256
MOST_IDLE_DRAWS = 80  # draws of that many that may bring nothing new before generation gives up


class Read(NamedTuple):
    """Mazes that came from a file, and from where."""

    path: Path
    rows: np.ndarray  # (N,) row in the file, header 1, or number of the example in a built data set
    inputs: np.ndarray  # (N, S) uint8
    labels: np.ndarray  # (N, S) uint8


class Maze(Task):
    """Final. Options:

    - side: n. style: "random" (each cell a wall with probability `wall`) or "perfect" (a tree;
      `wall` is not used).
    - min_path: cells of the shortest path, S and G counted: 110 means 109 steps, as in the
      published data.
    - ties: "unique" or "bfs", see above. These five only matter to `source="generate"`, except
      `side`.
    - train_puzzles, valid_puzzles, test_puzzles: how many to generate, or to choose from a file by
      seed; None: all.
    - augment: show training mazes in all 8 symmetries of the square, each equally likely.
    """

    def __init__(
        self,
        *,
        side: int,
        source: Source,
        train_puzzles: int | None,
        valid_puzzles: int | None,
        test_puzzles: int | None,
        style: str,
        wall: float,
        min_path: int,
        ties: str,
        augment: bool,
    ):
        require("side", side, whole(side, 3, 100), "a whole number in 3..100")
        require("style", style, style in ("random", "perfect"), "random or perfect")
        require("ties", ties, ties in ("unique", "bfs"), "unique or bfs")
        require(
            "wall", wall, isinstance(wall, int | float) and 0 <= wall < 1, "a probability below 1"
        )
        most = side * side if source == "generate" else 100 * 100
        require("min_path", min_path, whole(min_path, 2, most), f"a number of cells in 2..{most}")
        require("augment", augment, isinstance(augment, bool), "true or false")
        self.counts = split_counts(train_puzzles, valid_puzzles, test_puzzles, source == "generate")
        self.facts = Facts(vocab_size=1 + len(rules.CHARACTERS), grid=(side, side))
        self.side, self.source, self.augmented = side, source, augment
        self.how = {"style": style, "wall": wall, "min_path": min_path, "ties": ties}
        self.tables = engine.dihedral_tables(side)
        self.notes: list[str] = []

    def load(self, seed: int) -> dict[str, Puzzles]:
        """See `Task.load`. Generated splits do not depend on each other's size, except that no maze
        is in two.
        """
        source = self.source if self.source == "generate" else resolve(self.source)
        if source == "generate":
            splits = self._generate(seed)
        elif is_folder(source):
            splits = self._folder(source)
        else:
            splits = self._files(source, seed)
        copies = len(self.tables) if self.augmented else 1
        return {
            **{name: splits[name] for name in SPLITS},
            "train": replace(splits["train"], copies=copies),
        }

    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """Row i in symmetry `copy[i]` (0 to 7, the references' numbers): `copy` is all there is to
        draw.
        """
        table = self.tables[copy]
        turned = (np.take_along_axis(cells, table, 1) for cells in (rows.inputs, rows.labels))
        return Rows(*turned, rows.puzzle_ids)

    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """See `maze_rules.path_lengths`: "valid" is any path, "optimal" one of the shortest."""
        length = rules.path_lengths(inputs, answers)
        valid = length >= 0
        optimal = valid.copy()
        optimal[valid] = length[valid] == rules.shortest(inputs[valid] != rules.WALL, inputs[valid])
        return {"valid": valid, "optimal": optimal}

    def blanks(self, inputs: np.ndarray) -> np.ndarray:
        """The open cells: each of them stays as it is or becomes path."""
        return inputs == rules.OPEN

    def key(self, maze: np.ndarray) -> bytes:
        """The same 32 bytes for `maze` (S,) in all its symmetries."""
        return sha256(min(row.tobytes() for row in maze[self.tables])).digest()

    def read(self, path: Path) -> Read:
        """The mazes of a CSV. Raises UserError, `path:row: what is wrong`, for the first row that
        is not a maze.
        """
        table = read_csv(path, self.facts.seq_len)
        rows = np.array([row for row, _, _ in table])
        inputs, labels = (
            rules.encode([line[column] for line in table], self.facts.seq_len) for column in (1, 2)
        )
        return _checked(Read(path, rows, inputs, labels))

    def _generate(self, seed: int) -> dict[str, Puzzles]:
        seen: set[bytes] = set()
        splits = {}
        for stream, name in enumerate(
            ("test", "valid", "train")
        ):  # the same test mazes for more or fewer to train on
            count = self.counts[name]
            rng = np.random.Generator(np.random.PCG64([seed, stream]))
            splits[name] = Puzzles.single(*self._new_mazes(rng, count, seen))
        return splits

    def _new_mazes(
        self, rng: np.random.Generator, count: int, seen: set[bytes]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels of `count` mazes that differ in more than symmetry from those in
        `seen`, which grows.
        """
        mazes, idle = [], 0
        while len(mazes) < count:
            before = len(mazes)
            drawn = rules.tokens(engine.draw(rng, DRAWN, self.side, **self.how))
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
        if facts != self.facts:
            raise UserError(
                f"task.source={path}: not a data set of "
                f"{self.side} x {self.side} mazes, it states {facts}"
            )
        parts = {
            name: Read(path / name, np.arange(len(p)), p.inputs, p.labels)
            for name, p in splits.items()
        }
        self._refuse_shared({name: _checked(part) for name, part in parts.items()})
        return splits

    def _files(self, source: Path | list[Path], seed: int) -> dict[str, Puzzles]:
        train_path, test_path = split_files(source)
        if test_path:
            parts = self._choose(train_path, ("train", "valid"), seed) | self._choose(
                test_path, ("test",), seed
            )
        elif self.counts["test"] is None:
            raise UserError(
                "task.test_puzzles: say how many rows of "
                f"{train_path} to test on, or name a test file too"
            )
        else:
            parts = self._choose(train_path, ("test", "train", "valid"), seed)
        self._refuse_shared(parts)
        return {name: Puzzles.single(part.inputs, part.labels) for name, part in parts.items()}

    def _choose(self, path: Path, splits: tuple[str, ...], seed: int) -> dict[str, Read]:
        """These splits, each a part of one file."""
        file = self.read(path)
        chosen = choose(
            len(file.rows), {f"{name}_puzzles": self.counts[name] for name in splits}, seed, path
        )
        arrays = [
            (file.rows[which], file.inputs[which], file.labels[which]) for which in chosen.values()
        ]
        return {name: Read(path, *part) for name, part in zip(splits, arrays, strict=True)}

    def _refuse_shared(self, parts: dict[str, Read]) -> None:
        """Raise UserError for a maze of one split that is, up to symmetry, in another: its accuracy
        would be memory.
        """
        owner: dict[bytes, tuple[str, str]] = {}
        for split in SPLITS:
            part = parts[split]
            for row, maze in zip(part.rows, part.inputs, strict=True):
                name, place = owner.setdefault(self.key(maze), (split, f"{part.path}:{row}"))
                if name != split:
                    raise UserError(
                        f"{part.path}:{row}: a {split} maze that, "
                        f"up to symmetry, is the {name} maze {place}"
                    )


def _checked(mazes: Read) -> Read:
    fault = rules.first_fault(mazes.inputs, mazes.labels)
    if fault:
        raise UserError(f"{mazes.path}:{mazes.rows[fault[0]]}: {fault[1]}")
    return mazes
