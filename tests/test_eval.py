"""Evaluation: its arithmetic against hand-made answers, halting against the full run, and the comparison of runs."""

import json

import numpy as np
import pytest
import torch
import yaml

from data.sudoku import Sudoku
from eval import compare
from eval.solve import Attempt, Solver, metrics, solve
from tests import tiny
from tinyreason.errors import UserError
from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.puzzle import Rows
from tinyreason.recursion import Depth

OPTIONS = {"side": 4, "source": "generate", "train_puzzles": 8, "valid_puzzles": 0, "test_puzzles": 7}


@pytest.fixture(scope="module")
def task() -> Sudoku:
    return Sudoku(**OPTIONS, clues=7, min_guesses=0, augment=True)


@pytest.fixture(scope="module")
def splits(task):
    return task.load(0)


def solver(task, halt: bool, batch: int = 3) -> Solver:
    model = tiny.model(task.facts)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.heads.halt.weight, std=3.0)  # so that puzzles halt at different segments
    torch.nn.init.zeros_(model.heads.halt.bias)
    return Solver(model, Depth(4, 1), make_halting(HaltingConfig("correctness", 6, 0.0)), 6, halt, batch, tiny.CPU)


def test_metrics_are_what_a_hand_counts(task, splits):
    rows = splits["test"].rows(slice(4))
    right = np.array([True, True, False, True])
    answers = rows.labels.copy()
    blank = np.flatnonzero(rows.inputs[2] == 1)
    answers[2, blank[0]] = 2 + (answers[2, blank[0]] - 1) % 4  # another digit
    exact = np.stack([np.zeros(4, bool), right])
    cells = np.stack([np.zeros(4), (answers == rows.labels).mean(1)]).astype(np.float32)
    wants = np.array([[True, False, False, False], [True, True, False, False]])
    halts = np.array([1.0, 1.0, 1.0, -1.0], np.float32)
    found = metrics(Attempt(answers.T, halts, exact, cells, wants), rows, task)
    assert found["exact_accuracy"] == found["valid_rate"] == 0.75
    assert found["exact_by_segment"] == [0.0, 0.75]
    assert found["cell_accuracy"] == pytest.approx(1 - 1 / 64)
    assert found["blank_accuracy"] == pytest.approx(1 - 1 / (rows.inputs == 1).sum())
    assert found["halting_accuracy"] == 0.5  # wrong about the third, that it is right, and about the fourth
    assert found["segments_to_halt"] == (1 + 2 + 2 + 2) / 4
    assert found["solved"] == "1101"
    assert (found["exact_low"], found["exact_high"]) == pytest.approx((0.3006, 0.9544), abs=1e-4)  # Wilson, 3 of 4


def test_puzzles_without_an_answer_are_not_counted(task, splits):
    rows = splits["test"].rows(slice(2))
    unknown = Rows(rows.inputs, np.zeros_like(rows.labels), rows.puzzle_ids)
    attempt = Attempt(rows.labels.T, np.zeros(2), np.ones((1, 2), bool), np.ones((1, 2)), np.ones((1, 2), bool))
    assert metrics(attempt, unknown, task) == {"puzzles": 0}


def test_halting_takes_the_answer_at_the_segment_where_the_head_first_wants_to(task, splits):
    rows = splits["test"].rows()
    full, halted = (solver(task, halt)(rows, task.facts) for halt in (False, True))
    first = np.where(full.wants.any(0), full.wants.argmax(0), 5)
    assert len(set(first)) > 1, "the test needs puzzles that halt at different segments"
    assert (halted.wants.argmax(0)[full.wants.any(0)] == first[full.wants.any(0)]).all()
    for n, k in enumerate(first):
        assert halted.cells[-1, n] == full.cells[k, n]
        assert halted.exact[-1, n] == full.exact[k, n]


def test_the_size_of_a_batch_changes_nothing(task, splits):
    one, many = (solve(solver(task, False, batch), task, splits["test"], "test") for batch in (2, 7))
    assert one == many


def test_votes_are_refused_where_there_is_nothing_to_vote_on(task, splits):
    with pytest.raises(UserError, match="votes are for"):
        solve(solver(task, False), task, splits["test"], "test", votes=3)


# ---- comparison


def write_run(folder, solved: str, seed: int, gradient: str, puzzles: str = "same"):
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed": seed, "batch": 2, "model": {"gradient": gradient}}))
    test = {"puzzles": len(solved), "solved": solved, "puzzles_sha256": puzzles}
    test["exact_accuracy"] = solved.count("1") / len(solved)
    result = {"finished": True, "test": test, "segments": 10, "seconds": 1.0, "parameters": 5}
    (folder / "result.json").write_text(json.dumps(result))
    line = {"kind": "eval", "split": "valid", "step": 3, "seconds": 0.5, "exact_accuracy": 0.5}
    (folder / "log.jsonl").write_text(json.dumps(line) + "\n")
    return folder


def test_arms_pair_by_seed_and_mcnemar_is_exact(tmp_path, capsys):
    runs = [
        write_run(tmp_path / "a0", "1111111100", 0, "full"),
        write_run(tmp_path / "a1", "1111100000", 1, "full"),
        write_run(tmp_path / "b0", "1100000000", 0, "one_step"),
    ]
    report = compare.compare(runs, "model.gradient", None)
    full = report["arms"]["model.gradient=full"]
    assert (full["runs"], full["exact_mean"]) == (2, pytest.approx(0.65))
    assert full["exact_sd"] == pytest.approx(0.15 * 2**0.5)
    (pair,) = report["mcnemar"]
    assert (pair["a"], pair["b"], pair["only_a"], pair["only_b"]) == ("a0", "b0", 6, 0)
    assert pair["p"] == pytest.approx(2 * 0.5**6)
    assert report["curves"]["model.gradient=one_step"][0]["segments"] == [6]
    assert "| model.gradient=full | 2 | 65.0% | 21.2% |" in capsys.readouterr().out


def test_different_test_puzzles_are_not_paired(tmp_path):
    runs = [write_run(tmp_path / "a", "10", 0, "full"), write_run(tmp_path / "b", "10", 0, "one_step", "other")]
    with pytest.raises(UserError, match="different puzzles"):
        compare.compare(runs, "model.gradient", None)


def test_pictures_and_numbers_are_written(tmp_path):
    pytest.importorskip("matplotlib", reason="the picture needs the viz extra")
    compare.main([str(write_run(tmp_path / "a", "10", 0, "full")), f"out={tmp_path / 'out'}"])
    assert (tmp_path / "out" / "compare.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["arms"]["a"]["runs"] == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [([], "no runs"), (["x", "colour=red"], "colour"), (["nowhere"], "is not a run"), (["--help"], "no runs")],
)
def test_bad_words_of_compare(words, says):
    with pytest.raises(UserError, match=says):
        compare.main(words)


def test_damaged_and_unfinished_runs_are_named(tmp_path):
    run = write_run(tmp_path / "a", "10", 0, "full")
    (run / "result.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        compare.main([str(run)])
    (run / "result.json").write_text(json.dumps({"finished": False, "test": {"puzzles": 2}}))
    with pytest.raises(UserError, match="not finished"):
        compare.main([str(run)])
