"""ARC as people keep it: lists of pairs, cells as strings, folders of concepts, Kaggle's folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.arc import ARC
from data.arc_read import read_source
from tests.test_arc import OTHER, PAIR, TASK, WHOLE, write
from tinyreason.errors import UserError

CASES = Path(__file__).parents[2] / "shared" / "cases" / "arc"
needs_cases = pytest.mark.skipif(
    not CASES.is_dir(), reason="shared/cases is not beside the checkout"
)
HIDDEN = {"train": [PAIR], "test": [{"input": [[3]]}]}


def loaded(source, **options) -> ARC:
    task = ARC(source=source, **WHOLE | {"canvas": None} | options)
    task.load(0)
    return task


def counts(task: ARC) -> dict[str, int]:
    return {name: len(part) for name, part in task.splits.items()}


def test_a_list_of_pairs_is_a_training_task(tmp_path):
    write(tmp_path / "r.json", [PAIR, OTHER, PAIR])
    task = loaded(str(tmp_path))
    assert counts(task) == {"train": 3, "valid": 0, "test": 0}
    assert any("[this,that] evaluates on those of that" in note for note in task.notes)
    write(tmp_path / "x" / "evaluation" / "r.json", [PAIR])
    with pytest.raises(UserError, match="r is a list of pairs, none of them a test"):
        loaded(str(tmp_path / "x"))


def test_cells_as_strings_and_null_for_zero(tmp_path):
    text = {"train": [{"input": [["7", 0]], "output": [[None, "7"]]}], "test": [PAIR]}
    write(tmp_path / "m.json", text)
    (task,) = read_source(str(tmp_path))[1]
    assert [grid.tolist() for grid in task.demonstrations[0]] == [[[7, 0]], [[0, 7]]]
    write(tmp_path / "m.json", {"train": [{"input": [[7]], "output": [[None]]}], "test": [PAIR]})
    with pytest.raises(UserError, match="train 0 output: row 0 has a cell 'None'"):
        read_source(str(tmp_path))


def test_whole_floats_are_cells_and_others_are_not(tmp_path):
    write(tmp_path / "m.json", {"train": [{"input": [[7.0]], "output": [[1]]}], "test": [PAIR]})
    (task,) = read_source(str(tmp_path))[1]
    assert task.demonstrations[0][0].tolist() == [[7]]
    assert task.demonstrations[0][0].dtype == np.uint8


def test_tasks_in_folders_are_named_by_folder_and_file(tmp_path):
    for name in ("a/1", "b/1", "c/d/2"):
        write(tmp_path / f"{name}.json", TASK)
    assert [task.id for task in read_source(str(tmp_path))[1]] == ["a/1", "b/1", "c/d/2"]
    (tmp_path / "a" / "away").symlink_to("/etc")
    with pytest.raises(UserError, match="a link that leads out of"):
        read_source(str(tmp_path))


def test_the_repositorys_layout_is_found_a_level_deeper(tmp_path):
    write(tmp_path / "data" / "training" / "t.json", TASK)
    write(tmp_path / "data" / "evaluation" / "e.json", TASK)
    train, test = read_source(str(tmp_path))
    assert ([task.id for task in train], [task.id for task in test]) == (["t"], ["e"])


def test_kaggles_folder_as_it_is_unpacked(tmp_path):
    for name, tasks in (("training", {"t": HIDDEN}), ("evaluation", {"e": HIDDEN})):
        write(tmp_path / f"arc-agi_{name}_challenges.json", tasks)
        write(tmp_path / f"arc-agi_{name}_solutions.json", {key: [[[4]]] for key in tasks})
    test = tmp_path / "arc-agi_test_challenges.json"
    write(test, {"h": HIDDEN})
    write(tmp_path / "sample_submission.json", {"h": [{"attempt_1": [[0]], "attempt_2": [[0]]}]})
    task = loaded(str(tmp_path))
    assert counts(task) == {"train": 3, "valid": 0, "test": 1}
    assert f"task.source=[{tmp_path},{test}]" in task.notes[0]
    hidden = loaded([str(tmp_path), str(test)])
    assert not hidden.splits["test"].labels.any()
    assert "1 to evaluate (1 test inputs, 0 with an answer)" in " ".join(hidden.notes)


@pytest.mark.parametrize("rows", [31, 40])
def test_a_grid_that_is_too_large_is_refused_or_its_task_is_left_out(tmp_path, rows):
    write(tmp_path / "training" / "wide.json", TASK | {"train": [PAIR | {"output": [[1]] * rows}]})
    write(tmp_path / "training" / "good.json", TASK)
    write(tmp_path / "evaluation" / "e.json", TASK)
    told = f"wide/train 0 output: {rows} rows, more than 30 .task.bad=skip leaves such tasks out"
    with pytest.raises(UserError, match=told):
        loaded(str(tmp_path))
    task = loaded(str(tmp_path), bad="skip")
    assert task.names == ["good", "e"]
    assert "1 tasks are left out: " in task.notes[0]


def test_a_task_that_does_not_fit_the_canvas_is_left_out_before_the_first_are_taken(tmp_path):
    write(tmp_path / "a.json", TASK | {"train": [PAIR | {"output": [[1]] * 20}]})
    write(tmp_path / "b.json", TASK)
    options = {"canvas": 10, "train_puzzles": 0, "test_puzzles": 1, "bad": "skip"}
    assert loaded(str(tmp_path), **options).names == ["b"]


def test_the_canvas_is_the_largest_side(tmp_path):
    write(tmp_path / "a.json", TASK | {"train": [PAIR | {"output": [[1]] * 17}]})
    assert loaded(str(tmp_path)).facts.grid == (17, 17)


@needs_cases
def test_the_cases_of_others_are_read_as_they_are():
    found = {
        name: loaded(str(CASES / name))
        for name in ("list_of_examples", "cells_as_strings", "in_folders", "kaggle_folder")
    }
    assert counts(found["list_of_examples"])["train"] == 60
    assert counts(found["cells_as_strings"]) == {"train": 9, "valid": 0, "test": 3}
    assert counts(found["in_folders"]) == {"train": 12, "valid": 0, "test": 4}
    kaggle = found["kaggle_folder"]
    assert len(kaggle.names) == 7
    assert kaggle.splits["test"].labels.any(1).all()
    assert counts(loaded(str(CASES / "one_grid_of_31_rows"), bad="skip"))["test"] == 1
    assert json.loads((CASES / "kaggle_folder" / "sample_submission.json").read_text())
