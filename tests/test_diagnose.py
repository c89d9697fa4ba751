"""The diagnosis: every measure where the right number is known by hand, fakes whose weakness is
known, and the command from end to end.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

import train
from conf.cli import program
from eval import disturb, export
from eval.diagnose import __main__ as diagnose
from eval.diagnose import curves, draw, measures, memory, page, probes, report, sections
from eval.diagnose import words as words_of
from eval.diagnose.definitions import DEFINITIONS, TITLES
from eval.diagnose.subject import LeftOut, Subject
from eval.statistics import mcnemar
from eval.trajectory import Trajectories
from tests import tiny
from tests.test_export import WORDS
from tests.test_grid import WORDS as WORDS_OF_FOUR
from tests.test_train import TASKS
from tinyreason.errors import UserError
from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.models import State
from tinyreason.models.trm import TRM
from tinyreason.noise import Noise, PuzzleNoise
from tinyreason.puzzle import Puzzles, Rows
from tinyreason.recursion import Depth
from tinyreason.solver import Solver


def bools(*rows: str) -> np.ndarray:
    """ "0110" -> a row of bool."""
    return np.array([[c == "1" for c in row] for row in rows])


# ---- ranks


@pytest.mark.parametrize(
    ("score", "positive", "expected"),
    [
        ((1, 2, 3, 4), "0011", 1.0),
        ((1, 2, 3, 4), "1100", 0.0),
        ((1, 2, 3, 4), "0101", 0.75),
        ((1, 2, 3, 4), "1001", 0.5),
        ((5, 5, 5, 5), "0101", 0.5),  # nothing but ties
        ((1, 2, 2, 3), "0101", 0.875),  # one of four pairs is a tie
        ((1, 2, np.nan, 3), "0111", 2 / 3),  # what is no number is the lowest
        ((1, 2), "11", None),
        ((1, 2), "00", None),
    ],
)
def test_auroc(score, positive, expected):
    assert measures.auroc(np.array(score, float), bools(positive)[0]) == expected


def test_quartiles_are_values_that_some_puzzle_has():
    found = measures.quartiles(np.array([[1.0, 8.0], [2.0, 6.0], [3.0, 4.0], [4.0, np.nan]]))
    assert found.tolist() == [[1.0, 4.0], [2.0, 6.0], [3.0, 8.0]]
    assert measures.quartiles(np.zeros((0, 3))) is None


# ---- halting


def test_reliability_and_its_error_by_hand():
    sure = np.array([0.0, 0.05, 0.55, 0.55, 0.95, 1.0])
    right = bools("010111")[0]
    rows = measures.reliability(sure, right)
    assert [row["count"] for row in rows] == [2, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert (rows[0]["from"], rows[0]["to"], rows[9]["to"]) == (0.0, 0.1, 1.0)
    assert rows[0]["confidence"] == pytest.approx(0.025)
    assert [rows[b]["accuracy"] for b in (0, 5, 9)] == [0.5, 0.5, 1.0]
    assert rows[1]["confidence"] is None
    # (2 |0.5 - 0.025| + 2 |0.5 - 0.55| + 2 |1 - 0.975|) / 6
    assert measures.calibration_error(rows) == pytest.approx((0.95 + 0.1 + 0.05) / 6)
    assert measures.calibration_error(measures.reliability(sure[:0], right[:0])) is None


def test_where_it_first_halts():
    wants = bools("0110", "1000", "0000", "0010")
    exact = bools("0111", "0111", "1111", "0001")
    found = measures.first_halts(wants, exact)
    assert found["by_segment"] == [
        {"segment": 1, "count": 1, "accuracy": 0.0},
        {"segment": 2, "count": 1, "accuracy": 1.0},
        {"segment": 3, "count": 1, "accuracy": 0.0},
    ]
    assert (found["halted"], found["false_accepts"], found["mean_segment"]) == (3, 2, 2.0)
    assert found["false_accept_rate"] == pytest.approx(2 / 3)
    never = measures.first_halts(bools("00"), bools("11"))
    assert (never["halted"], never["false_accept_rate"], never["mean_segment"]) == (0, None, None)


# ---- over the segments


def test_stopping_at_a_confidence_by_hand():
    """Three puzzles: sure and right at once, sure at the second segment, never."""
    sure = np.array([[0.96, 0.96, 0.96], [0.6, 0.96, 0.99], [0.1, 0.2, 0.3]])
    exact = bools("111", "011", "001")
    rows = {row["confidence"]: row for row in measures.stopping(sure, exact)}
    assert (rows[0.5]["exact"], rows[0.5]["segments"]) == pytest.approx((2 / 3, 5 / 3))
    assert rows[0.95] == {"confidence": 0.95, "exact": 1.0, "segments": 2.0}
    assert rows[0.98] == {"confidence": 0.98, "exact": 1.0, "segments": 3.0}
    assert rows[None] == {"confidence": None, "exact": 1.0, "segments": 3.0}


def test_ever_solved_and_solved_now():
    exact = bools("0100", "0011", "0000", "1111")
    ever = curves.ever_solved(exact)
    assert ever.mean(0).tolist() == [0.25, 0.5, 0.75, 0.75]
    assert (ever.mean(0) - exact.mean(0)).tolist() == [0, 0, 0.25, 0.25]
    assert curves.finished_later(exact, 1) == pytest.approx(2 / 3)
    assert curves.finished_later(exact, 3) == pytest.approx(0.0)
    assert curves.finished_later(exact, 4) is None
    assert curves.finished_later(bools("11"), 1) is None


def test_mcnemar_is_the_exact_one():
    a, b = bools("1111110")[0], bools("0000000")[0]
    assert mcnemar(a, b).p == pytest.approx(2 / 2**6)
    assert mcnemar(a, a).p == 1.0


def falling(lost: list[int], puzzles: int = 20) -> np.ndarray:
    """(N, K) bool: `lost` puzzles are wrong after each segment."""
    return np.array([[i >= count for count in lost] for i in range(puzzles)])


def test_where_it_begins_to_overthink():
    # six lost of a best that had none: p = 2/64 = 0.03; five: p = 2/32 = 0.06
    found = curves.overthinking(falling([9, 0, 6, 5, 6, 7]))
    assert (found["best_segment"], found["best_exact"], found["from"]) == (2, 1.0, 5)
    assert found["p"] == pytest.approx(2 / 64)
    assert found["worse"] == 2


def test_a_dip_at_the_very_end_is_not_called_overthinking():
    found = curves.overthinking(falling([9, 0, 2, 2, 2, 2, 2, 8]))
    assert (found["from"], found["worse"]) == (None, 1)
    assert "too few to call it so" in words_of.worse(found)
    found = curves.overthinking(falling([9, 0, 2, 2, 2, 2, 8, 8]))
    assert (found["from"], found["worse"]) == (7, 2)
    assert "overthinks from segment 7" in words_of.worse(found)


@pytest.mark.parametrize("lost", [[9, 3, 0], [9, 0, 5, 5], [9, 0, 8, 8, 3], [4], [0, 0, 0]])
def test_it_does_not_overthink(lost):
    found = curves.overthinking(falling(lost))
    assert (found["from"], found["worse"], found["p"]) == (None, 0, None)


def test_what_stays_solved():
    exact = bools("11111111", "01110000", "00000001", "01011110")
    rows = curves.still_solved(exact, 2)
    assert [row["segments"] for row in rows] == [4, 8]
    assert [row["still_solved"] for row in rows] == [1.0, pytest.approx(1 / 3)]
    assert curves.still_solved(bools("00"), 1) == [{"segments": 2, "still_solved": None}]
    assert curves.still_solved(exact, 8) == []


def test_the_law_of_the_error_is_recovered():
    k = np.arange(1, 33)
    rng = np.random.default_rng(0)
    error = 0.07 + 0.6 * np.exp(-k * 0.4)
    found = curves.fit_error(error)
    expected = {"e_inf": 0.07, "A": 0.6, "L": 0.4}
    assert found["parameters"] == pytest.approx(expected, rel=1e-4)
    assert found["R2"] == pytest.approx(1.0)
    assert found["at_a_bound"] == []
    noisy = curves.fit_error(error + 0.003 * rng.standard_normal(32))
    assert 0.98 < noisy["R2"] < 1
    for name, value in expected.items():
        spread = noisy["standard_errors"][name]
        assert spread > 0
        assert abs(noisy["parameters"][name] - value) < 4 * spread


@pytest.mark.parametrize(
    ("error", "why"),
    [([0.5, 0.2, 0.1], "3 segments are too few"), ([0.3] * 6, "the same after every segment")],
)
def test_no_fit_is_told(error, why):
    assert why in curves.fit_error(np.array(error))["why"]


def test_a_fit_that_does_not_converge_is_told(monkeypatch):
    def stuck(*arguments, **options):
        raise RuntimeError

    monkeypatch.setattr(curves, "curve_fit", stuck)
    found = curves.fit_error(np.array([0.5, 0.3, 0.2, 0.1]))
    assert found == {"why": "the fit does not converge"}


# ---- settling and buckets


def test_late_changes_look_at_the_last_quarter_alone():
    answers = np.zeros((3, 8, 4), np.uint8)
    answers[0, 3:] = 1  # settles early
    answers[1, 6:, 0] = 1  # a cell changes once in the last two segments
    answers[2, 7, 2:] = 1  # only the second of these is scored
    scored = bools("1111", "1111", "1101")
    found = measures.late_changes(answers, scored)
    assert found.tolist() == pytest.approx([0, 1 / 4 / 2, 1 / 3 / 2])


def test_settle_table():
    settled, right = bools("110010")[0], bools("101010")[0]
    drift = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    rows = measures.settle_table(settled, right, drift)
    assert [(r["way"], r["answer"], r["count"], r["drift"]) for r in rows] == [
        ("settled", "right", 2, 3.0),
        ("settled", "wrong", 1, 2.0),
        ("wandering", "right", 1, 3.0),
        ("wandering", "wrong", 2, 5.0),
    ]


def test_buckets():
    guesses = np.array([0, 1, 2, 3, 10, 11, 50, 51, 900])
    found = measures.ranges(guesses, measures.GUESSES)
    assert [name for name, _ in found] == ["0", "1-2", "3-10", "11-50", "51+"]
    assert [int(inside.sum()) for _, inside in found] == [1, 2, 2, 2, 2]
    assert measures.quarters(np.arange(1, 9)) == [(1, 2), (3, 4), (5, 6), (7, 8)]
    assert measures.quarters(np.array([3, 3, 3, 3, 9])) == [(3, 3), (4, 9)]
    assert measures.each(np.array([5, 3, 5])) == [(3, 3), (5, 5)]


# ---- parts on a hand-made way


def subject_of(answers, labels, task, halt=None, residual=None, at=2) -> Subject:
    """Puzzles whose answers (N, K, S) are known."""
    N, K, _ = answers.shape
    halt = np.zeros((N, K), np.float32) if halt is None else halt
    residual = np.ones((N, K), np.float32) if residual is None else residual
    rows = Rows(np.ones_like(labels), labels, np.zeros(N, np.int32))
    found = Subject(None, solver_of(None, K), task, "test", True, rows, at)
    found.way = Trajectories(answers, halt, halt > 0, residual, np.zeros((N, K), np.float32))
    return found


def solver_of(model, segments: int = 4, rule: str = "correctness") -> Solver:
    return Solver(
        model=model,
        depth=Depth(4, 4),
        gradient=tiny.FULL,
        halting=make_halting(HaltingConfig(rule, 2, 0.0, 0.5)),
        segments=segments,
        halt=False,
        batch=3,
        device=tiny.CPU,
    )


@pytest.fixture(scope="module")
def task():
    return tiny.sudoku(side=4)


@pytest.fixture
def made(task):
    """Right after 1 and then no more; after 2 and on; never, and it settles; never, and it
    wanders.
    """
    labels = np.full((4, 16), 3, np.uint8)
    answers = np.repeat(labels[:, None], 4, axis=1)
    answers[0, 1:, 0] = 2
    answers[1, 0, :8] = 2
    answers[2, :, :4] = 2
    answers[3, :, 0] = (4, 2, 4, 2)
    halt = np.array([[9, -9, -9, -9], [-9, 9, 9, 9], [9, 9, 9, 9], [-9] * 4], np.float32)
    residual = np.array([[0.3] * 4, [0.1] * 4, [0.2] * 4, [0.4] * 4], np.float32)
    return subject_of(answers, labels, task, halt, residual)


def test_depth_of_a_hand_made_way(made):
    found = sections.depth(made)
    assert found["exact"].tolist() == [0.25, 0.25, 0.25, 0.25]
    assert found["ever_solved"].tolist() == [0.25, 0.5, 0.5, 0.5]
    assert found["regressions"].tolist() == [0, 0.25, 0.25, 0.25]
    assert found["cells"][0] == pytest.approx((1 + 0.5 + 0.75 + 15 / 16) / 4)
    assert found["overthinking"]["from"] is None
    assert "why" in found["fit"]


def test_residual_and_halting_of_a_hand_made_way(made):
    found = sections.residual(made)
    assert found["auroc_as_trained"] == found["auroc_at_the_end"] == 1.0
    assert found["wrong"] == {"as_trained": 3, "at_the_end": 3}
    assert found["solved"][1].tolist() == pytest.approx([0.1] * 4)
    assert found["unsolved"][1].tolist() == pytest.approx([0.3] * 4)
    head = sections.halting(made)
    # the right one ties with one wrong one and is above two
    assert head["auroc_at_the_end"] == pytest.approx((0.5 + 2) / 3)
    assert (head["halted"], head["false_accepts"]) == (3, 1)
    assert head["calibration_error_at_the_end"] == pytest.approx(0.25, abs=1e-3)


def test_settling_and_retention_of_a_hand_made_way(made):
    found = sections.settling(made)
    assert [row["count"] for row in found["table"]] == [1, 2, 0, 1]
    assert (found["spurious"], found["spurious_of_settled"]) == (0.5, pytest.approx(2 / 3))
    assert found["auroc_of_drift"] == 1.0
    assert sections.retention(made) == {
        "solved": 1,
        "rows": [{"segments": 4, "still_solved": 1.0}],
    }


def test_cells_that_are_not_scored_count_nowhere(task):
    labels = np.full((1, 16), 3, np.uint8)
    labels[0, :8] = 0  # what Sudoku ignores
    answers = np.full((1, 4, 16), 3, np.uint8)
    answers[0, :, 0] = (1, 2, 1, 2)
    answers[0, 0, 15] = 2
    found = subject_of(answers, labels, task)
    assert sections.depth(found)["cells"].tolist() == [7 / 8, 1, 1, 1]
    assert sections.depth(found)["exact"].tolist() == [0, 1, 1, 1]
    assert sections.settling(found)["table"][0]["count"] == 1


def test_what_makes_no_sense_is_left_out(made, task):
    made.solver.halting = make_halting(HaltingConfig("fixed", 2, 0.0, 0.5))
    with pytest.raises(LeftOut, match="no halting head"):
        sections.halting(made)
    short = subject_of(made.way.answers[:, :1], made.rows.labels, task, at=1)
    with pytest.raises(LeftOut, match="segments=2"):
        sections.settling(short)
    with pytest.raises(LeftOut, match="segments=2"):
        sections.retention(short)
    other = subject_of(made.way.answers, made.rows.labels, tiny.maze(side=4))
    with pytest.raises(LeftOut, match="only Sudokus"):
        probes.one_blank(other)


def test_rules_are_checked_after_each_segment(task):
    puzzles = tiny.sudoku(side=4, test_puzzles=3, valid_puzzles=0, train_puzzles=1).load(0)["test"]
    answers = np.repeat(puzzles.labels[:, None], 3, axis=1)
    answers[0, 0, 0] = answers[0, 0, 1]  # two of a kind in its row
    answers[1, 1:, 5] = 1
    found = subject_of(answers, puzzles.labels, task)
    found.rows = puzzles.rows()
    assert sections.rules(found) == {"valid": pytest.approx([2 / 3, 2 / 3, 2 / 3])}
    one = sections.difficulty(found)
    assert [table["by"] for table in one] == ["guesses", "givens"]
    assert sum(row["puzzles"] for row in one[1]["rows"]) == 3


def test_mazes_are_bucketed_by_their_shortest_path():
    maze = tiny.maze(side=6, min_path=6, train_puzzles=1, valid_puzzles=0, test_puzzles=12)
    puzzles = maze.load(0)["test"]
    found = subject_of(np.repeat(puzzles.labels[:, None], 2, 1), puzzles.labels, maze)
    found.rows = puzzles.rows()
    (one,) = sections.difficulty(found)
    steps = (puzzles.labels == 5).sum(1) + 1
    assert sum(row["puzzles"] for row in one["rows"]) == 12
    assert int(one["rows"][0]["bucket"].split("-")[0]) == steps.min()
    assert {row["exact_at_the_end"] for row in one["rows"]} == {1.0}
    rates = sections.rules(found)
    assert rates == {"valid": [1.0, 1.0], "optimal": [1.0, 1.0]}


# ---- probes


def test_one_blank_in_each_solution():
    labels = np.arange(2, 34, dtype=np.uint8).reshape(2, 16)
    rows = Rows(np.ones_like(labels), labels, np.zeros(2, np.int32))
    found = probes.with_one_blank(rows, 1, np.random.default_rng(0))
    assert (found.inputs != labels).sum(1).tolist() == [1, 1]
    assert (found.inputs[found.inputs != labels] == 1).all()
    assert (found.labels == labels).all()


class Forgets(TRM):
    """Every recursion forgets the state: nothing done to it has any effect."""

    def recur(self, state: State, x: Tensor, t: int) -> State:
        return State(x, x)


class Keeps(TRM):
    """No recursion changes the state: whatever is done to it stays."""

    def recur(self, state: State, x: Tensor, t: int) -> State:
        return state


def fake(kind, task, **changes) -> Subject:
    torch.manual_seed(0)
    model = kind(tiny.model_config(**changes), task.facts, torch.float32)
    rows = tiny.sudoku(side=4, test_puzzles=7, train_puzzles=1, valid_puzzles=0).load(0)["test"]
    trained = type("Stub", (), {"config": type("Config", (), {"model": model.config})})
    found = Subject(trained, solver_of(model), task, "test", True, rows.rows(), 2)
    found.sigmas = [1e-6, 30.0]
    return found


def test_a_model_that_forgets_its_state_is_not_disturbed(task):
    found = probes.sensitivity(fake(Forgets, task))
    same = {row["what"]: row["same"] for row in found["rows"]}
    assert same["as it is"] == same["another start"] == same["noise 30"] == 1.0
    assert set(same) >= {"rows", "columns", "transposed", "digits"}
    assert found["left_out"] == []


def test_a_model_that_keeps_its_state_is(task):
    found = probes.sensitivity(fake(Keeps, task))
    same = {row["what"]: row["same"] for row in found["rows"]}
    assert same["noise 1e-06"] == 1.0
    assert same["noise 30"] == 0.0
    assert same["another start"] == 0.0
    # it does not look at the puzzle, so its answer is the same grid; mapped back it is another
    assert same["digits"] < 1.0


def test_another_seed_is_another_disturbance():
    z = torch.ones(2, 5, 4)
    one, again, other = (
        disturb.seeded(disturb.noisy(0.5), seed)(State(z, z), 1, PuzzleNoise([0, 0], [0, 1]))
        for seed in (0, 0, 1)
    )
    assert torch.equal(one.z_H, again.z_H)
    assert not torch.equal(one.z_H, other.z_H)
    assert not torch.equal(one.z_H, one.z_L)


def test_noise_is_as_large_as_it_says():
    z = torch.randn(3, 40, 32) * torch.tensor([1.0, 10.0, 0.1]).view(-1, 1, 1)
    moved = disturb.noisy(0.1)(State(z, z), 4, PuzzleNoise([0] * 3, [0, 1, 2])).z_H - z
    rms = z.flatten(1).square().mean(1).sqrt()
    assert (moved.flatten(1).std(1) / rms).tolist() == pytest.approx([0.1] * 3, rel=0.1)


def test_a_start_is_drawn_anew_and_only_once():
    z = 2 * torch.ones(2, 50, 32)
    start = State(z, torch.zeros_like(z))
    found = disturb.restarted(start, 0, PuzzleNoise([0, 0], [0, 1]))
    assert found.z_H.std().item() == pytest.approx(1, rel=0.1)
    assert found.z_L.std().item() == pytest.approx(1, rel=0.1)
    assert found.z_L.abs().max() < 2.3
    assert disturb.restarted(start, 1, PuzzleNoise([0, 0], [0, 1])) is start


def test_counters_are_no_latents():
    assert not disturb.is_latent(torch.zeros(2, 5))
    assert not disturb.is_latent(torch.zeros(2, 5, 4, dtype=torch.int64))
    assert not disturb.is_latent(None)
    assert disturb.is_latent(torch.zeros(2, 3, 5, 4))


class Drawn(TRM):
    """Each puzzle starts at random."""

    def start(self, x: Tensor, noise: Noise) -> State:
        return State(noise.normal(x), noise.normal(x))


def test_a_model_that_draws_its_start_draws_another(task):
    subject = fake(Drawn, task)
    assert disturb.begins(subject.solver, subject.rows, task.facts) == "drawn"
    assert disturb.begins(fake(Keeps, task).solver, subject.rows, task.facts) == "fixed"
    (answers,) = probes.restart(subject).values()
    again = probes.restart(subject)["another start"]
    assert np.array_equal(answers, again)
    assert not np.array_equal(answers, subject.way.answers[:, 1])


def test_token_correlation_is_that_after_each_segment(task):
    from tinyreason.monitors import token_correlation
    from tinyreason.puzzle import Batch

    subject = fake(Forgets, task)
    batch = Batch.of(subject.rows, task.facts)
    x = subject.solver.model.encode(batch)[:, -16:]
    found = probes.tokens(subject)
    assert found["correlation"].tolist() == pytest.approx([token_correlation(x).item()] * 4)
    assert found["puzzles"] == 7


@pytest.mark.hostile
@pytest.mark.parametrize("name", tiny.NAMES)
def test_every_model_is_probed(name, task):
    subject = fake(Keeps, task)
    subject.solver.model = model = tiny.model(name, task.facts, prefix=0, puzzle_embedding=False)
    cycle = model.config.cycle or 1
    subject.solver.depth = Depth(2 * cycle, 2 * cycle)
    subject.trained.config.model = model.config
    found = probes.sensitivity(subject)
    same = {row["what"]: row["same"] for row in found["rows"]}
    assert same["as it is"] == 1.0
    with_puzzle = disturb.begins(subject.solver, subject.rows, task.facts) == "puzzle"
    assert ("another start" in same) == (not model.config.one_segment and not with_puzzle)
    assert len(probes.tokens(subject)["correlation"]) == 4
    for part in (sections.depth, sections.residual, sections.halting, sections.settling):
        json.dumps(report.plain(part(subject)), allow_nan=False)


# ---- memory


def test_the_log_by_hand():
    def trained(exact):
        return {"kind": "train", "step": 0, "exact": exact}

    def evaluated(step, exact, split="valid"):
        return {"kind": "eval", "split": split, "step": step, "exact_accuracy": exact}

    lines = [trained(0.1), trained(0.3), evaluated(2, 0.2), trained(0.8), evaluated(3, 0.5)]
    lines += [trained(0.9), evaluated(4, 0.6), evaluated(4, 0.6, "test")]
    points = memory.paired(lines)
    assert [point["step"] for point in points] == [2, 3, 4]
    assert [point["train"] for point in points] == pytest.approx([0.2, 0.8, 0.9])
    assert memory.onset(points) == 3
    assert memory.onset(points[:1]) is None
    assert memory.onset([*points, {"step": 5, "train": 0.9, "held_out": 0.85}]) is None


def test_stored_augmentations_are_left_out(task):
    labels = np.arange(1, 7, dtype=np.uint8)[:, None].repeat(16, 1)
    edges = np.arange(7, dtype=np.int32)
    part = Puzzles(labels, labels, np.zeros(6, np.int32), edges, np.array([0, 2, 5, 6], np.int32))
    assert memory.plain_rows(task, part, 10).labels[:, 0].tolist() == [1, 3, 6]
    assert memory.plain_rows(task, part, 2).labels[:, 0].tolist() == [1, 3]


# ---- what is written


def test_what_is_not_finite_is_null_in_json():
    found = report.plain({"a": np.array([1.0, np.nan]), "b": (np.inf, np.int64(3), None, True)})
    assert found == {"a": [1.0, None], "b": [None, 3, None, True]}
    assert report.plain(1.23456789e-7) == 1.2346e-7


def test_every_part_says_what_its_numbers_are():
    assert set(DEFINITIONS) == set(TITLES) == set(diagnose.PARTS) == set(page.TABLES)
    assert {part for part, _ in draw.CHARTS.values()} <= set(page.LABELS)
    for part in DEFINITIONS.values():
        assert all(one.sentence and one.source for one in part)


# ---- the command


QUICK = ("scale=small", "model.width=16", "model.heads=2", "steps=6", "batch=4", "save_every=2")
QUICK += ("halting.segments=2", "eval.batch=8", "ema=0.5", "optim.warmup=1", "eval_every=2")
QUICK += ("log_every=2", "device=cpu")
GRID = "question,answer\n" + "".join(f"{word},{word[::-1]}\n" for word in WORDS_OF_FOUR)
COMMON = {
    "depth",
    "residual",
    "halting",
    "settling",
    "retention",
    "sensitivity",
    "tokens",
    "memory",
}
OWN_PARTS = {
    "sudoku": {"rules", "difficulty", "one_blank"},
    "maze": {"rules", "difficulty"},
    "arc": set(),
    "grid": set(),
}


def trained_run(root: Path, task: str) -> Path:
    before = Path.cwd()
    os.chdir(root)
    try:
        more = TASKS.get(task, ())
        if task == "grid":
            (root / "grid.csv").write_text(GRID)
            more = (f"task.source={root / 'grid.csv'}",)
        shallow = "eval.segments=null"  # as deep as in training
        train.train(tiny.config(f"task={task}", *more, *QUICK, shallow, f"name={task}"))
    finally:
        os.chdir(before)
    return root / "runs" / task


@pytest.fixture(scope="module")
def sudoku(tmp_path_factory) -> Path:
    return trained_run(tmp_path_factory.mktemp("work"), "sudoku")


def words(run: Path, **changes) -> OmegaConf:
    """As typed behind `python -m eval.diagnose`."""
    given = OmegaConf.load(tiny.CONF / "diagnose.yaml")
    del given["defaults"], given["hydra"]
    return OmegaConf.merge(given, {"run": str(run), "device": "cpu"} | changes)


def refusal(run: Path, **changes) -> str:
    with pytest.raises(UserError) as caught:
        diagnose.main(words(run, **changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_whole(run: Path, task: str, out: Path, capsys) -> dict:
    """Run the command; look at all that it leaves."""
    capsys.readouterr()
    diagnose.main(words(run, out=str(out), max_puzzles=6, sigmas=[0.1]))
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) < 60
    told = [line for line in printed.splitlines() if "/" not in line]
    assert max(map(len, told)) <= report.LINE

    def refuse(name):
        raise AssertionError(name)

    found = json.loads((out / "diagnose.json").read_text(), parse_constant=refuse)
    assert found["about"]["segments"] == 8 * found["about"]["trained_segments"]
    document = (out / "diagnose.html").read_text()
    assert not re.search("https?:", re.sub(r'xmlns(:\w+)?="[^"]*"', "", document))
    assert len(document) < 500_000
    assert (out / "diagnose.png").read_bytes().startswith(b"\x89PNG")
    there = set(DEFINITIONS) & {name for name, part in found.items() if part}
    assert COMMON | OWN_PARTS[task] <= there
    left = {row["what"].replace(" ", "_") for row in found["left_out"]}
    assert there | left >= set(DEFINITIONS)
    assert set(found["definitions"]) == there
    assert sorted(row["step"] for row in found["memory"]["checkpoints"])[-1] == 6
    past = found["memory"]
    held_out = "valid" in {row["split"] for row in past["now"]}
    assert [point["step"] for point in past["log"]] == ([2, 4, 6] if held_out else [])
    assert held_out or any("no evaluation on held-out" in why for why in past["left_out"])
    return found


def test_the_command_from_end_to_end(sudoku, tmp_path, capsys):
    found = assert_whole(sudoku, "sudoku", tmp_path / "new" / "out", capsys)
    exact = found["depth"]["exact"]
    kept = {row["split"]: row["exact"] for row in found["memory"]["now"]}
    assert kept["test"] == pytest.approx(exact[1], abs=1e-4)
    assert set(kept) == {"train", "valid", "test"}


@pytest.mark.hostile
@pytest.mark.parametrize("task", ["maze", "arc", "grid"])
def test_the_command_on_every_task(task, tmp_path, capsys):
    assert_whole(trained_run(tmp_path, task), task, tmp_path / "out", capsys)


def test_an_export_says_that_it_has_no_past(sudoku, tmp_path, capsys):
    shared = tmp_path / "shared"
    export.main(OmegaConf.create(WORDS | {"run": str(sudoku), "out": str(shared)}))
    target = tmp_path / "found.json"
    diagnose.main(words(shared, segments=3, sigmas=[], max_puzzles=2, json=str(target)))
    assert "an export keeps no checkpoints and no log" in capsys.readouterr().out
    found = json.loads(target.read_text())
    assert "checkpoints" not in found["memory"]
    assert found["depth"]["fit"]["why"].startswith("3 segments are too few")


def test_what_is_there_is_not_overwritten(sudoku, tmp_path):
    (tmp_path / "diagnose.png").write_text("mine")
    assert "is there already" in refusal(sudoku, out=str(tmp_path))
    assert (tmp_path / "diagnose.png").read_text() == "mine"
    assert "is there already" in refusal(sudoku, json=str(tmp_path / "diagnose.png"))
    assert refusal(sudoku, out=str(tmp_path / "diagnose.png")).startswith("out=")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"segments": 0}, "segments=0 must be 1 or more"),
        ({"max_puzzles": 0}, "max_puzzles=0 must be 1 or more"),
        ({"batch": 0}, "batch=0 must be 1 or more"),
        ({"seed": -1}, "seed=-1 must be 0 or more"),
        ({"sigmas": [0.1, -1]}, "sigmas=-1: noise must be above 0"),
        ({"sigmas": [float("nan")]}, "sigmas=nan: noise must be above 0"),
        ({"sigmas": [0.1] * 9}, "sigmas= has 9 numbers; use 8 at most"),
        ({"sigmas": "much"}, "sigmas:"),
        ({"split": "exam"}, "split=exam is unknown; use one of train, valid, test"),
        ({"checkpoint": "first"}, "checkpoint=first is unknown"),
        ({"json": "no/such/folder.json"}, "there is no folder no/such"),
        ({"source": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_a_wrong_word_is_one_line(sudoku, changes, line):
    assert line in refusal(sudoku, **changes)


def test_a_wrong_word_names_this_command(monkeypatch):
    for path, told in (("eval/diagnose", "-m eval.diagnose"), ("eval/cost", "train.py")):
        monkeypatch.setattr("sys.argv", [f"{path}/__main__.py"])
        assert program() == told


def test_a_run_that_is_none(tmp_path):
    assert re.search("nowhere", refusal(tmp_path / "nowhere"))
