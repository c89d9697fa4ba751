"""A task of one's own: a table of two columns of any characters, or a folder of any vocabulary."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import train
from data import dataset as folder
from data.grid import Grid
from eval.load import open_run, puzzles_for
from tests import tiny
from tests.test_table import refusal, written
from tinyreason.puzzle import Facts, Puzzles

WORDS = ["abcd", "bcda", "cdab", "dabc", "acbd", "bdac", "cadb", "dbca"]
TABLE = "question,answer\n" + "".join(f"{word},{word[::-1]}\n" for word in WORDS)
QUICK = ("scale=small", "model.width=16", "model.heads=2", "steps=3", "batch=2", "device=cpu")
CASES = Path(__file__).parents[2] / "shared" / "cases"


def grid(source, **options) -> Grid:
    return Grid(**{"source": str(source), "columns": None, "bad": "refuse"} | tiny.FILE | options)


def test_two_columns_of_any_alphabet(tmp_path):
    task = grid(written(tmp_path / "a.csv", TABLE))
    splits = task.load(0)
    assert task.facts == Facts(vocab_size=5, grid=(2, 2))
    assert task.notation.alphabet == "abcd"
    assert {name: len(part) for name, part in splits.items()} == {"train": 7, "valid": 0, "test": 1}
    for part in splits.values():
        assert (part.labels == part.inputs[:, ::-1]).all()
    assert task.check(splits["train"].inputs, splits["train"].labels) == {}
    assert (
        "8 examples of 2 x 2 cells (columns question -> answer, characters 'abcd')" in task.notes[0]
    )


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("abc,cba", "question has 3 characters, not 4"),
        ("abdc,cda", "answer has 3 characters, not 4"),
        ("abdc,", "the answer is empty"),
    ],
)
def test_a_row_that_is_no_example_is_refused_or_left_out(tmp_path, row, why):
    path = written(tmp_path / "a.csv", f"{TABLE}{row}\n")
    line = refusal(grid(path).load, 0)
    assert line.startswith(f"{path}:10: ")
    assert why in line
    task = grid(path, bad="skip")
    assert sum(map(len, task.load(0).values())) == 8


def test_there_is_nothing_to_compute_answers_with(tmp_path):
    path = written(tmp_path / "a.csv", "question\nabcd\nbcda\n")
    assert "no column of answers" in refusal(grid(path).load, 0)
    for source in (None, "generate"):
        with pytest.raises(Exception, match="a file or a folder"):
            Grid(**{"source": source, "columns": None, "bad": "refuse"} | tiny.FILE)


def reversed_folder(path: Path) -> Path:
    tokens = np.random.default_rng(0).integers(0, 8, (12, 25)).astype(np.uint8)
    parts = {"train": tokens[:8], "test": tokens[8:]}
    splits = {k: Puzzles.single(v, v[:, ::-1].copy()) for k, v in parts.items()}
    folder.write(path, splits, Facts(vocab_size=8, grid=(5, 5)), ["<blank>"])
    return path


def test_a_folder_of_any_vocabulary(tmp_path):
    task = grid(reversed_folder(tmp_path / "made"))
    splits = task.load(0)
    assert {name: len(part) for name, part in splits.items()} == {"train": 8, "valid": 0, "test": 4}
    assert task.facts.vocab_size == 8
    row = splits["train"].inputs[0]
    assert task.rules.text(row, row) == " ".join(map(str, row))


@pytest.mark.parametrize("kind", ["table", "folder"])
def test_it_trains_is_scored_and_answers(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    if kind == "table":
        source = written(tmp_path / "a.csv", TABLE)
    else:
        source = reversed_folder(tmp_path / "made")
    train.train(tiny.config("task=grid", f"task.source={source}", *QUICK, "name=x"))
    run = open_run("runs/x")
    puzzle = "dcba" if kind == "table" else " ".join("01234567"[i % 8] for i in range(25))
    assert len(run.solve(puzzle)) == 1
    examined = puzzles_for(run, "test", str(source))
    assert len(examined.puzzles) == (8 if kind == "table" else 4)
    if kind == "table":
        assert examined.trained_on.sum() == 7
        other = written(tmp_path / "b.csv", "question,answer\nabcx,xcba\n")
        assert "'x' at character 4, which the model has not seen" in refusal(
            puzzles_for, run, "test", str(other)
        )


@pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not beside the checkout")
def test_the_folder_of_others_is_read_as_it_is(tmp_path):
    place = shutil.copytree(CASES / "folder_of_another_task", tmp_path / "x")
    splits = grid(place).load(0)
    assert [len(splits[name]) for name in ("train", "test")] == [8, 4]
    assert all((part.labels == part.inputs[:, ::-1]).all() for part in splits.values())
