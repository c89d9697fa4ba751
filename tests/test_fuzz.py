"""Hostile puzzle files: 10,000 for each reader, each refused in one line or read for exactly what
it is.

The first 300 are in the quick set, the others behind `-m hostile`.

The files are spoilt by seed (`tests/fuzz.py`) and judged by readers that share nothing with ours
(`tests/oracle.py`). The memory is measured in a process of its own: peak resident size, over what
the imports took.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data import arc_read, maze_files, sudoku_files
from data import dataset as folder
from data.arc import ARC
from data.arc_task import ArcTask
from data.build import build
from data.grid import Grid
from data.picked import Picked
from data.registry import load_task
from data.table import open_table
from data.task import Task
from eval.arc_vote import vote
from tests import fuzz, oracle, tiny
from tests.marks import hostile
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Puzzles
from tinyreason.rules.sudoku import BOX
from tinyreason.untrusted import read_npy

FEW = range(300)
CASES = {"sudoku": 10_000, "maze": 10_000, "arc": 10_000, "folder": 4_000}
CASES |= {"forms": 10_000, "npy": 10_000, "grid": 10_000}
MORE = range(10_000, 40_000)
MOST_MEMORY = 200 << 20  # bytes
ROOT = Path(__file__).parents[1]
HEADER = ["source", "question", "answer", "rating"]


class Tally:
    """What became of the files: how many were read, and the reasons of the refusals, without their
    numbers.
    """

    def __init__(self) -> None:
        self.read, self.reasons = 0, Counter()

    def judge(self, case: int, path: Path, read, expect, sound=None) -> None:
        """`read()` must give what `expect()` gives, or refuse what it refuses, in one line that
        begins with `path`. What only a wider reading can take must be `sound`.
        """
        try:
            wanted, wrong = expect(), None
        except oracle.Wrong as error:
            wanted, wrong = None, error
        try:
            found = read()
        except UserError as refused:
            line = str(refused)
            assert wrong, f"case {case}: valid, but {line!r}"
            self.refused(case, path, line, wrong.rows)
        else:
            unclear = isinstance(wrong, oracle.Unclear) or (wrong and sound and sound(found))
            assert not wrong or unclear, f"case {case}: read as {found!r}"
            assert wrong or found == wanted, f"case {case}: read as {found!r}, not {wanted!r}"
            self.read += 1

    def refused(self, case: int, path: Path, line: str, rows: set | None) -> None:
        place, _, reason = line.removeprefix(str(path)).partition(": ")
        assert line.startswith(str(path)), f"case {case}: {line!r}"
        assert reason, f"case {case}: {line!r}"
        assert line.isprintable(), f"case {case}: {line!r}"
        assert len(line) < len(str(path)) + 500, f"case {case}: {len(line)} characters"
        named = (
            rows is None
            or not place
            or any(re.search(f":{re.escape(str(row))}(/|$)", place) for row in rows)
        )
        assert named, f"case {case}: {line!r}, not in {rows}"
        self.reasons[re.sub(r"\d+", "N", " ".join(reason.split()[:3]))] += 1

    def assert_varied(self, reasons: int) -> None:
        """The files were neither all good nor all bad, and bad in many ways."""
        total = self.read + self.reasons.total()
        assert 0.05 * total < self.read < 0.95 * total, (self.read, total)
        assert len(self.reasons) >= reasons, self.reasons


def rows_of(found) -> list[tuple[int, list[int], list[int]]]:
    assert found.inputs.dtype == found.labels.dtype == np.uint8
    return list(zip(found.rows.tolist(), found.inputs.tolist(), found.labels.tolist(), strict=True))


def csv_case(rng, case: int, directory: Path, lines: list[list[str]]) -> tuple[Path, bytes]:
    """A spoilt file of three of the `lines`; its content before compression, by the oracle's
    reckoning.
    """
    chosen = [lines[i] for i in rng.integers(len(lines), size=3)]
    name, content = fuzz.csv_file(rng, [HEADER, *chosen])
    path = directory / name
    path.write_bytes(content)
    return path, content


def csv_meaning(path: Path, content: bytes, cells: int, judge):
    return oracle.puzzles(
        oracle.unpacked(content) if path.suffix == ".gz" else content, cells, judge
    )


# Sudoku


def sudoku_pairs(side: int) -> list[tuple[str, str]]:
    options = {"train_puzzles": 12, "valid_puzzles": 0, "test_puzzles": 0}
    task = tiny.sudoku(side=side, source="bank" if side == 9 else "generate", **options)
    part = task.load(0)["train"]
    texts = (tiny.sudoku_texts(tokens) for tokens in (part.inputs, part.labels))
    return list(zip(*texts, strict=True))


def sudokus(side: int) -> list[list[str]]:
    return [
        ["made", q if n % 2 else q.replace(".", "0"), a, str(n)]
        for n, (q, a) in enumerate(sudoku_pairs(side))
    ]


def read_sudokus(path: Path, side: int | None):
    """The rows of a file, with those that repeat others and those with several solutions."""
    task = tiny.sudoku(side=side, source=str(path), **tiny.FILE)
    table = open_table(path, task.looks, None, False)
    records, notes = list(table.rows()), Picked("refuse")
    form = task.form({path: (table, records)})
    read = task.parsed(table, records, form, notes)
    alphabet = form[path].alphabet
    return sudoku_files.judged(read, task.facts.box, notes, alphabet, False)[0]


def sudokus_hold(found: list, content: bytes, numbered: bool = True) -> bool:
    """Each puzzle is one, stands in the file where it is said to, and its answer is legal."""
    for row, inputs, labels in found:
        side = round(len(inputs) ** 0.5)
        question = "".join("?.123456789"[token] for token in inputs)
        answer = "".join("?.123456789"[token] for token in labels)
        if not oracle.sudoku(question, answer, side, BOX[side]):
            return False
        text = content if numbered else content.replace(b"\n", b" ")
        if not oracle.written(text, row if numbered else 1, question, r"[^1-9]"):
            return False
    return bool(found)


def fuzz_sudoku(directory: Path, cases: range) -> Tally:
    tally, lines = Tally(), {side: sudokus(side) for side in (4, 9)}
    for case in cases:
        rng, side = fuzz.generator(1, case), 9 if case % 10 == 0 else 4
        path, content = csv_case(rng, case, directory, lines[side])
        tally.judge(
            case,
            path,
            lambda path=path, side=side: rows_of(read_sudokus(path, side)),
            lambda path=path, content=content, side=side: csv_meaning(
                path, content, side**2, lambda q, a: oracle.sudoku(q, a, side, BOX[side])
            ),
            lambda found, path=path, content=content: sudokus_hold(found, plain(path, content)),
        )
    return tally


def plain(path: Path, content: bytes) -> bytes:
    """What a file holds once it is unpacked."""
    return oracle.unpacked(content) if content[:2] == b"\x1f\x8b" else content


def sudoku_forms(pairs: list[tuple[str, str]]) -> dict[str, bytes]:
    """The other forms in which people keep puzzles of side 4."""
    questions = [q for q, _ in pairs]
    blocks = ["\n".join(q[i : i + 4] for i in range(0, 16, 4)) for q in questions]
    objects = [json.dumps({"puzzle": q, "solution": a}) for q, a in pairs]
    cells = [",".join((q + a).replace(".", "0")) for q, a in pairs]
    games = "".join(f'<game data="{q.replace(".", "0")}"/>\n' for q in questions)
    texts = {
        "apart.csv": "quiz;answer\n" + "\n".join(f"{' '.join(q)};{' '.join(a)}" for q, a in pairs),
        "bare.txt": "\n".join(questions),
        "cells.csv": "\n".join(cells),
        "blocks.sdk": "#Atitle\n" + "\n\n".join(blocks) + "\n",
        "rows.jsonl": "\n".join(objects),
        "list.json": "[" + ",\n".join(objects) + "]",
        "games.xml": f"<opensudoku>{games}</opensudoku>",
    }
    return {name: text.encode() for name, text in texts.items()}


def fuzz_forms(directory: Path, cases: range) -> Tally:
    tally, pairs = Tally(), sudoku_pairs(4)
    packs = [bytes, bytes, bytes, gzip.compress, bz2.compress, lzma.compress]
    for case in cases:
        rng = fuzz.generator(6, case)
        good = sudoku_forms([pairs[i] for i in rng.integers(len(pairs), size=3)])
        name = fuzz.pick(rng, sorted(good))
        text = fuzz.spoilt(rng, good[name], fuzz.BYTES, most=1)
        content = fuzz.pick(rng, packs)(text)
        path = directory / name
        path.write_bytes(content)
        tally.judge(
            case,
            path,
            lambda path=path: rows_of(read_sudokus(path, None)),
            lambda: (_ for _ in ()).throw(oracle.Wrong),
            lambda found, text=text, name=name: sudokus_hold(
                found, text, not name.endswith(("xml", "list.json"))
            ),
        )
    return tally


def fuzz_npy(directory: Path, cases: range) -> Tally:
    """Pairs of arrays, one of them spoilt."""
    tally, pairs = Tally(), sudoku_pairs(4)
    for case in cases:
        rng = fuzz.generator(7, case)
        chosen = [pairs[i] for i in rng.integers(len(pairs), size=3)]
        parts = zip(("quizzes", "solutions"), zip(*chosen, strict=True), strict=True)
        content = {n: npy_of(texts) for n, texts in parts}
        spoilt = fuzz.pick(rng, sorted(content))
        content[spoilt] = fuzz.spoilt(rng, content[spoilt], fuzz.NPY)
        for name, data in content.items():
            (directory / f"{name}.npy").write_bytes(data)
        path = directory / "quizzes.npy"
        tally.judge(
            case,
            directory,
            lambda path=path: rows_of(read_sudokus(path, None)),
            lambda: (_ for _ in ()).throw(oracle.Wrong),
            lambda found, content=content: npy_holds(found, content),
        )
    return tally


def npy_of(texts: tuple[str, ...]) -> bytes:
    cells = [[int(c.replace(".", "0")) for c in text] for text in texts]
    return fuzz.npy_bytes(np.array(cells, np.uint8))


def npy_holds(found: list, content: dict[str, bytes]) -> bool:
    """Each puzzle is one, and its numbers are those that numpy itself finds in the files."""
    arrays = [np.load(io.BytesIO(content[n])) for n in ("quizzes", "solutions")]
    questions, answers = (array.reshape(len(array), -1) + 1 for array in arrays)
    return all(
        (questions[row - 1] == inputs).all()
        and (answers[row - 1] == labels).all()
        and oracle.sudoku(
            *("".join("?.123456789"[t] for t in part) for part in (inputs, labels)), 4, BOX[4]
        )
        for row, inputs, labels in found
    )


# Any other task


def fuzz_grid(directory: Path, cases: range) -> Tally:
    """Tables of two columns of texts."""
    tally, letters = Tally(), list("abcdefgh")
    for case in cases:
        rng = fuzz.generator(8, case)
        texts = ["".join(rng.permutation(letters)) for _ in range(3)]
        rows = [HEADER, *(["made", text, text[::-1], "1"] for text in texts)]
        name, content = fuzz.csv_file(rng, rows)
        path = directory / name
        path.write_bytes(content)
        tally.judge(
            case,
            path,
            lambda path=path: grid_rows(path),
            lambda: (_ for _ in ()).throw(oracle.Wrong),
            lambda found, path=path, content=content: grid_holds(found, plain(path, content)),
        )
    return tally


def grid_rows(path: Path) -> list[tuple[int, str, str]]:
    """The row, question and answer of each example."""
    task = Grid(source=str(path), columns=None, bad="refuse", **tiny.FILE)
    found = tiny.read_file(task, path)
    rules = task.rules
    texts = ([rules.text(row, row) for row in part] for part in (found.inputs, found.labels))
    return list(zip(found.rows.tolist(), *texts, strict=True))


def grid_holds(found: list, content: bytes) -> bool:
    """Question and answer stand in the file from the row on that they are said to begin at."""
    lines = re.split(r"\r?\n", content.decode("utf-8", "replace"))
    near = ["".join(lines[row - 1 : row + 60]).replace('""', '"') for row, _, _ in found]
    return all(q in text and a in text for text, (_, q, a) in zip(near, found, strict=True))


# Mazes


MAZE = {"side": 5, "wall": 0.3, "min_path": 4, "ambiguous": "keep"}


def mazes() -> list[list[str]]:
    counts = {"train_puzzles": 12, "valid_puzzles": 0, "test_puzzles": 0}
    part = tiny.maze(**MAZE | counts).load(0)["train"]
    texts = [
        ["".join("?# SGo"[token] for token in row) for row in cells.tolist()]
        for cells in part.rows()[:2]
    ]
    return [["made", q, a, str(n)] for n, (q, a) in enumerate(zip(*texts, strict=True))]


def read_mazes(path: Path):
    """The rows of a file, with those that repeat others; and how they are written."""
    task = tiny.maze(source=str(path), **MAZE | tiny.FILE)
    table = open_table(path, task.looks, None, True)
    records, notes = list(table.rows()), Picked("refuse")
    form = task.form({path: (table, records)})
    read = task.parsed(table, records, form, notes)
    alphabet = form[path][0]
    return maze_files.judged(read, task.facts.grid, alphabet, notes)[0], alphabet


def mazes_hold(path: Path, content: bytes) -> bool:
    """Each maze is one, with a path for an answer, and stands in the file where it is said to."""
    found, alphabet = read_mazes(path)
    lines = re.split(r"\r?\n", content.decode("utf-8", "replace"))
    for row, inputs, labels in rows_of(found):
        plain_texts = ["".join("?# SGo"[t] for t in tokens if t) for tokens in (inputs, labels)]
        written = ["".join(("?" + alphabet)[t] for t in tokens if t) for tokens in (inputs, labels)]
        near = "".join(lines[row - 1 : row + 12])
        side = round(len(plain_texts[0]) ** 0.5)
        square = side * side == len(plain_texts[0])
        if square and not oracle.maze(*plain_texts, side) and 0 not in inputs:
            return False
        if written[0].replace('"', '""') not in near:
            return False
    return len(found.rows) > 0


def fuzz_maze(directory: Path, cases: range) -> Tally:
    tally, lines = Tally(), mazes()
    for case in cases:
        path, content = csv_case(fuzz.generator(2, case), case, directory, lines)
        tally.judge(
            case,
            path,
            lambda path=path: rows_of(read_mazes(path)[0]),
            lambda path=path, content=content: csv_meaning(
                path, content, 25, lambda q, a: oracle.maze(q, a, 5)
            ),
            lambda found, path=path, content=content: mazes_hold(path, plain(path, content)),
        )
    return tally


# ARC


def arc_tasks(count: int) -> list[str]:
    """Tasks of small random grids, as JSON."""
    return [json.dumps(arc_task(fuzz.generator(0, seed), seed % 4)) for seed in range(count)]


def arc_task(rng, form: int = 0) -> dict | list:
    """As in ARC; with cells as strings and null; with whole floats; as a list of pairs."""
    grids = [rng.integers(0, 10, rng.integers(1, 4, size=2)).tolist() for _ in range(6)]
    pairs = [{"input": a, "output": b} for a, b in zip(grids[::2], grids[1::2], strict=True)]
    task = {"train": pairs[:2], "test": pairs[2:]}
    if form == 1:
        text = json.dumps(task)
        return json.loads(re.sub(r"\d", lambda digit: f'"{digit[0]}"', text).replace('"0"', "null"))
    if form == 2:
        return json.loads(re.sub(r"\d", lambda digit: f"{digit[0]}.0", json.dumps(task)))
    return pairs if form == 3 else task


def lists_of(task: ArcTask) -> list:
    """[demonstrations, tests] as nested lists."""
    grids = [grid for part in task[1:] for pair in part for grid in pair if grid is not None]
    assert all(grid.dtype == np.uint8 for grid in grids)
    return [
        [[None if grid is None else grid.tolist() for grid in pair] for pair in part]
        for part in task[1:]
    ]


def arc_file_case(rng, case: int, directory: Path, tally: Tally, tasks: list[str]) -> None:
    path, content = directory / "one" / "task.json", fuzz.json_file(rng, fuzz.pick(rng, tasks))
    path.write_bytes(content)

    def read() -> list:
        trained, evaluated = arc_read.read_source(str(path.parent))
        (task,) = trained + evaluated
        assert (bool(task.tests), task.id) == (bool(evaluated), "task")
        return lists_of(task)

    tally.judge(case, path, read, lambda: oracle.arc_file(content))


def kaggle_case(rng, case: int, directory: Path, tally: Tally, tasks: list[str]) -> None:
    both = {name: json.loads(fuzz.pick(rng, tasks[::4])) for name in "ab"}
    answers = {name: [pair.pop("output") for pair in task["test"]] for name, task in both.items()}
    contents = [json.dumps(part).encode() for part in (both, answers)]
    spoil = int(rng.integers(2))
    contents[spoil] = fuzz.json_file(rng, contents[spoil])
    paths = [directory / f"{part}.json" for part in ("challenges", "solutions")]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)

    def read() -> dict:
        first, again = arc_read.read_source([str(path) for path in paths * 2])
        assert [task.id for task in first] == [task.id for task in again]
        return {task.id: lists_of(task) for task in first}

    tally.judge(case, directory, read, lambda: oracle.kaggle(*contents))


def fuzz_arc(directory: Path, cases: range) -> Tally:
    tally, tasks = Tally(), arc_tasks(50)
    (directory / "one").mkdir()
    for case in cases:
        way = kaggle_case if case % 3 == 0 else arc_file_case
        way(fuzz.generator(3, case), case, directory, tally, tasks)
    return tally


# Folders of arrays


FACTS = Facts(vocab_size=5, grid=(2, 3), box=(1, 3), num_puzzle_identifiers=3)


def grouped() -> Puzzles:
    """Five examples of three puzzles in two groups, as in ARC."""
    cells = np.arange(30, dtype=np.uint8).reshape(5, 6) % 5
    edges = (np.array(values, np.int32) for values in ([1, 2, 1], [0, 2, 3, 5], [0, 2, 3]))
    return Puzzles(cells, cells[::-1].copy(), *edges)


def spoilt_file(rng, name: str, content: bytes) -> bytes | None:
    """None: no such file."""
    if rng.random() < 0.03:
        return None
    if name.endswith("npy"):
        return fuzz.spoilt(rng, content, fuzz.NPY)
    return fuzz.json_file(rng, content)


def folder_of(found: tuple) -> tuple:
    """What `folder.read` returns, as the oracle says it."""
    known, splits, names = found
    facts = (
        known.vocab_size,
        known.grid,
        known.box,
        known.pad_id,
        known.ignore_label_id,
        known.blank_identifier_id,
    )
    arrays = {k: {n: getattr(p, n) for n in folder.ARRAYS} for k, p in splits.items() if len(p)}
    assert all(
        array.dtype == folder.ARRAYS[n][0] for part in arrays.values() for n, array in part.items()
    )
    lists = {k: {n: array.tolist() for n, array in part.items()} for k, part in arrays.items()}
    return (*facts, known.num_puzzle_identifiers), lists, names


def built(root: Path, *splits: str) -> dict[str, bytes]:
    """A data set and the bytes of its files by relative path."""
    folder.write(
        root, {name: grouped() for name in splits}, FACTS, ["<blank>", "a", "b|||t3|||0213456789"]
    )
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def fuzz_folder(directory: Path, cases: range) -> Tally:
    tally, roots = Tally(), [directory / "alone"] * 3 + [directory / "pair"]
    good = {roots[0]: built(roots[0], "train"), roots[-1]: built(roots[-1], "train", "test")}
    for case in cases:
        rng, root = fuzz.generator(4, case), roots[case % 4]
        name = fuzz.pick(rng, sorted(good[root]))
        content = spoilt_file(rng, name, good[root][name])
        files = (
            good[root] | {name: content}
            if content is not None
            else {k: v for k, v in good[root].items() if k != name}
        )
        if content is None:
            (root / name).unlink()
        else:
            (root / name).write_bytes(content)
        tally.judge(
            case,
            root,
            lambda root=root: folder_of(folder.read(root)),
            lambda files=files: oracle.folder(files),
        )
        (root / name).write_bytes(good[root][name])
    return tally


FUZZERS = {
    "sudoku": (fuzz_sudoku, 40),
    "forms": (fuzz_forms, 20),
    "npy": (fuzz_npy, 12),
    "grid": (fuzz_grid, 12),
    "maze": (fuzz_maze, 17),
    "arc": (fuzz_arc, 7),
    "folder": (fuzz_folder, 35),
}
REASONS_OF_FEW = {"sudoku": 15, "forms": 8, "npy": 6, "grid": 5, "maze": 12, "arc": 6, "folder": 22}


@pytest.fixture
def fast(tmp_path):
    """A directory in memory where there is one: tens of thousands of files are written."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.mark.parametrize("name", FUZZERS)
def test_a_few_spoilt_files(name, fast, counted):
    judge_all(name, fast, FEW, counted)


@pytest.mark.hostile
@pytest.mark.parametrize("name", FUZZERS)
def test_spoilt_files_are_refused_in_one_line_or_read_for_what_they_are(name, fast, counted):
    judge_all(name, fast, range(FEW.stop, CASES[name]), counted)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUZZERS)
def test_more_spoilt_files(name, fast, counted):
    judge_all(name, fast, MORE, counted)


def judge_all(name: str, directory: Path, cases: range, counted: Callable) -> None:
    fuzzer, reasons = FUZZERS[name]
    tally = fuzzer(directory, cases)
    tally.assert_varied(REASONS_OF_FEW[name] if cases == FEW else reasons)
    counted(f"spoilt files, {name}: refused in one line", tally.reasons.total())
    counted(f"spoilt files, {name}: read for what they are", tally.read)


# Through the tasks: what they do with files that the readers accept


TASKS = {
    "sudoku": tiny.SUDOKU | {"side": 4},
    "maze": tiny.MAZE | {"side": 5, "wall": 0.3, "min_path": 4},
    "arc": {"canvas": 8, "copies": 3, "translate": True, "bad": "refuse"},
}


def options(name: str, train: int | None, test: int | None, **changes) -> dict:
    counts = {"train_puzzles": train, "test_puzzles": test} | (
        {} if name == "arc" else {"valid_puzzles": 2}
    )
    return (
        TASKS[name]
        | {"name": name, "seed": 0, "source": "generate", "augment": True}
        | counts
        | changes
    )


def use(task: Task, splits: dict[str, Puzzles]) -> None:
    """All that training and evaluation ask of a task."""
    rng = fuzz.generator(0)
    for part in splits.values():
        rows = part.rows()
        if len(part):
            task.augment(rows, rng.integers(0, part.copies, len(part)), rng)
            task.check(rows.inputs, rows.labels)
            task.blanks(rows.inputs)
    if isinstance(task, ARC):
        rows, where = task.views("test", 3)
        vote(task, where, rows.labels, np.zeros(len(where)))


@pytest.mark.parametrize("cases", [range(100), hostile(range(100, 400))], ids=["100", "300 more"])
@pytest.mark.parametrize("name", TASKS)
def test_a_task_refuses_a_spoilt_data_set_or_works_with_it(name, cases, fast):
    root = fast / "made"
    build(options(name, 6, 4), root)
    good = {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
    config = options(name, None, None, source=str(root))
    worked = 0
    for case in cases:
        rng = fuzz.generator(5, case)
        file = fuzz.pick(rng, sorted(good))
        content = spoilt_file(rng, file, good[file])
        (root / file).write_bytes(b"" if content is None else content)
        try:
            use(*load_task(config))
            worked += 1
        except UserError as error:
            assert len(str(error)) < len(str(root)) + 500  # noqa: PT017
        (root / file).write_bytes(good[file])
    assert 0.1 * len(cases) < worked < 0.9 * len(cases)


@pytest.mark.parametrize(
    "shape", ["(True, 6)", "(1, True)", "(1.0, 6)", "[1, 6]", "(-1, -6)", "(6,)", "(1, 6, 1)"]
)
def test_a_shape_is_whole_numbers_in_two_dimensions(shape, tmp_path):
    """Sizes that agree with the file, which a fuzzer seldom hits."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    cells = 1 if "True)" in shape else 6
    (tmp_path / "a.npy").write_bytes(
        fuzz.with_header(fuzz.npy_bytes(np.zeros(cells, np.uint8)), header)
    )
    with pytest.raises(UserError, match=r"a\.npy: "):
        read_npy(tmp_path / "a.npy", np.uint8, 2)


# What is no file, and what would take more memory than there is


def test_what_is_no_plain_file_is_neither_waited_for_nor_read(tmp_path):
    (tmp_path / "arc").mkdir()
    for kind in ("pipe", "endless", "directory"):
        path = tmp_path / "arc" / "task.json"
        make_special(path, kind)
        with pytest.raises(UserError, match=r"not a file|leads out of|no \*.json in it"):
            arc_read.read_source(str(path.parent))
        path.rmdir() if kind == "directory" else path.unlink()


@pytest.mark.parametrize("kind", ["pipe", "endless", "directory", "away"])
@pytest.mark.parametrize(
    "name", ["train/all__labels.npy", "train/dataset.json", "identifiers.json", "tinyreason.json"]
)
def test_a_data_set_holds_plain_files(name, kind, tmp_path):
    root = tmp_path / "made"
    content = built(root, "train")[name]
    (root / name).unlink()
    (tmp_path / "elsewhere").write_bytes(content)
    make_special(root / name, kind)
    with pytest.raises(UserError) as refused:
        folder.read(root)
    assert str(refused.value).startswith(str(root))


def make_special(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(
            "/dev/zero"
            if kind == "endless"
            else path.parents[1 + (path.parent.name == "train")] / "elsewhere"
        )


def test_a_split_that_is_a_link_out_of_its_folder_is_refused(tmp_path):
    built(tmp_path / "made", "train", "test")
    (tmp_path / "made" / "test").rename(tmp_path / "test")
    (tmp_path / "made" / "test").symlink_to(tmp_path / "test")
    with pytest.raises(UserError, match="test: a link that leads out of"):
        folder.read(tmp_path / "made")


def test_links_within_a_folder_and_in_the_cache_of_the_hub_are_followed(tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    files = built(snapshot, "train")
    blobs.mkdir()
    for number, name in enumerate(files):
        (snapshot / name).rename(blobs / str(number))
        (snapshot / name).symlink_to(os.path.relpath(blobs / str(number), (snapshot / name).parent))
    assert folder_of(folder.read(snapshot)) == oracle.folder(files)


def write_heavy(directory: Path) -> None:
    """Small or sparse files that ask for much memory."""
    size = arc_read.MAX_JSON
    texts = {
        "lists.json": b"[" + b"[[]]," * (size // 5 - 2) + b"0]",
        "objects.json": b"[" + b'{"":0},' * (size // 7 - 2) + b"0]",
        "both.json": b"[" + b'{"":0},' * (size // 20 - 9) + b'"ab",' * (size // 10) + b"0]",
        "strings.json": b"[" + b'"ab",' * (size // 5 - 2) + b"0]",
        "strings.list": b"[" + b'"ab",' * (size // 5 - 2) + b"0]",
        "lines.list": b"[\n" + b'"ab",\n' * (size // 6 - 2) + b"0]",
        "lists.list": b"[" + b"[[]]," * (size // 5 - 2) + b"0]",
        "wide.json": b'["' + "😀".encode() + b"a" * (size - 20) + b'"]',
        "deep.json": b"[" * (size // 20),
        "columns.csv": b"question,answer" + b"," * 99_000 + b"\n" + (b"," * 99_000 + b"\n") * 20,
        "field.csv": b'question,answer\n"' + (b"x" * 90_000 + b"\n") * 50,
        "nothing.csv.gz": gzip.compress(bytes(300 << 20), 1),
        "lines.csv.gz": gzip.compress(b"question,answer\n" + b"\n" * (300 << 20), 1),
        "sparse.csv": b"",
        "sparse.json": b"",
    }
    for name, content in texts.items():
        (directory / name).write_bytes(content)
        if not content:
            os.truncate(directory / name, 3 << 30)
    built(directory / "set", "train")
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 6), }"
    path = directory / "set" / "train" / "all__inputs.npy"
    path.write_bytes(fuzz.with_header(fuzz.npy_bytes(np.zeros(0, np.uint8)), header))
    os.truncate(path, path.stat().st_size + 6 * 10**9)


def peak() -> int:
    """Bytes, of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (
        0 if sys.platform == "darwin" else 10
    )


def measure(directory: Path) -> None:
    """Read what `write_heavy` wrote and some spoilt files; print what that took, in bytes."""
    before = peak()
    readers = {".json": lambda path: arc_read.read_source([str(path)] * 4), "": folder.read}
    for path in sorted(directory.iterdir()):
        try:
            readers.get(path.suffix, lambda path: read_sudokus(path, 9))(path)
        except UserError as error:
            print(f"{peak() - before:,} bytes after {error}", file=sys.stderr)
        else:
            raise AssertionError(f"{path} was read")
    for name, (fuzzer, _) in FUZZERS.items():
        (directory / name).mkdir()
        fuzzer(directory / name, range(200))
    print(peak() - before)
    assert len(np.ones(MOST_MEMORY, np.uint8)) <= peak() - before, (
        "the meter does not show what is taken"
    )


@pytest.mark.hostile
def test_no_file_makes_the_readers_take_much_memory(tmp_path, counted):
    write_heavy(tmp_path)
    # by way of a shell: a process counts as its own peak what the one that started it had
    command = [
        "sh",
        "-c",
        '"$0" "$@"; exit $?',
        sys.executable,
        "-m",
        "tests.test_fuzz",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MOST_MEMORY, done.stderr
    counted("MiB at most while reading the heaviest files", int(done.stdout) >> 20)


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
