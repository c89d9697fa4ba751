"""Where an evaluation may leave the recursion: reference (trajectories by hand), invariants."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import train
from conf.schema import training_config
from data.registry import load_task
from eval.score import brief, metrics
from eval.speed import random_trainer
from eval.starts import best_of
from tests import tiny
from tests.test_train import TASKS
from tinyreason.errors import UserError
from tinyreason.exits import EXITS, ExitConfig, Watch, make_exit
from tinyreason.halting import make_halting
from tinyreason.models.base import Read
from tinyreason.monitors import relative_residual, token_correlation, watched
from tinyreason.solver import Solver
from tinyreason.trained import load

HALTING = make_halting(tiny.halting_config("correctness"))


def exit_of(name: str, threshold: float | None = None, pool: str = "mean"):
    return make_exit(ExitConfig(name, threshold, pool), HALTING)


def left(name: str, logits: Tensor, z: Tensor | None = None, gate=None, **options) -> list[int]:
    """The recursion, from 1, at which each puzzle first leaves; 0: never. (R B S V)."""
    R, B, S, V = logits.shape
    z = torch.randn(R + 1, B, S, 4) if z is None else z
    watch, found = Watch(exit_of(name, **options)), [0] * B
    watch.begin(torch.ones(B, dtype=torch.bool), z[0], V)
    for t in range(R):
        read = Read(logits[t], torch.zeros(B, 2), None if gate is None else gate[t])
        for row, leaves in enumerate(watch.leaves(z[t + 1], read).tolist()):
            found[row] = found[row] or leaves * (t + 1)
    return found


def settling(R: int, at: list[int], V: int = 5) -> Tensor:
    """(R B 3 V): random logits that stay as they are from recursion `at` of each row on."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(R, len(at), 3, V, generator=generator)
    for row, t in enumerate(at):
        logits[t:, row] = logits[t - 1, row]
    return logits


# ---- reference


@pytest.mark.parametrize("name", ["entropy", "kl", "minp_kl"])
def test_an_answer_that_no_longer_changes_leaves_at_the_next_recursion(name):
    assert left(name, settling(8, [2, 5, 8])) == [3, 6, 0]


@pytest.mark.parametrize("name", ["latent", "cosine"])
def test_a_latent_that_no_longer_moves_leaves_at_the_next_recursion(name):
    z = torch.randn(9, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    z[4:, 0] = z[3, 0]
    z[7:, 1] = z[6, 1]
    assert left(name, settling(8, [8, 8]), z) == [4, 7]


def test_an_answer_that_is_the_same_for_five_recursions_more_leaves():
    assert left("stability", settling(9, [2, 4, 9])) == [7, 9, 0]


def test_the_gate_leaves_where_its_probabilities_come_to_q():
    """At gates of 1/2 they are 1/2, 1/4, 1/8, ..."""
    gate, logits = torch.zeros(6, 1, 3), settling(6, [6])
    found = [left("gate", logits, gate=gate, threshold=q)[0] for q in (0.3, 0.5, 0.6, 0.9, 1.0)]
    assert found == [1, 1, 2, 4, 0]


def test_the_surest_recursion_so_far_is_taken():
    logits = torch.zeros(4, 1, 3, 5)
    for t, sure in enumerate((1.0, 3.0, 2.0, 4.0)):
        logits[t, ..., 0] = sure
    watch = Watch(exit_of("confidence"))
    watch.begin(torch.ones(1, dtype=torch.bool), torch.zeros(1, 3, 4), 5)
    found = [watch.leaves(torch.zeros(1, 3, 4), Read(one, torch.zeros(1, 2))) for one in logits]
    assert [bool(leaves) for leaves in found] == [True, True, False, True]


def test_the_head_leaves_where_it_says_finished():
    exit = exit_of("head")
    halt = torch.tensor([[1.0, 0], [-1.0, 0]])
    value, _ = exit.look((), torch.zeros(2, 3, 4), Read(torch.zeros(2, 3, 5), halt))
    assert exit.leaves(value).tolist() == [True, False]


@pytest.mark.parametrize(
    ("pool", "leaves"), [("mean", [True, False]), ("worst", [True, False]), ("all", [True, False])]
)
def test_pools(pool, leaves):
    values = torch.tensor([[0.0, 1e-4, 2e-4], [0.0, 0.0, 1.0]])
    assert exit_of("kl", pool=pool).leaves(values).tolist() == leaves
    mixed = torch.tensor([[0.0, 0.0, 2e-3]])
    assert exit_of("kl", pool=pool).leaves(mixed).tolist() == [pool == "mean"]


# ---- in an evaluation


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exits")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ("task=sudoku", "scale=small", *TASKS["sudoku"], "batch=4", "device=cpu")
        words += ("model.width=16", "model.heads=2", "model.layers=1", "optim.warmup=2")
        train.train(tiny.config(*words, "model=huginn", "steps=4", "name=h", "eval.batch=4"))
    return folder / "runs/h"


def attempt_of(run, name: str, batch: int = 3, recursions: int | None = None, **options):
    trained = load(run, device="cpu")
    exit = ExitConfig(name, options.get("threshold"), options.get("pool", "mean"))
    solver = trained.solver(2, False, batch, recursions, exit)
    task, splits = load_task(trained.config.task)
    rows = splits["test"].rows()
    return solver(rows, task.facts), rows, task


@pytest.mark.parametrize("name", sorted(EXITS.keys() - {"gate"}))
def test_exits_change_no_answer_and_do_not_depend_on_the_batch(run, name):
    plain = attempt_of(run, "none")[0]
    found = [attempt_of(run, name, batch)[0] for batch in (3, 6)]
    for one in found:
        assert np.array_equal(one.answers, plain.answers)
        assert np.array_equal(one.exact, plain.exact)
    assert np.array_equal(found[0].exit_recursions, found[1].exit_recursions)
    assert not plain.exit_recursions.any()


def test_who_never_leaves_takes_all_recursions_and_who_always_does_takes_one(run):
    never = attempt_of(run, "kl", threshold=0.0)[0]
    assert (never.exit_recursions == 2 * 8).all()
    assert not never.exited.any()
    assert np.array_equal(never.exit_exact, never.exact[:, -1])
    at_once, rows, task = attempt_of(run, "kl", threshold=1e9)
    assert (at_once.exit_recursions == 1).all()
    found = metrics(at_once, rows, task)
    assert (found["recursions_to_exit"], found["exited"]) == (1, 1)
    assert "at its exit after 1.0 recursions" in brief(found)


def test_an_evaluation_may_go_deeper_than_trained(run):
    deep = attempt_of(run, "kl", recursions=20, threshold=0.0)[0]
    assert (deep.exit_recursions == 40).all()
    trained = load(run, device="cpu")
    puzzle = "1..............2"
    assert trained.solve([puzzle], recursions=1).answers != []
    with pytest.raises(UserError, match="recursions=0 must be a multiple of 1"):
        trained.depth(0)


def test_of_cycles_whole_ones_are_looked_at():
    """Between the ends of two cycles the answer cannot change, and would seem settled."""
    torch.manual_seed(0)
    words = ("task=sudoku", "scale=small", "task.side=4", "model.width=16", "device=cpu", "batch=4")
    trainer = random_trainer(tiny.config(*words, "model.H_cycles=3", "model.L_cycles=2"))
    solver = Solver(
        trainer.model, trainer.depth.full, trainer.gradient, trainer.halting, 1, False, 4, tiny.CPU
    )
    solver.exit = exit_of("kl", 1e9)
    rows = trainer.feed.stream.rows(0, 4)
    found = solver(rows, trainer.feed.facts)
    assert (found.exit_recursions == 2).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("eval.exit=gate",), "needs a model with a gate"),
        (("eval.exit=kl", "gradient=phantom"), "looks at recursions one by one"),
        (("eval.exit=sometimes",), "eval.exit=sometimes is unknown"),
        (("eval.exit=kl", "eval.exit_pool=some"), "eval.exit_pool=some is unknown"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words, said):
    with pytest.raises(UserError, match=said):
        training_config(tiny.composed(list(words)))


# ---- monitors


def test_tokens_that_are_alike_correlate_and_others_do_not():
    torch.manual_seed(0)
    alike = torch.randn(4, 1, 64).expand(4, 9, 64)
    assert token_correlation(alike).item() == pytest.approx(1, abs=1e-5)
    eye = torch.eye(9, 64).expand(4, 9, 64)
    assert abs(token_correlation(eye).item()) < 0.03
    assert abs(token_correlation(torch.randn(4, 9, 4096)).item()) < 0.02


def test_a_fixed_point_has_no_residual_and_a_doubling_one_of_a_half():
    z = torch.randn(4, 9, 8)
    assert relative_residual(z, z).item() == 0
    assert relative_residual(z, 2 * z).item() == pytest.approx(0.5)


def test_a_model_that_ignores_its_recursions_says_so():
    model, batch = tiny.model("transformer", recursions=4), tiny.batch()
    model.loop = lambda z, t: z
    found = watched(model, batch, 4)
    assert (found["same_answer"], found["relative_residual"]) == (1, 0)
    model.loop = lambda z, t: z.roll(1, dims=-1)
    found = watched(model, batch, 4)
    assert found["same_answer"] < 1
    assert found["relative_residual"] > 0.5


@pytest.mark.parametrize("name", tiny.NAMES)
def test_every_model_is_watched_at_every_depth(name):
    model = tiny.model(name)
    for recursions in (1, 4):
        total = recursions * (model.config.cycle or 1)
        found = watched(model, tiny.batch(), total)
        assert set(found) == {"token_correlation", "relative_residual", "same_answer"}
        assert all(math.isfinite(value) for value in found.values())


# ---- several starts


def test_the_start_that_moves_least_answers(run):
    trained = load(run, device="cpu")
    solver = trained.solver(5, False, 3)
    task, splits = load_task(trained.config.task)
    rows = splits["test"].rows()
    attempt, exact = best_of(solver, rows, task.facts, 3)
    alone = [replace(solver, start=start)(rows, task.facts) for start in range(3)]
    left = np.stack([one.moved[:, 2:].mean(1) for one in alone])
    assert len(set(left.argmin(0).tolist())) > 1, "the test needs starts that differ"
    for puzzle, best in enumerate(left.argmin(0)):
        assert np.array_equal(attempt.answers[puzzle], alone[best].answers[puzzle])
    assert np.array_equal(exact, np.stack([one.exact[:, -1] for one in alone]))
    again = replace(solver, batch=6)(rows, task.facts)
    assert np.allclose(alone[0].moved, again.moved, atol=1e-4)


def test_starts_that_do_not_differ_are_refused():
    trainer = random_trainer(tiny.config("task=sudoku", "scale=small", "task.side=4", "batch=4"))
    model, how = trainer.model, (trainer.depth.full, trainer.gradient, trainer.halting)
    rows = trainer.feed.stream.rows(0, 4)
    for segments, said in ((2, "starts every puzzle alike"), (1, "use segments=2 or more")):
        with pytest.raises(UserError, match=said):
            best_of(Solver(model, *how, segments, False, 4, tiny.CPU), rows, trainer.feed.facts, 2)
