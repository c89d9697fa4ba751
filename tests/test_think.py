"""Test-time compute: selectors by hand, chains that repeat, the command, refusals."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import train
from conf.help import page
from data.registry import load_task
from eval import solve
from eval.score import metrics
from eval.think import __main__ as think
from eval.think.methods import METHODS, Setting, refuse_method, restarted
from eval.think.options import has_ties
from eval.think.score import baseline, rows_of, taken
from eval.think.select import SELECTORS, Candidates
from eval.think.stages import Stage, chain_stages, comparable, segment_stages, sizes
from tests import tiny
from tests.marks import hostile
from tests.test_trajectory import task_of
from tests.test_use import COUNTS, QUICK, refusal
from tests.test_use import words as solve_words
from tinyreason.gradient import GradientConfig, make_gradient
from tinyreason.halting import make_halting
from tinyreason.layers import CUT_DEVIATION
from tinyreason.models.base import LoopState, Read, State
from tinyreason.noise import PuzzleNoise
from tinyreason.puzzle import Batch, Rows
from tinyreason.recursion import Depth
from tinyreason.solver import Solver
from tinyreason.trained import load

# ---- selectors, by hand: M = 4 candidates of one puzzle of two cells, named by letters

WORDS = {"a": (1, 1), "b": (1, 2), "c": (2, 1), "d": (2, 2)}


def candidates(letters: str, halt=None, residual=None, when=None, exact=None) -> Candidates:
    def row(values, usual, kind=float):
        return np.array([usual if values is None else values], kind)

    M = len(letters)
    return Candidates(
        np.array([[WORDS[one] for one in letters]], np.uint8),
        row(halt, [0] * M),
        row(residual, [1] * M),
        row(when, [9] * M, int),
        row(exact, [False] * M, bool),
    )


def choose(name: str, *arguments, **columns) -> int:
    return int(candidates(*arguments, **columns).chosen(SELECTORS[name].choose)[0])


@pytest.mark.parametrize(
    ("letters", "halt", "found"),
    [
        ("abba", [0, 0, 0, 0], 0),  # as many, as sure: the earliest
        ("abbc", [9, 0, 0, 9], 1),  # the most
        ("abab", [0, 1, 0, 1], 1),  # as many: the surer
        ("abba", [2, 1, 1, -4], 1),  # .88 + .02 against .73 + .73
        ("abcd", [0, 0, 3, 1], 2),
        ("abcd", [800, 900, -900, 0], 0),  # sigmoids of 1 both
    ],
)
def test_a_vote(letters, halt, found):
    assert choose("vote", letters, halt) == found


def test_equal_confidences_in_another_order_are_equal_sums():
    """0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1 to the last bit."""
    low, middle, high = (float(np.log(p / (1 - p))) for p in (0.1, 0.2, 0.3))
    halt = [high, low, middle, middle, low, high]
    assert choose("vote", "bababa", halt) == 0
    assert choose("vote", "ababab", halt[::-1]) == 0


def test_the_largest_halting_logit_and_the_smallest_residual():
    assert choose("halt", "abcd", [0.5, 2.0, 2.0, -1.0]) == 1
    assert choose("residual", "abcd", residual=[0.5, 0.2, 0.2, 0.9]) == 1


@pytest.mark.parametrize(
    ("when", "halt", "found"),
    [
        ([3, 2, 9, 2], [5, 1, 7, 2], 3),  # tied at 2: the surer
        ([3, 2, 9, 4], [5, 1, 7, 2], 1),
        ([9, 9, 9, 9], [-3, -1, -2, -1], 1),  # nobody halts: the largest at the end
        ([2, 2, 2, 2], [1, 1, 1, 1], 0),
        ([2, 1, 2, 2], [1, -np.inf, 1, 1], 1),
    ],
)
def test_the_first_that_says_finished(when, halt, found):
    assert choose("first", "abcd", halt, when=when) == found


def test_the_last_of_segments():
    assert choose("last", "abcd") == 3


def test_an_oracle_takes_any_right_one():
    assert candidates("abcd", exact=[0, 0, 1, 0]).oracle().tolist() == [True]
    assert candidates("abcd").oracle().tolist() == [False]
    assert candidates("abcd", exact=[0, 0, 1, 0]).few(2).oracle().tolist() == [False]


def many(letters: str, exact: str, halt, when) -> Candidates:
    """Of two puzzles."""
    parts = [candidates(*row) for row in zip(letters.split(), halt, strict=True)]
    found = Candidates(*map(np.concatenate, zip(*(vars(p).values() for p in parts), strict=True)))
    found.exact = np.array([[one == "1" for one in row] for row in exact.split()])
    found.when = np.array(when)
    return found


def test_a_row_of_the_report_by_hand():
    """Two chains of 3 segments of 4 recursions, two puzzles.

    Puzzle 1: chain 0 wrong and chain 1 right at the end, which is less sure; chain 1 halts at 2.
    Puzzle 2: chain 0 right, chain 1 wrong; nobody halts.
    """
    ended = many("ab cd", "01 10", ([2, 1], [-1, -2]), [[3, 3], [3, 3]])
    halted = many("ab cd", "01 10", ([2, 1], [-1, -2]), [[4, 2], [4, 4]])
    stages = [
        Stage(1, 3, ended.few(1), halted.few(1), 1.0),
        Stage(2, 3, ended, halted, 2.5),
    ]
    before, name = baseline(stages, 3)
    assert (before.tolist(), name) == ([False, True], "as trained")
    assert baseline(stages, 9)[1] == "one chain of 3 segments"
    one, two = rows_of(stages, ["halt", "first"], 4, np.array([True, True]), 3)
    assert (one["recursions"], two["recursions"]) == (12, 24)
    assert (one["oracle"]["exact"], two["oracle"]["exact"]) == (0.5, 1.0)
    assert (two["chains"], two["segments"], two["seconds"]) == (2, 3, 2.5)
    halt, first = two["selectors"]["halt"], two["selectors"]["first"]
    assert (halt["exact"], halt["gap"], halt["gained"], halt["lost"]) == (0.5, 0.5, 0, 0)
    assert (first["exact"], first["gap"], first["gained"], first["lost"]) == (1.0, 0.0, 1, 0)
    # side by side 2 segments of two chains, and all 3 of both: (2 + 3) / 2 x 2 x 4
    assert first["recursions_needed"] == 20
    # Wilson at 1 of 2: 1/2 +- z sqrt(1/8 + z^2/16) / (1 + z^2/2) / ... = 0.0945, 0.9055
    assert halt["low"] == pytest.approx(0.0945, abs=1e-4)
    assert halt["high"] == pytest.approx(0.9055, abs=1e-4)
    only = rows_of(stages, ["halt"], 4, np.array([False, True]), 3)
    assert only[-1]["selectors"]["halt"]["exact"] == 1.0


def test_sizes():
    assert sizes(1) == [1]
    assert sizes(12) == [1, 2, 4, 8, 12]
    assert sizes(64, 6) == [1, 2, 4, 6, 8, 16, 32, 64]
    assert sizes(4, 16) == [1, 2, 4]


# ---- chains


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Three tiny runs: a fixed start, a drawn one, and the puzzle itself without a head."""
    root = tmp_path_factory.mktemp("think")
    same = ("task=sudoku", "task.side=4", *COUNTS, *QUICK, "device=cpu")
    kinds = {
        "trm": (),
        "huginn": ("model=huginn", "halting=correctness", "halting.segments=2", "model.layers=1"),
        "ouro": ("model=ouro", "halting=fixed", "model.layers=1", "halting.segments=2"),
        "universal": ("model=universal", "halting.segments=1", "model.layers=1"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, words in kinds.items():
            train.train(tiny.config(*same, *words, "steps=2", f"name={name}"))
    return root / "runs"


def setting(run: Path, **changes) -> Setting:
    """Half of its heads say finished, which after so few steps none would."""
    trained = load(run, device="cpu")
    task, splits = load_task(trained.config.task)
    solver = trained.solver(3, False, changes.pop("batch", 8))
    generator = torch.Generator().manual_seed(0)
    weight = trained.model.heads.halt.weight
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=generator))
        trained.model.heads.halt.bias.zero_()
    return Setting(solver, task, splits["test"].rows(), **changes)


def same(one: Candidates, other: Candidates) -> bool:
    return all(
        np.array_equal(a, b) if a.dtype.kind != "f" else np.allclose(a, b, atol=1e-4)
        for a, b in zip(vars(one).values(), vars(other).values(), strict=True)
    )


CASES = [("trm", "restarts"), ("trm", "symmetries"), ("trm", "noise")]
CASES += [("huginn", "restarts"), hostile("huginn", "noise"), hostile("ouro", "symmetries")]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_more_chains_and_another_batch_change_none_that_were_there(runs, name, method):
    few = chain_stages(setting(runs / name, sigma=0.5), method, 2)
    many = chain_stages(setting(runs / name, sigma=0.5), method, 3)
    others = chain_stages(setting(runs / name, sigma=0.5, batch=3), method, 3)
    assert [stage.chains for stage in many] == [1, 2, 3]
    assert [stage.chains for stage in few] == [1, 2]
    for one, two in zip(few, many, strict=False):
        assert same(one.ended, two.ended)
        assert same(one.halted, two.halted)
    assert same(many[-1].ended, others[-1].ended)
    assert same(many[-1].halted, others[-1].halted)
    residual = many[-1].ended.residual
    assert (residual[:, 0] != residual[:, 1]).any()
    assert (residual[:, 1] != residual[:, 2]).any()


@pytest.mark.parametrize("method", METHODS)
def test_fewer_puzzles_are_answered_alike_and_another_seed_is_another(runs, method):
    whole = setting(runs / "trm", sigma=0.5)
    part = replace(whole, rows=Rows(*(field[:3] for field in whole.rows)))
    all_, some = (chain_stages(one, method, 2)[-1].ended for one in (whole, part))
    assert np.array_equal(all_.answers[:3], some.answers)
    other = chain_stages(replace(whole, seed=1), method, 2)[-1].ended
    assert np.array_equal(other.answers[:, 0], all_.answers[:, 0])
    assert (other.halt[:, 0] == all_.halt[:, 0]).all()
    assert (other.halt[:, 1] != all_.halt[:, 1]).any()


@pytest.mark.parametrize("name", ["trm", "huginn"])
def test_chain_0_is_the_model_and_noise_of_deviation_0_is_none(runs, name):
    one = setting(runs / name)
    one.solver = replace(one.solver, confidence=None)  # none of these heads is sure
    (*_, stage) = chain_stages(one, "noise", 3)
    attempt = one.solver(one.rows, one.task.facts)
    for m in range(3):
        assert np.array_equal(stage.ended.answers[:, m], attempt.answers)
        assert np.array_equal(stage.ended.exact[:, m], attempt.exact[:, -1])
    halting = replace(one.solver, halt=True)(one.rows, one.task.facts)
    assert len(set(halting.segments.tolist())) > 1, "the test needs heads that differ"
    assert np.array_equal(stage.halted.answers[:, 0], halting.answers)
    halts = np.minimum(stage.halted.when[:, 0], 3)
    assert np.array_equal(halts, halting.segments)


def test_a_drawn_start_is_that_of_the_solvers_number(runs):
    one = setting(runs / "huginn")
    stage = chain_stages(one, "restarts", 3)[-1]
    for m in range(3):
        attempt = replace(one.solver, start=m)(one.rows, one.task.facts)
        assert np.array_equal(stage.ended.answers[:, m], attempt.answers)
        assert np.allclose(stage.ended.halt[:, m], attempt.halt_logits, rtol=1e-6)
    assert len(np.unique(stage.ended.halt[0])) == 3


def test_a_fixed_start_is_drawn_at_every_position_and_only_at_the_first_segment(runs):
    one = setting(runs / "trm")
    disturb = restarted(one, 1).disturb
    state = State(torch.zeros(4, 100, 64), torch.ones(4, 100, 64))
    noise = PuzzleNoise([0] * 4, list(range(4)))
    started = disturb(state, 0, noise)
    for z in started:
        assert z.std().item() == pytest.approx(1, rel=0.02)
        assert z.abs().max() <= 2 / CUT_DEVIATION
        assert len(z.flatten().unique()) > 0.95 * z.numel()
    assert not torch.equal(*started)
    assert disturb(state, 1, noise) is state
    assert not torch.equal(restarted(one, 2).disturb(state, 0, noise)[0], started[0])


def test_noise_is_relative_to_the_latent_of_its_puzzle(runs):
    chain = METHODS["noise"](setting(runs / "trm", sigma=0.3), 1)
    z = torch.ones(2, 100, 64) * torch.tensor([1.0, 10.0]).view(2, 1, 1)
    counted = torch.zeros(2, dtype=torch.int64)
    state = type("S", (tuple,), {"__new__": lambda cls, *a: tuple.__new__(cls, a)})(z, counted)
    moved = chain.disturb(state, 2, PuzzleNoise([2, 2], [0, 1]))
    assert torch.equal(moved[1], counted)
    for row, size in enumerate((1.0, 10.0)):
        assert (moved[0] - z)[row].std().item() == pytest.approx(0.3 * size, rel=0.03)


class Echo(torch.nn.Module):
    """Answers with its input."""

    class config:
        name, cycle = "echo", None

    def __init__(self, tokens: int):
        super().__init__()
        self.tokens = tokens

    def encode(self, batch: Batch):
        return torch.nn.functional.one_hot(batch.inputs.long(), self.tokens).float()

    def start(self, x, noise):
        return LoopState(x)

    def recursion(self, noise):
        return lambda state, x, t: state

    def read(self, state):
        return Read(state.z, torch.zeros(len(state.z), 2))


KINDS = ["sudoku 6", "sudoku 9", "maze", "padded mazes", hostile("rectangular mazes")]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_to_symmetric_puzzles_are_mapped_back_exactly(kind, tmp_path):
    task, rows = task_of(kind, tmp_path)
    halting = make_halting(tiny.halting_config("correctness"))
    full = make_gradient(GradientConfig("full"), None)
    solver = Solver(Echo(task.facts.vocab_size), Depth(1, 1), full, halting, 2, False, 4, tiny.CPU)
    one = Setting(solver, task, rows)
    found = chain_stages(one, "symmetries", 5)[-1].ended
    images = [METHODS["symmetries"](one, m).rows.inputs for m in range(1, 5)]
    assert not all(np.array_equal(image, rows.inputs) for image in images)
    for m in range(5):
        assert np.array_equal(found.answers[:, m], rows.inputs)
    solved = chain_stages(replace(one, rows=rows._replace(inputs=rows.labels)), "symmetries", 3)
    assert solved[-1].ended.exact.all()


def test_what_stands_beside_a_puzzle_makes_no_other_answer(tmp_path):
    task, rows = task_of("padded mazes", tmp_path)
    scribbled = np.where(rows.inputs == 0, 3, rows.labels)
    assert (scribbled != rows.labels).any()
    assert np.array_equal(comparable(task, rows, scribbled), rows.labels)
    task, rows = task_of("arc", tmp_path)
    scribbled = rows.labels.copy()
    scribbled[:, -1] = np.where(rows.labels[:, -1] == 0, 7, rows.labels[:, -1])
    assert (scribbled != rows.labels).any()
    assert np.array_equal(comparable(task, rows, scribbled), rows.labels)


# ---- segments


def test_segments_are_those_of_an_evaluation(runs):
    one = setting(runs / "trm")
    one.solver = replace(one.solver, segments=6)
    stages = segment_stages(one, 3)
    assert [stage.segments for stage in stages] == [1, 2, 3, 4, 6]
    for stage in stages:
        solver = replace(one.solver, segments=stage.segments)
        attempt = solver(one.rows, one.task.facts)
        chosen, right = taken(stage, "last")
        assert (chosen == stage.segments - 1).all()
        assert np.array_equal(right, attempt.exact[:, -1])
        assert np.array_equal(stage.ended.answers[:, -1], attempt.answers)
        halting = replace(solver, halt=True)(one.rows, one.task.facts)
        assert np.array_equal(stage.halted.answers[:, 0], halting.answers)
        assert np.array_equal(np.minimum(stage.halted.when[:, 0], stage.segments), halting.segments)
        found = metrics(attempt, one.rows, one.task)
        (row,) = rows_of([stage], ["first"], 4, np.ones(len(halting.segments), bool), 3)
        assert row["selectors"]["first"]["exact"] == found["exact_when_halted"]
        needed = row["selectors"]["first"]["recursions_needed"]
        assert needed == pytest.approx(4 * found["segments_to_halt"])


def test_an_untrained_head_is_not_asked(runs):
    one = setting(runs / "ouro")
    assert not one.solver.halting.learns
    found = chain_stages(one, "noise", 2)[-1].ended
    assert (found.halt == 0).all()


# ---- the command


def words(run: Path, **changes) -> OmegaConf:
    given = OmegaConf.to_container(OmegaConf.load(tiny.CONF / "think.yaml"))
    given = {key: value for key, value in given.items() if key not in ("defaults", "hydra")}
    return OmegaConf.create(given | {"run": str(run), "device": "cpu"} | changes)


def test_the_command_prints_a_table_and_writes_everything(runs, tmp_path, capsys):
    out, file, table = tmp_path / "out", tmp_path / "x.json", tmp_path / "x.csv"
    files = {"out": str(out), "json": str(file), "answers": str(table)}
    think.main(words(runs / "trm", method="noise", chains=3, select="first", **files))
    told = capsys.readouterr().out.splitlines()
    assert told[1].startswith("| chains | forward recursions | vote | halt | residual | **first**")
    assert [line.split(" | ")[0] for line in told[3:6]] == ["| 1", "| 2", "| 3"]
    assert told[6].startswith("first: exact ")
    found = json.loads(file.read_text())
    assert found == json.loads((out / "think-noise.json").read_text())
    assert (out / "think-noise.png").stat().st_size > 5000
    assert [row["chains"] for row in found["rows"]] == [1, 2, 3]
    assert found["rows"][-1]["recursions"] == 3 * 2 * found["recursions_of_a_segment"]
    assert (found["sigma"], found["seed"], found["puzzles"]) == (0.3, 0, 8)
    assert "2605.19943" in found["method_source"]
    assert set(found["selectors"]) == {"vote", "halt", "residual", "first"}
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert len(lines) == 8
    right = sum(line["exact"] == "True" for line in lines) / 8
    assert right == found["rows"][-1]["selectors"]["first"]["exact"]
    assert {line["chain"] for line in lines} <= {"0", "1", "2"}


def test_by_default_one_chain_thinks_eight_times_as_long(runs, tmp_path, capsys):
    file, solved = tmp_path / "x.json", tmp_path / "solved.json"
    think.main(words(runs / "trm", json=str(file)))
    rows = json.loads(file.read_text())["rows"]
    assert [row["segments"] for row in rows] == [1, 2, 4, 8, 16]
    assert "last: exact" in capsys.readouterr().out
    solve.main(solve_words(runs / "trm", segments=16, json=str(solved)))
    found = json.loads(solved.read_text())
    assert rows[-1]["selectors"]["last"]["exact"] == found["exact_accuracy"]
    for row in rows:
        exact = found["exact_by_segment"][row["segments"] - 1]
        assert row["selectors"]["last"]["exact"] == pytest.approx(exact)


def test_without_known_answers_there_are_only_answers(runs, tmp_path, capsys, monkeypatch):
    """No source of these tasks lacks answers, but test pairs of ARC may."""
    real = think.setting_of

    def unknown(trained, options):
        found, examined = real(trained, options)
        found.rows = found.rows._replace(labels=np.zeros_like(found.rows.labels))
        return found, examined

    monkeypatch.setattr(think, "setting_of", unknown)
    table = tmp_path / "x.csv"
    one = {"method": "symmetries", "chains": 2}
    line = refusal(think.main, words(runs / "trm", **one))
    assert "no answer is known" in line
    think.main(words(runs / "trm", **one, select="vote", answers=str(table)))
    told = capsys.readouterr().out
    assert "nothing is scored" in told
    assert "|" not in told
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert len(lines) == 8
    assert "exact" not in lines[0]


def test_a_model_without_a_head_has_no_selectors_that_need_one(runs, capsys):
    think.main(words(runs / "ouro", method="symmetries", chains=2))
    told = capsys.readouterr().out
    assert "no halting head was trained: select=halt and select=first are left out" in told
    assert "| chains | forward recursions | vote | residual | oracle | seconds |" in told
    line = refusal(think.main, words(runs / "ouro", method="symmetries", select="first"))
    assert "no halting head was trained" in line


def test_a_model_that_draws_its_start_is_told_nothing_and_one_that_does_not_is(runs, capsys):
    think.main(words(runs / "huginn", method="restarts", chains=2))
    assert "note:" not in capsys.readouterr().out
    think.main(words(runs / "trm", method="restarts", chains=2))
    assert "was trained with a fixed start" in capsys.readouterr().out
    think.main(words(runs / "trm", method="noise", chains=2, recursions=8))
    assert "note: 8 recursions a segment; it was trained with 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("trm", {"method": "luck"}, "method=luck is unknown; use one of segments, restarts"),
        ("trm", {"select": "best"}, "select=best is unknown"),
        ("trm", {"select": "last", "method": "noise"}, "select=last is unknown for method=noise"),
        ("trm", {"chains": 0, "method": "noise"}, "chains=0 must be 1 or more"),
        ("trm", {"chains": 5000, "method": "noise"}, "chains=5000 must be from 1 to 4096"),
        ("trm", {"chains": 4}, "method=segments has one chain"),
        ("trm", {"sigma": -0.1, "method": "noise"}, "sigma=-0.1 must be 0 or more"),
        ("trm", {"sigma": float("nan"), "method": "noise"}, "sigma=nan must be 0 or more"),
        ("trm", {"seed": -1}, "seed=-1 must be 0 or more"),
        ("trm", {"segments": 0}, "segments=0 must be 1 or more"),
        ("trm", {"max_puzzles": 0}, "max_puzzles=0 must be 1 or more"),
        ("trm", {"recursions": 3}, "recursions=3 must be a multiple of 2"),
        ("trm", {"answers": "x.csv"}, "answers= are those of one selector"),
        ("trm", {"json": "no/such/x.json"}, "there is no folder"),
        ("trm", {"split": "holdout"}, "split=holdout is unknown"),
        ("trm", {"embedding": "none"}, "embedding=none is unknown"),
        ("trm", {"chains": "many"}, "chains: "),
        ("universal", {}, "model.name=universal takes one segment only"),
        ("universal", {"method": "noise", "segments": 2}, "takes one segment only"),
        ("universal", {"method": "restarts"}, "starts with the puzzle itself"),
        ("ouro", {"method": "restarts"}, "model.name=ouro starts with the puzzle itself"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(runs, name, options, said):
    assert said in refusal(think.main, words(runs / name, **options))


def test_mazes_with_several_shortest_paths_are_told_of():
    assert has_ties(tiny.maze(ties="bfs"))
    assert has_ties(tiny.maze(source="mine.csv"))
    assert not has_ties(tiny.maze())
    assert not has_ties(tiny.sudoku())


def test_without_symmetries_there_are_no_symmetric_images(runs):
    one = setting(runs / "trm")

    class Plain:
        kinds = ()

    line = refusal(refuse_method, replace(one, task=Plain()), "symmetries")
    assert "no symmetry of these puzzles is known" in line


def test_the_page_of_help_names_every_option():
    told = page("think", [])
    for key in ("method=segments", "select=null", "chains=null", "sigma=0.3", "task.columns="):
        assert key in told


@pytest.mark.hostile
def test_an_unknown_key_is_answered_with_this_command():
    words = (sys.executable, "-m", "eval.think", "run=pretrained/sudoku6", "foo=1")
    root = Path(__file__).parents[1]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "`python -m eval.think --cfg job` prints all keys" in done.stderr


@pytest.mark.hostile
@pytest.mark.parametrize("method", METHODS)
def test_tasks_of_arc_in_every_method(tmp_path, monkeypatch, method):
    monkeypatch.chdir(tmp_path)
    counts = ("canvas=6", "train_puzzles=4", "test_puzzles=3", "copies=4")
    arc = ("task=arc", *(f"task.{one}" for one in counts), "model.puzzle_embedding=true")
    train.train(tiny.config(*arc, *QUICK, "model.prefix=1", "device=cpu", "name=arc"))
    think.main(words(tmp_path / "runs/arc", method=method, chains=2, json="x.json"))
    rows = json.loads(Path("x.json").read_text())["rows"]
    assert [row["chains"] for row in rows] == [1, 2]


@pytest.mark.hostile
def test_a_task_of_ones_own_has_no_symmetries_and_all_else(tmp_path, monkeypatch, capsys):
    from tests.test_grid import TABLE
    from tests.test_table import written

    monkeypatch.chdir(tmp_path)
    source = written(tmp_path / "a.csv", TABLE)
    train.train(tiny.config("task=grid", f"task.source={source}", *QUICK, "device=cpu", "name=g"))
    run = tmp_path / "runs/g"
    assert "no symmetry" in refusal(think.main, words(run, method="symmetries", chains=2))
    think.main(words(run, method="noise", chains=2))
    assert "| 2 |" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["json", "answers", "out"])
def test_nothing_is_overwritten(runs, tmp_path, key):
    mine = tmp_path / ("think-noise.json" if key == "out" else "mine")
    mine.write_text("precious")
    given = {key: str(tmp_path if key == "out" else mine), "method": "noise", "select": "vote"}
    line = refusal(think.main, words(runs / "trm", chains=2, **given))
    assert "is there already; name another" in line
    assert mine.read_text() == "precious"
