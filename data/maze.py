"""Mazes: find a shortest path from S to G on an n x n grid with no border.

Data of the published maze-30x30-hard-1k (Wang et al. 2025, "Hierarchical Reasoning Model"): characters `# SGo` for
wall, open cell, start, goal and path are tokens 1 to 5; the label repeats the maze with the path drawn in.

Departures: the published mazes have many shortest paths each (median 3.8 million), and their labels are the one that a
fixed search finds, so exact match on them also measures a tie-break. Mazes generated here have one shortest path unless
`ties="bfs"` asks for the published rule. Symmetries turn such a search's answer into one that it would not have found:
with `ties="bfs"` or the published data, `augment=True` harms exact match (TRM 85 to 10 %), but not the rule checks.

N mazes, n side, S = n * n cells.
"""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import maze_engine as engine
from data.sources import Source, choose, folder_splits, is_folder, read_csv, resolve, split_files
from data.task import Task
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Puzzles, Rows

CHARACTERS = b"# SGo"
WALL, OPEN, START, GOAL, PATH = range(1, 6)
TOKENS = np.zeros(256, np.uint8)
TOKENS[np.frombuffer(CHARACTERS, np.uint8)] = [WALL, OPEN, START, GOAL, PATH]
DRAWN = 512  # mazes at a time; a part of the seed's meaning, like everything else that decides the order of draws
PATIENCE = 40  # draws of that many that may bring nothing new before generation gives up


class File(NamedTuple):
    """The mazes of one CSV file."""

    path: Path
    rows: np.ndarray  # (N,) row in the file, header 1
    inputs: np.ndarray  # (N, S) uint8
    labels: np.ndarray  # (N, S) uint8


class Maze(Task):
    """Final. Options:

    - side: n. style: "random" (each cell a wall with probability `wall`) or "perfect" (a tree; `wall` is not used).
    - min_path: cells of the shortest path, S and G counted: 110 means 109 steps, as in the published data.
    - ties: "unique" or "bfs", see above. Both only matter to `source="generate"`.
    - train_puzzles, valid_puzzles, test_puzzles: how many to generate, or to choose from a file by seed; None: all.
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
        _require("side", side, 3 <= side <= 100, "a whole number in 3..100")
        _require("style", style, style in ("random", "perfect"), "random or perfect")
        _require("ties", ties, ties in ("unique", "bfs"), "unique or bfs")
        _require("wall", wall, 0 <= wall < 1, "a probability below 1")
        _require("min_path", min_path, 2 <= min_path <= side * side, f"a number of cells in 2..{side * side}")
        self.counts = {"train_puzzles": train_puzzles, "valid_puzzles": valid_puzzles, "test_puzzles": test_puzzles}
        for name, count in self.counts.items():
            least = int(name == "train_puzzles")
            _require(name, count, count is None or count >= least, f"{least} or more, or null for all of a file")
        self.facts = Facts(vocab_size=1 + len(CHARACTERS), grid=(side, side))
        self.side, self.source, self.augmented = side, source, augment
        self.how = {"style": style, "wall": wall, "min_path": min_path, "ties": ties}
        self.tables = engine.dihedral_tables(side)

    def load(self, seed: int) -> dict[str, Puzzles]:
        """See `Task.load`. Generated splits are independent: the test mazes do not depend on how many are trained on."""
        if self.source == "generate":
            splits = self._generate(seed)
        elif is_folder(self.source):
            splits = self._folder()
        else:
            splits = self._files(seed)
        copies = len(self.tables) if self.augmented else 1
        return {**splits, "train": replace(splits["train"], copies=copies)}

    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """Row i in symmetry `copy[i]` (0 to 7, the references' numbers); the draw was made with `copy`."""
        table = self.tables[copy]
        return rows._replace(
            inputs=np.take_along_axis(rows.inputs, table, 1), labels=np.take_along_axis(rows.labels, table, 1)
        )

    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """See `path_lengths`: "valid" is any path, "optimal" one of the shortest."""
        length = path_lengths(inputs, answers)
        valid = length >= 0
        optimal = valid.copy()
        optimal[valid] = length[valid] == _steps(inputs[valid] != WALL, inputs[valid])
        return {"valid": valid, "optimal": optimal}

    def blanks(self, inputs: np.ndarray) -> np.ndarray:
        """The open cells: each of them stays as it is or becomes path."""
        return inputs == OPEN

    def _generate(self, seed: int) -> dict[str, Puzzles]:
        seen: set[bytes] = set()
        splits = {}
        for stream, name in enumerate(("test", "valid", "train")):
            count = self.counts[f"{name}_puzzles"]
            _require(f"{name}_puzzles", count, count is not None, "a number, where mazes are generated")
            rng = np.random.Generator(np.random.PCG64([seed, stream]))
            splits[name] = Puzzles.single(*self._new_mazes(rng, count, seen))
        return splits

    def _new_mazes(self, rng: np.random.Generator, count: int, seen: set[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels of `count` mazes that differ in more than symmetry from those in `seen`, which grows."""
        inputs, labels, idle = [], [], 0
        while len(inputs) < count:
            before = len(inputs)
            for maze, answer in zip(*tokens(engine.draw(rng, DRAWN, self.side, **self.how)), strict=True):
                if len(inputs) < count and (key := self.key(maze)) not in seen:
                    seen.add(key)
                    inputs.append(maze)
                    labels.append(answer)
            idle = 0 if len(inputs) > before else idle + 1
            if idle == PATIENCE:
                options = " ".join(f"task.{k}={v}" for k, v in {"side": self.side, **self.how}.items())
                raise UserError(
                    f"no new maze among the last {PATIENCE * DRAWN} drawn with {options}; lower task.min_path"
                )
        shape = (count, self.facts.seq_len)
        return np.array(inputs, np.uint8).reshape(shape), np.array(labels, np.uint8).reshape(shape)

    def key(self, maze: np.ndarray) -> bytes:
        """The same 32 bytes for `maze` (S,) in all its symmetries."""
        return sha256(min(row.tobytes() for row in maze[self.tables])).digest()

    def _folder(self) -> dict[str, Puzzles]:
        """A folder is a finished data set: counts do not apply."""
        facts, splits, _ = folder_splits(self.source)
        if facts != self.facts:
            raise UserError(
                f"task.source={self.source}: not a maze data set of task.side={self.side}: it holds {facts}"
            )
        return splits

    def _files(self, seed: int) -> dict[str, Puzzles]:
        train_path, test_path = split_files(resolve(self.source))
        train = self.read(train_path)
        wanted = ("train_puzzles", "valid_puzzles") if test_path else ("test_puzzles", "train_puzzles", "valid_puzzles")
        if not test_path and self.counts["test_puzzles"] is None:
            raise UserError(f"task.test_puzzles: say how many rows of {train_path} to test on, or name a test file too")
        chosen = choose(len(train.rows), {name: self.counts[name] for name in wanted}, seed, train_path)
        parts = {name.removesuffix("_puzzles"): _select(train, which) for name, which in chosen.items()}
        if test_path:
            test = self.read(test_path)
            which = choose(len(test.rows), {"test_puzzles": self.counts["test_puzzles"]}, seed, test_path)
            parts["test"] = _select(test, which["test_puzzles"])
        self._refuse_shared(parts)
        return {name: Puzzles.single(part.inputs, part.labels) for name, part in parts.items()}

    def _refuse_shared(self, parts: dict[str, File]) -> None:
        """Raise UserError for a maze of one split that is, up to symmetry, in another: its accuracy would be memory."""
        owner: dict[bytes, tuple[str, str]] = {}
        for split in ("train", "valid", "test"):
            part = parts[split]
            for row, maze in zip(part.rows, part.inputs, strict=True):
                name, place = owner.setdefault(self.key(maze), (split, f"{part.path}:{row}"))
                if name != split:
                    raise UserError(
                        f"{part.path}:{row}: a {split} maze that, up to symmetry, is the {name} maze {place}"
                    )

    def read(self, path: Path) -> File:
        """The mazes of a CSV, every row checked. Raises UserError, `path:row: what is wrong`, for the first bad one."""
        table = read_csv(path, self.facts.seq_len)
        rows = np.array([row for row, _, _ in table])
        inputs, labels = (encode([line[column] for line in table], self.facts.seq_len) for column in (1, 2))
        faults = _faults(inputs, labels)
        bad = np.logical_or.reduce(list(faults.values()))
        if bad.any():
            first = bad.argmax()
            raise UserError(f"{path}:{rows[first]}: {next(why for why, found in faults.items() if found[first])}")
        return File(path, rows, inputs, labels)


def encode(texts: list[str], cells: int) -> np.ndarray:
    """(N, S) uint8 tokens of N strings of S characters; 0 for a character that no maze has."""
    return TOKENS[np.frombuffer("".join(texts).encode("latin-1", "replace"), np.uint8)].reshape(len(texts), cells)


def tokens(mazes: engine.Mazes) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels (N, S) uint8 of mazes."""
    inputs = np.where(mazes.is_open, OPEN, WALL).astype(np.uint8)
    row = np.arange(len(inputs))
    inputs[row, mazes.start], inputs[row, mazes.goal] = START, GOAL
    return inputs, np.where(mazes.path & (inputs == OPEN), PATH, inputs).astype(np.uint8)


def path_lengths(inputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(N,) steps from S to G of the path drawn in `answers` (N, S); -1 where it is not a path.

    A path: the answer differs from the input only where an open cell became `o`, and S, G and all the `o` form one
    chain, with no cell left over. A chain that touches itself is none: its cells do not say in which order they go.
    So of the cells drawn, the shortest way from S to G has to use all.
    """
    drawn = answers == PATH
    kept = ((answers == inputs) | (drawn & (inputs == OPEN))).all(1)
    length = np.full(len(inputs), -1)
    steps = drawn[kept].sum(1) + 1
    ways = drawn[kept] | (inputs[kept] == START) | (inputs[kept] == GOAL)
    length[kept] = np.where(_steps(ways, inputs[kept]) == steps, steps, -1)
    return length


def _steps(ways: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(N,) steps of the shortest way from S to G over the cells `ways` (N, S) bool."""
    side = round(ways.shape[1] ** 0.5)
    start, goal = (inputs == START).argmax(1), (inputs == GOAL).argmax(1)
    return engine.distances(ways.reshape(-1, side, side), start)[np.arange(len(ways)), goal]


def _faults(inputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What can be wrong with a row -> (N,) bool. Later entries may rely on earlier ones not being so."""
    drawn = labels == PATH
    return {
        "question has a character other than '#', ' ', 'S' and 'G'": ((inputs == 0) | (inputs == PATH)).any(1),
        "answer has a character other than '#', ' ', 'S', 'G' and 'o'": (labels == 0).any(1),
        "question has not exactly one S": (inputs == START).sum(1) != 1,
        "question has not exactly one G": (inputs == GOAL).sum(1) != 1,
        "answer differs from the question where it has no 'o'": ((labels != inputs) & ~drawn).any(1),
        "answer has an 'o' on a cell that is not open": (drawn & (inputs != OPEN)).any(1),
        "answer's 'o' cells are not one path from S to G": path_lengths(inputs, labels) < 0,
    }


def _select(file: File, which: np.ndarray) -> File:
    return File(file.path, file.rows[which], file.inputs[which], file.labels[which])


def _require(name: str, value: object, fits: bool, wanted: str) -> None:
    if not fits:
        raise UserError(f"task.{name}={value}: must be {wanted}")
