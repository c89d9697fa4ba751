"""ARC and tasks without rules, shown and served: tiny runs from end to end."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import train
from eval.load import open_run
from eval.serve.answers import UNKNOWN, Answers
from eval.show import puzzle as puzzles
from eval.show.animation import gif
from eval.show.page import document
from eval.show.trace import as_read, trace
from tests import tiny
from tests.test_arc import write
from tests.test_serve import serving
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts
from tinyreason.rules import Notation, make_rules

QUICK = ("scale=small", "model.width=16", "model.heads=2", "steps=6", "batch=4", "save_every=3")
QUICK += ("halting.segments=2", "eval.batch=8", "ema=0.5", "optim.warmup=1", "device=cpu")
OTHER = {"input": [[1, 0, 0], [0, 2, 0]], "output": [[0, 0, 1], [0, 2, 0]]}
TASK = {"train": [{"input": [[3, 0]], "output": [[0, 3]]}, OTHER], "test": [OTHER]}
WORDS = ("task=arc", "task.canvas=6", "task.copies=2", "task.translate=false")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """Runs of ARC tasks and of a grid of any alphabet."""
    root, before = tmp_path_factory.mktemp("work"), Path.cwd()
    os.chdir(root)
    try:
        for name in ("mirror", "other"):
            write(root / "tasks" / f"{name}.json", TASK)
        train.train(tiny.config(*WORDS, *QUICK, "task.source=tasks", "name=arc"))
        rows = [f"{''.join(q)},{''.join(reversed(q))}" for q in ("abcd", "bcda", "cdab", "aabb")]
        (root / "grid.csv").write_text("\n".join(["question,answer", *rows * 3]))
        grid = ("task=grid", "task.source=grid.csv", "task.bad=skip")
        train.train(tiny.config(*grid, *QUICK, "name=grid"))
        yield root
    finally:
        os.chdir(before)


def test_an_arc_example_is_shown(place):
    trained = open_run("runs/arc")
    shown = puzzles.numbered(trained, "test", 1, None, {}, "own")
    found = trace(trained, trained.solver(3), shown.rules, shown.rows)
    assert found["task"]["rules"] == "arc"
    assert found["truth"] is not None
    assert len(gif(found, shown.rules)) > 1000
    assert "<svg" not in document(found)  # drawn by its script
    trained = open_run("runs/arc")
    file = puzzles.asked(trained, "tasks/other.json", None, {}, "own")
    assert np.array_equal(file.rows.inputs, shown.rows.inputs)
    with pytest.raises(UserError, match="index=5"):
        puzzles.asked(open_run("runs/arc"), "tasks/other.json", 5, {}, "own")


def test_colours_beside_an_arc_grid_are_no_part_of_it():
    """4 x 4: the largest rectangle of colours at the top left is 2 x 2."""
    rules = make_rules(Facts(12, (4, 4)), Notation("arc", "", False))
    answer = np.array([[2, 3, 1, 0], [4, 5, 1, 7], [1, 1, 0, 0], [6, 0, 0, 8]], np.uint8)
    read = as_read(rules, answer.reshape(1, -1)).reshape(4, 4)
    assert read.tolist() == [[2, 3, 1, 0], [4, 5, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]


def test_a_grid_of_any_alphabet_is_shown(place):
    trained = open_run("runs/grid")
    shown = puzzles.asked(trained, "dcba", None, {}, "own")
    found = trace(trained, trained.solver(2), shown.rules, shown.rows)
    assert found["truth"] is None
    assert found["steps"][0]["checks"] == {}
    assert gif(found, shown.rules)
    json.dumps(found, allow_nan=False)


def test_a_pasted_task_is_answered_as_the_one_of_its_name(place):
    """Without a change to the model that the next visitor asks."""
    known = open_run("runs/arc")
    shown = puzzles.numbered(known, "test", 0, None, {}, "own")
    expected = trace(known, known.solver(2), shown.rules, shown.rows)
    trained = open_run("runs/arc")
    before = trained.model.encoder.puzzles.table.clone()
    answers = Answers(trained)
    assert answers.about()["names"] == ["mirror", "other", UNKNOWN]
    question = {"puzzle": TASK, "segments": 2, "name": "mirror"}
    with serving(answers) as client:
        first = client.post("/solve", question).json()
        others = [
            client.post("/solve", question | {"name": name}).json() for name in ("other", UNKNOWN)
        ]
        alone = client.post("/solve", question | {"puzzle": OTHER["input"]}).json()
        named = client.post("/solve", question | {"puzzle": {"mirror": TASK}}).json()
        assert client.post("/solve", question).json() == first
        example = client.post("/new", {}).json()
        assert example["puzzle"] == TASK
        assert example["name"] in ("mirror", "other")
    assert [step["answer"] for step in first["steps"]] == [s["answer"] for s in expected["steps"]]
    assert first["steps"][-1]["sure"] == expected["steps"][-1]["sure"]
    assert named["steps"] == first["steps"]
    assert alone["truth"] is None
    sure = [one["steps"][-1]["sure"] for one in (first, *others)]
    assert sure[0] != sure[1] != sure[2]
    after = trained.model.encoder.puzzles.table
    assert (after[:-1] == before).all()
    assert np.allclose(after[-1], before[1:].mean(0))


BAD = [
    ({"puzzle": {}}, "a task is"),
    ({"puzzle": {"test": []}}, "a task is"),
    ({"puzzle": {"test": [3]}}, "1 test pairs"),
    ({"puzzle": TASK, "pair": 1}, "1 test pairs"),
    ({"puzzle": TASK, "pair": -1}, "pair must be"),
    ({"puzzle": TASK, "name": "nobody"}, "does not know"),
    ({"puzzle": TASK, "name": ["mirror"]}, "does not know"),
    ({"puzzle": [[1] * 7]}, "takes 6 x 6"),
    ({"puzzle": [[12]]}, "from 0 to 9"),
    ({"puzzle": "text"}, "list of rows"),
    ({"puzzle": None}, "list of rows"),
]


def test_what_is_no_task_is_refused_in_a_line(place):
    with serving(Answers(open_run("runs/arc"))) as client:
        for question, told in BAD:
            found = client.post("/solve", {"segments": 1} | question)
            assert found.status_code == 422, question
            assert told in found.json()["error"]
