"""The Sudoku task: its facts, splits, checks and augmentation, files good and bad, and the bank."""

import gzip
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from data import sudoku_symmetry as symmetry
from data.make_bank import bank
from data.sudoku import BANK, Sudoku
from data.sudoku_generate import distinct
from data.sudoku_solve import count_solutions
from tests.tiny import read_sudokus as read
from tests.tiny import sudoku
from tests.tiny import sudoku_texts as decode
from tinyreason.errors import UserError
from tinyreason.puzzle import Puzzles, Rows

HEADER = "source,question,answer,rating"
QUESTION, ANSWER = "12.....2.1..4...", "1234341221434321"


def random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def augmented(task: Sudoku, puzzles: Puzzles) -> Rows:
    return task.augment(puzzles.rows(), np.zeros(len(puzzles), np.int64), random(0))


def keys(puzzles: Puzzles, side: int) -> set[int]:
    return set(symmetry.key(puzzles.inputs, puzzles.labels, side).tolist())


def same(a: Puzzles, b: Puzzles) -> bool:
    return np.array_equal(a.inputs, b.inputs) and np.array_equal(a.labels, b.labels)


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def write_puzzles(path: Path, inputs: np.ndarray, labels: np.ndarray) -> Path:
    return write(
        path, *(f"own,{q},{a},0" for q, a in zip(decode(inputs), decode(labels), strict=True))
    )


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray]:
    """40 puzzles of side 6, no two symmetric."""
    return distinct(6, 40, None, 0, random(1), set())


# What a task promises


@pytest.mark.parametrize(
    ("side", "clues", "box"), [(4, 7, (2, 2)), (6, None, (2, 3)), (9, 36, (3, 3))]
)
def test_generated_splits(side: int, clues: int | None, box: tuple[int, int]):
    task = sudoku(side=side, clues=clues)
    facts, splits = task.facts, task.load(0)
    assert (facts.vocab_size, facts.grid, facts.box, facts.ignore_label_id) == (
        side + 2,
        (side, side),
        box,
        0,
    )
    assert {name: len(puzzles) for name, puzzles in splits.items()} == {
        "train": 60,
        "valid": 10,
        "test": 30,
    }
    assert len(set().union(*(keys(puzzles, side) for puzzles in splits.values()))) == 100
    for puzzles in splits.values():
        assert puzzles.inputs.dtype == puzzles.labels.dtype == np.uint8
        assert task.check(puzzles.inputs, puzzles.labels)["valid"].all()
    assert {count_solutions(side, row) for row in (splits["test"].inputs - 1).tolist()} == {1}


def test_seeds():
    few = {"train_puzzles": 20, "test_puzzles": 20}
    first, again, other = sudoku(**few).load(0), sudoku(**few).load(0), sudoku(**few).load(1)
    assert all(same(first[name], again[name]) for name in first)
    assert not any(same(first[name], other[name]) for name in first)
    more = sudoku(train_puzzles=30, test_puzzles=20).load(0)
    assert same(first["test"], more["test"])


def test_augment_moves_input_and_label_alike():
    task = sudoku()
    train = task.load(0)["train"]
    rows = augmented(task, train)
    assert task.check(rows.inputs, rows.labels)["valid"].all()
    assert (rows.inputs != train.inputs).any(1).mean() > 0.9
    assert (
        symmetry.key(rows.inputs, rows.labels, 6).tolist()
        == symmetry.key(train.inputs, train.labels, 6).tolist()
    )
    still = augmented(sudoku(augment=False), train)
    assert (still.inputs == train.inputs).all()


def test_check():
    task = sudoku()
    test = task.load(0)["test"]
    inputs, labels = test.inputs, test.labels.astype(np.int64)

    def wrong(cells: np.ndarray, value: np.ndarray | int) -> bool:
        answers = np.where(cells, value, labels)
        return not task.check(inputs, answers)["valid"].any()

    first = np.arange(36) == (inputs == 1).argmax(1)[:, None]
    assert task.check(inputs, labels)["valid"].all()
    assert all(wrong(first, value) for value in (0, 1, 8, -1, 255))
    assert wrong(first, labels % 6 + 2)
    assert wrong(np.ones_like(first), (labels - 1) % 6 + 2)  # legal, but the givens are gone
    assert (task.blanks(inputs) == (inputs == 1)).all()


def test_check_takes_any_solution():
    """Of a puzzle with several, each is valid."""
    task, b = sudoku(side=4), np.ones((1, 16), np.uint8)
    for answer in ("1234341221434321", "1234341243212143"):
        assert task.check(b, np.array([[int(c) + 1 for c in answer]]))["valid"].all()
    assert not task.check(b, np.array([[int(c) + 1 for c in "1234123412341234"]]))["valid"].any()


def test_guesses_are_kept_and_named():
    task = sudoku(side=9, train_puzzles=3, valid_puzzles=0, test_puzzles=1, min_guesses=1)
    splits = task.load(0)
    assert task.guesses(splits["train"].inputs).min() >= 1
    assert "not tdoku's" in task.notes[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"side": 5}, "task.side=5"),
        ({"side": "9"}, "task.side=9"),
        ({"clues": 7}, "task.clues=7"),
        ({"clues": 37}, "task.clues=37"),
        ({"min_guesses": -1}, "task.min_guesses=-1"),
        ({"augment": "yes"}, "task.augment=yes"),
        ({"train_puzzles": 0}, "task.train_puzzles=0"),
        ({"test_puzzles": None}, "task.test_puzzles=None"),
        ({"valid_puzzles": 1.5}, "task.valid_puzzles=1.5"),
        ({"source": "bank"}, "task.side=9"),
    ],
)
def test_wrong_options(options: dict, words: str):
    with pytest.raises(UserError, match=words):
        sudoku(**options)


def test_too_few_classes():
    """Side 4 has 36 minimal puzzles."""
    sudoku(side=4, train_puzzles=20, valid_puzzles=0, test_puzzles=10).load(0)
    with pytest.raises(
        UserError, match=r"30 puzzles wanted, 26 found .36 in all splits.*ask for fewer"
    ):
        sudoku(side=4, train_puzzles=30, valid_puzzles=0, test_puzzles=10).load(0)


# Files


def test_two_files(tmp_path: Path, made):
    inputs, labels = made
    source = [write_puzzles(tmp_path / "a.csv", inputs[:30], labels[:30])]
    source.append(write_puzzles(tmp_path / "b.csv", inputs[30:], labels[30:]))
    task = sudoku(source=source, train_puzzles=20, valid_puzzles=6, test_puzzles=None)
    splits = task.load(0)
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [20, 6, 10]
    assert (splits["test"].inputs == inputs[30:]).all()
    assert all(not keys(splits[a], 6) & keys(splits[b], 6) for a, b in combinations(splits, 2))
    assert same(splits["train"], task.load(0)["train"])
    assert not same(splits["train"], task.load(1)["train"])
    everything = sudoku(source=source, train_puzzles=None, valid_puzzles=0, test_puzzles=None)
    everything = everything.load(0)
    assert [len(everything[name]) for name in ("train", "valid", "test")] == [30, 0, 10]
    assert everything["valid"].inputs.shape == (0, 36)
    told = r"train_puzzles=31 \+ task.valid_puzzles=10 = 41, but .*a\.csv has 30"
    with pytest.raises(UserError, match=told):
        sudoku(source=source, train_puzzles=31).load(0)


def test_one_file_and_filters(tmp_path: Path, made):
    source = str(write_puzzles(tmp_path / "a.csv", *made))
    splits = sudoku(source=source, train_puzzles=None, test_puzzles=10).load(0)
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [20, 10, 10]
    assert not keys(splits["train"], 6) & keys(splits["test"], 6)
    few = {"train_puzzles": None, "valid_puzzles": 0, "test_puzzles": 1}
    ten = sudoku(source=source, clues=10, **few).load(0)["train"]
    assert len(ten)
    assert ((ten.inputs > 1).sum(1) == 10).all()


def test_symmetric_rows(tmp_path: Path, made):
    """A training row that comes back in disguise is left out; in the test file it is refused, with
    both rows named.
    """
    inputs, labels = made
    drawn = symmetry.draw(len(inputs), 6, random(2))
    twins = drawn.apply(inputs), drawn.apply(labels)
    train = [
        np.concatenate([inputs[:20], twin[:5]]) for twin, inputs in zip(twins, made, strict=True)
    ]
    source = [
        write_puzzles(tmp_path / "a.csv", *train),
        write_puzzles(tmp_path / "b.csv", inputs[20:], labels[20:]),
    ]
    task = sudoku(source=source, train_puzzles=None, valid_puzzles=0, test_puzzles=None)
    assert len(task.load(0)["train"]) == 20
    assert any("a.csv: 5 rows repeat" in note for note in task.notes)
    leaky = (np.concatenate([own[20:], twin[3:4]]) for own, twin in zip(made, twins, strict=True))
    source[1] = write_puzzles(tmp_path / "b.csv", *leaky)
    few = {"train_puzzles": None, "valid_puzzles": 0, "test_puzzles": None}
    with pytest.raises(UserError, match=r"b\.csv:22: .*a\.csv:5,"):
        sudoku(source=source, **few).load(0)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"own,{QUESTION[:-1]},{ANSWER},0", "question has 15 characters, not 16"),
        (f"own,{QUESTION},{ANSWER}1,0", "answer has 17 characters, not 16"),
        (f"own,{QUESTION[:-1]}5,{ANSWER},0", "question has '5' at character 16"),
        (f"own,{QUESTION[:-1]}x,{ANSWER},0", "question has 'x' at character 16"),
        (f"own,{QUESTION[:-1]}٣,{ANSWER},0", "question has '٣' at character 16"),
        (f"own,{QUESTION[:-1]}？,{ANSWER},0", "question has '？' at character 16"),
        (f"own,{QUESTION},.{ANSWER[1:]},0", "answer has '.' at character 1"),
        (f"own,{QUESTION},0{ANSWER[1:]},0", "answer has '0' at character 1"),
        (f"own,2{QUESTION[1:]},{ANSWER},0", "the answer changes a digit"),
        (f"own,{QUESTION},1244341221434321,0", "the answer repeats a digit"),
        (f"own,{QUESTION},{ANSWER[:-1]}2,0", "the answer repeats a digit"),
        (f"own,{QUESTION}", "2 fields"),
    ],
)
def test_malformed_rows(tmp_path: Path, row: str, words: str):
    path = tmp_path / "a.csv"
    path.write_text("\n".join([HEADER, f"own,{QUESTION},{ANSWER},0", row, ""]), encoding="utf-8")
    with pytest.raises(UserError) as error:
        read(path, 4)
    assert str(error.value).startswith(f"{path}:3: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_blanks_are_dots_or_zeros(tmp_path: Path):
    path = write(
        tmp_path / "a.csv",
        f"own,{QUESTION},{ANSWER},0",
        f"own,{QUESTION.replace('.', '0')},{ANSWER},0",
    )
    inputs = read(path, 4).inputs
    assert decode(inputs) == [QUESTION]  # the other repeats it
    assert inputs[0, :4].tolist() == [2, 3, 1, 1]


# The bank


def test_bank():
    task = sudoku(side=9, source="bank", train_puzzles=1500, valid_puzzles=100, test_puzzles=400)
    splits = task.load(0)
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [1500, 100, 400]
    assert len(set().union(*(keys(puzzles, 9) for puzzles in splits.values()))) == 2000
    assert {count_solutions(9, row) for row in (splits["valid"].inputs - 1).tolist()} == {1}
    assert task.guesses(splits["valid"].inputs).mean() > 2
    given = (splits["train"].inputs > 1).mean(0)
    assert given.max() - given.min() < 0.2  # no canonical form left


def test_bank_is_remade_alike(tmp_path: Path):
    """From its own puzzles: hardest first, all of them, each moved."""
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.decompress(BANK.read_bytes()))
    made = bank(path)
    assert made == bank(path)
    (tmp_path / "b.csv.gz").write_bytes(made)
    old, new = read(path, 9), read(tmp_path / "b.csv.gz", 9)
    assert set(symmetry.key(old.inputs, old.labels, 9)) == set(
        symmetry.key(new.inputs, new.labels, 9)
    )
    assert not set(decode(old.inputs)) & set(decode(new.inputs))
