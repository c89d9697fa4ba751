"""Evaluation: arithmetic against hand-made answers, halting against full runs, comparisons."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from data.registry import load_task
from data.sudoku import Sudoku
from eval import compare
from eval.score import brief, metrics, solve
from tests import tiny
from tinyreason import earlier
from tinyreason.errors import UserError
from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.models import MODELS, State
from tinyreason.models.base import Read
from tinyreason.models.trm import TRM
from tinyreason.noise import Noise
from tinyreason.puzzle import Batch, Rows
from tinyreason.recursion import Depth
from tinyreason.solver import Attempt, Solver

COUNTS = {"train_puzzles": 8, "valid_puzzles": 0, "test_puzzles": 7}


@pytest.fixture(scope="module")
def task() -> Sudoku:
    return tiny.sudoku(side=4, clues=7, **COUNTS)


@pytest.fixture(scope="module")
def splits(task):
    return task.load(0)


class Drawn(TRM):
    """Each puzzle starts at random."""

    def start(self, x: Tensor, noise: Noise) -> State:
        return State(noise.normal(x), noise.normal(x))


def solver(task, halt: bool, batch: int = 3, segments: int = 6) -> Solver:
    model = tiny.model(facts=task.facts)
    torch.manual_seed(1)
    # so that puzzles halt at different segments
    torch.nn.init.normal_(model.heads.halt.weight, std=3.0)
    torch.nn.init.zeros_(model.heads.halt.bias)
    return Solver(
        model=model,
        depth=Depth(4, 1),
        gradient=tiny.gradient("one_step"),
        halting=make_halting(HaltingConfig("correctness", 6, 0.0, 0.5)),
        segments=segments,
        halt=halt,
        batch=batch,
        device=tiny.CPU,
    )


def attempt_of(answers: np.ndarray, *more: np.ndarray) -> Attempt:
    """Without an exit, and a loss of 0."""
    count = len(answers)
    none = np.zeros(count, bool)
    loss, moved, taken = np.zeros(count), np.zeros((count, 1)), np.zeros(count, int)
    return Attempt(answers, *more, loss, moved, none, taken, none)


def sizes_seen(one: Solver) -> list[int]:
    """Filled with the size of every batch that the model gets, in order."""
    encode, sizes = one.model.encode, []

    def counted(batch: Batch) -> Tensor:
        sizes.append(len(batch))
        return encode(batch)

    one.model.encode = counted
    return sizes


def test_metrics_are_what_a_hand_counts(task, splits):
    rows = splits["test"].rows(slice(4))
    right = np.array([True, True, False, True])
    answers = rows.labels.copy()
    blank = np.flatnonzero(rows.inputs[2] == 1)
    answers[2, blank[0]] = 2 + (answers[2, blank[0]] - 1) % 4  # another digit
    exact = np.stack([np.zeros(4, bool), right], 1)
    cells = np.stack([np.zeros(4), (answers == rows.labels).mean(1)], 1).astype(np.float32)
    wants = np.array([[True, True], [False, True], [False, False], [False, False]])
    halts = np.array([1.0, 1.0, 1.0, -1.0], np.float32)
    segments = np.full(4, 2)
    found = metrics(attempt_of(answers, halts, segments, exact, cells, wants), rows, task)
    assert found["exact_accuracy"] == found["valid_rate"] == 0.75
    assert found["exact_by_segment"] == [0.0, 0.75]
    assert found["cell_accuracy"] == pytest.approx(1 - 1 / 64)
    assert found["blank_accuracy"] == pytest.approx(1 - 1 / (rows.inputs == 1).sum())
    assert (
        found["halting_accuracy"] == 0.5
    )  # wrong about the third, that it is right, and about the fourth
    assert found["segments_to_halt"] == (1 + 2 + 2 + 2) / 4
    # the first stops at once, wrong; the second at its second segment, right; no head stops the
    # others
    assert found["exact_when_halted"] == 0.5
    assert (found["halting_precision"], found["halting_recall"]) == (0.5, 0.5)
    assert (found["halted"], found["segments"]) == (0.5, 2.0)
    told = "exact 50.0% when it stops where its head says so, after 1.8 segments"
    assert f"{told} (precision 50.0%, recall 50.0%) (4 puzzles)" in brief(found)
    assert "exact 75.0% [30.1%, 95.4%] after 2 segments" in brief(found)
    assert found["solved"] == "1101"
    assert (found["exact_low"], found["exact_high"]) == pytest.approx(
        (0.3006, 0.9544), abs=1e-4
    )  # Wilson, 3 of 4


def test_puzzles_without_an_answer_are_not_counted(task, splits):
    rows = splits["test"].rows(slice(2))
    unknown = Rows(rows.inputs, np.zeros_like(rows.labels), rows.puzzle_ids)
    each = np.ones((2, 1), bool)
    attempt = attempt_of(rows.labels, np.zeros(2), np.ones(2), each, np.ones((2, 1)), each)
    found = metrics(attempt, unknown, task)
    assert found == {"puzzles": 0, "predicted": 2}
    assert brief(found) == "2 predicted, none can be scored"


def test_a_head_that_never_halts_is_said_to(task, splits):
    rows = splits["test"].rows(slice(2))
    never, right = np.zeros((2, 3), bool), np.ones((2, 3), bool)
    attempt = attempt_of(
        rows.labels, np.full(2, -5.0), np.full(2, 3), right, np.ones((2, 3)), never
    )
    found = metrics(attempt, rows, task)
    assert (found["halting_precision"], found["halting_recall"]) == (None, 0.0)
    assert "its halting head never halts (2 puzzles)" in brief(found)


def test_halting_takes_the_answer_at_the_segment_where_the_head_first_wants_to(task, splits):
    rows = splits["test"].rows()
    full, halted = (solver(task, halt)(rows, task.facts) for halt in (False, True))
    finished = full.wants.any(1)
    first = np.where(finished, full.wants.argmax(1), 5)
    assert len(set(first)) > 1, "the test needs puzzles that halt at different segments"
    assert (halted.wants.argmax(1)[finished] == first[finished]).all()
    for n, k in enumerate(first):
        assert halted.cells[n, -1] == full.cells[n, k]
        assert halted.exact[n, -1] == full.exact[n, k]
        assert (halted.cells[n, : k + 1] == full.cells[n, : k + 1]).all()
        assert halted.wants[n, k:].all() == finished[n]
        until = solver(task, False, segments=int(k) + 1)(rows, task.facts)
        assert (halted.answers[n] == until.answers[n]).all()
        assert halted.halt_logits[n] == pytest.approx(until.halt_logits[n], rel=1e-5)


def test_a_head_is_believed_from_a_confidence_on():
    """sigmoid(2) = 0.88, sigmoid(3) = 0.953; the rule alone says so from 0 on."""
    read = Read(torch.zeros(4, 1, 2), torch.tensor([[-1.0, 0], [1, 0], [2, 0], [3, 0]]))
    one = SimpleNamespace(halting=make_halting(HaltingConfig("correctness", 6, 0.0, 0.5)))
    for confidence, expected in ((None, "0111"), (0.5, "0111"), (0.88, "0011"), (0.95, "0001")):
        one.confidence = confidence
        found = Solver.finished(one, read)
        assert "".join("01"[int(x)] for x in found) == expected
    one.halting = make_halting(HaltingConfig("q_learning", 6, 0.0, 0.5))
    read.halt[3, 1] = 4.0  # to go on is worth more
    assert not Solver.finished(one, read).any()


def test_more_confidence_is_more_segments_and_what_earlier_versions_did_is_none(task, splits):
    rows = splits["test"].rows()
    taken = [
        replace(solver(task, True), confidence=one)(rows, task.facts).segments
        for one in (None, 0.9, 1.0)
    ]
    assert (taken[0] <= taken[1]).all()
    assert (taken[1] <= taken[2]).all()
    assert taken[0].sum() < taken[2].sum() == 6 * len(rows.inputs)
    assert earlier.options({"eval": {"halt": True}})["eval"]["confidence"] is None
    assert tiny.config("task=sudoku").eval.confidence == 0.95


@pytest.mark.parametrize("halt", [False, True])
@pytest.mark.parametrize("model", [TRM, Drawn])
def test_the_size_of_a_batch_changes_nothing(task, splits, monkeypatch, model, halt):
    """Not who is solved beside a puzzle, and not in which slot, also where starts are drawn."""
    monkeypatch.setitem(MODELS, "trm", model)
    rows = splits["test"].rows()
    attempts = [solver(task, halt, batch)(rows, task.facts) for batch in (1, 2, 3, 7, 50)]
    found = [metrics(attempt, rows, task) for attempt in attempts]
    assert all(one == found[0] for one in found[1:])
    for one in attempts[1:]:
        assert (one.answers == attempts[0].answers).all()
        assert (one.wants == attempts[0].wants).all()
        np.testing.assert_allclose(one.halt_logits, attempts[0].halt_logits, rtol=1e-4, atol=1e-4)
    assert len(np.unique(attempts[0].halt_logits)) == len(rows.inputs)


@pytest.mark.parametrize("batch", [2, 3, 7, 50])
def test_the_model_sees_one_size_of_batch_although_puzzles_leave_early(task, splits, batch):
    """A free slot takes the next puzzle; in the end it repeats one, which nobody looks at."""
    rows, calls = splits["test"].rows(), {}
    for halt in (False, True):
        one = solver(task, halt, batch)
        sizes = sizes_seen(one)
        one(rows, task.facts)
        assert set(sizes) == {min(batch, len(rows.inputs))}
        calls[halt] = len(sizes)
        assert one.model.training
    assert calls[True] < calls[False] or batch >= len(rows.inputs)


def test_a_drawn_start_does_not_depend_on_how_many_segments_are_asked_for(
    task, splits, monkeypatch
):
    model = tiny.model("huginn", task.facts)
    rows, gradient = splits["test"].rows(), tiny.gradient("bptt")
    rule, found = make_halting(HaltingConfig("fixed", 3, 0.0, 0.5)), []
    monkeypatch.setattr(Solver, "record", lambda *given: found.append(given[4].logits))
    options = {"halting": rule, "halt": False, "batch": len(rows.inputs), "device": tiny.CPU}
    for segments in (1, 3):
        solver = Solver(model, Depth(4, 1), gradient, segments=segments, **options)
        solver(rows, task.facts)
    one, three, again, _ = found
    assert torch.equal(one, three)
    assert not torch.equal(three, again)


def test_votes_are_refused_where_there_is_nothing_to_vote_on(task, splits):
    with pytest.raises(UserError, match="votes are for"):
        solve(solver(task, False), task, splits["test"], "test", votes=3)


def test_votes_judge_each_task_as_it_is_and_count_all_of_its_views():
    words = (f"task.{key}" for key in ("canvas=6", "train_puzzles=2", "test_puzzles=2", "copies=4"))
    task, splits = load_task(tiny.config("task=arc", "scale=small", *words).task)
    one = solver(task, False, batch=4)
    plain = solve(one, task, splits["test"], "test")
    voted = solve(one, task, splits["test"], "test", votes=3)
    assert plain["puzzles"] == len(splits["test"]) < len(task.views("test", 3)[0].inputs)
    assert {key: voted[key] for key in plain} == plain
    assert voted["tasks"] == len(voted["submission"]) == 2


# ---- comparison


def write_run(folder, solved: str, seed: int, gradient: str, puzzles: str = "same"):
    folder.mkdir()
    old = {"model": {"gradient": gradient}}  # as 0.1 wrote it
    new = {"model": {"name": "trm"}, "gradient": {"name": gradient}}
    config = {"seed": seed, "batch": 2} | (old if seed else new)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
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
    report = compare.compare(runs, "gradient", None)
    full = report["arms"]["gradient=full"]
    assert (full["runs"], full["exact_mean"]) == (2, pytest.approx(0.65))
    assert full["exact_sd"] == pytest.approx(0.15 * 2**0.5)
    (pair,) = report["mcnemar"]
    assert (pair["a"], pair["b"], pair["only_a"], pair["only_b"]) == ("a0", "b0", 6, 0)
    assert pair["p"] == pytest.approx(2 * 0.5**6)
    assert report["curves"]["gradient=one_step"][0]["segments"] == [6]
    assert "| gradient=full | 2 | 65.0% | 21.2% |" in capsys.readouterr().out
    assert compare.compare(runs, "gradient.name", None)["arms"].keys() == {
        "gradient.name=full",
        "gradient.name=one_step",
    }


@pytest.mark.parametrize(
    ("by", "arms"),
    [
        ("model", {"model=trm", "model=hrm"}),
        ("gradient", {"gradient=full", "gradient=last 3"}),
        ("gradient,model", {"gradient=full model=hrm", "gradient=last 3 model=trm"}),
        ("halting", {"halting=fixed"}),
        ("model.width", {"model.width=8"}),
    ],
)
def test_a_group_is_compared_by_its_choice_and_its_options(tmp_path, by, arms):
    gradients = {"a": {"name": "full"}, "b": {"name": "last", "recursions": 3}}
    models = {"a": {"name": "hrm", "width": 8}, "b": {"name": "trm", "width": 8}}
    runs = [write_run(tmp_path / name, "10", 0, "full") for name in ("a", "b")]
    for run in runs:
        own = {"gradient": gradients[run.name], "model": models[run.name]}
        config = {"seed": 0, "batch": 2, "halting": {"rule": "fixed"}} | own
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert compare.compare(runs, by, None)["arms"].keys() == arms


def test_a_key_that_no_run_has_is_refused(tmp_path):
    run = write_run(tmp_path / "a", "10", 0, "full")
    with pytest.raises(UserError, match=r"by=model\.gradient: .*/a has no such option"):
        compare.compare([run], "model.gradient", None)


def test_different_test_puzzles_are_not_paired(tmp_path):
    runs = [
        write_run(tmp_path / "a", "10", 0, "full"),
        write_run(tmp_path / "b", "10", 0, "one_step", "other"),
    ]
    with pytest.raises(UserError, match="different puzzles"):
        compare.compare(runs, "gradient", None)


def test_pictures_and_numbers_are_written(tmp_path):
    pytest.importorskip("matplotlib", reason="the picture needs the viz extra")
    compare.main([str(write_run(tmp_path / "a", "10", 0, "full")), f"out={tmp_path / 'out'}"])
    assert (tmp_path / "out" / "compare.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["arms"]["a"]["runs"] == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no runs"),
        (["x", "colour=red"], "colour"),
        (["nowhere"], "is not a run"),
    ],
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
