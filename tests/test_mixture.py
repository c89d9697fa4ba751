"""Recursions that leave cells out: reference (the paper's numbers of cells), invariants."""

from itertools import pairwise

import pytest
import torch

from conf.schema import training_config
from eval.cost.model_measured import estimate
from eval.speed import random_trainer
from tests import tiny
from tinyreason.errors import UserError
from tinyreason.models.mixture_token import balance
from tinyreason.noise import NoNoise
from tinyreason.recursion import Depth
from tinyreason.routing import Chosen, projected, run, run_first

SHAPE = {"prefix": 0, "puzzle_embedding": False}


def states_of(model, batch, count: int) -> list:
    x = model.encode(batch)
    state, found = model.start(x, NoNoise()), []
    for t in range(count):
        state = model.recur(state, x, t)
        found.append(state)
    return found


def test_each_recursion_runs_as_many_cells_as_published():
    """A share of (R - t) / R of them, rounded down, and never none."""
    for recursions in range(1, 6):
        config = tiny.model_config("mixture", recursions=recursions)
        for cells in range(1, 1001):
            for t in range(recursions):
                share = (recursions - t) / recursions
                assert config.running(t, cells) == max(1, int(share * cells + 1e-9))
            assert config.running(recursions + 3, cells) == config.running(recursions - 1, cells)


@pytest.mark.parametrize("kv", ["own", "shared", "updated"])
def test_the_cells_that_run_are_among_those_that_ran_and_the_others_are_untouched(kv):
    model, batch = tiny.model("mixture", recursions=4, kv=kv, **SHAPE), tiny.batch()
    found = states_of(model, batch, 6)  # deeper than it has routers
    assert [int(s.ran.sum(1)[0]) for s in found] == [16, 12, 8, 4, 4, 4]
    for before, after in pairwise(found):
        assert (after.ran <= before.ran).all()
        assert (after.ran.sum(1) == after.ran[0].sum()).all()
        assert torch.equal(after.h[~after.ran], before.h[~after.ran])
        assert (after.h[after.ran] != before.h[after.ran]).any(-1).all()


def test_the_first_recursion_adds_what_the_core_makes_of_every_cell():
    model, batch = tiny.model("mixture", **SHAPE), tiny.batch()
    x = model.encode(batch)
    score = model.config.alpha * (x @ model.routers[0]).sigmoid()[..., None]
    (first,) = states_of(model, batch, 1)
    torch.testing.assert_close(first.h, x + score * model.core(x))


@pytest.mark.parametrize("name", ["mixture", "mixture_token"])
@pytest.mark.parametrize("kv", ["own", "shared", "updated"])
def test_every_row_is_as_if_alone(name, kv):
    """Also where rows differ in how many of their cells run."""
    torch.manual_seed(3)
    model, batch = tiny.model(name, recursions=3, kv=kv, **SHAPE), tiny.batch(6)
    with torch.no_grad():
        for p in model.parameters():
            if p.shape == (3, 16):  # the routers
                p.normal_(std=2.0)
    whole = tiny.segment(model, batch, Depth(3, 3)).state[0]
    for row in range(6):
        alone = batch.map(lambda t, row=row: t[row : row + 1])
        found = tiny.segment(model, alone, Depth(3, 3)).state[0]
        torch.testing.assert_close(found, whole[row : row + 1])


def test_a_cell_runs_so_often_as_it_chose():
    model, batch = tiny.model("mixture_token", recursions=3, **SHAPE), tiny.batch(6)
    with torch.no_grad():
        model.router.normal_(std=2.0)
    first, second, third = states_of(model, batch, 3)
    assert len(first.depth.unique()) == 3
    assert torch.equal(second.y[first.depth < 1], first.y[first.depth < 1])
    assert torch.equal(third.y[first.depth < 2], second.y[first.depth < 2])
    assert (third.y[first.depth == 2] != second.y[first.depth == 2]).any(-1).all()
    weighted = third.before + third.weight[..., None] * third.y
    assert torch.equal(third.z, weighted)


def test_shared_keys_and_values_are_those_of_the_first_recursion():
    """Where all cells run again, they attend to what was there at first."""
    model = tiny.model("mixture", kv="shared", **SHAPE)
    x = model.encode(tiny.batch())
    new, store = run_first(model.core, x, "shared")
    torch.testing.assert_close(new, model.core(x))
    everything = Chosen(torch.arange(16).expand(4, 16))
    torch.testing.assert_close(run(model.core, x, everything, "shared", store), new)
    block = model.core.blocks[0]
    _, k, v = projected(block.mix, block.around_mix.before(x), everything.places, 0, 3)
    torch.testing.assert_close(store[:, 0], torch.stack((k, v), dim=1))


def test_the_balance_is_1_where_all_depths_are_chosen_alike_and_more_where_not():
    depth = torch.arange(12).view(2, 6) % 3
    even = torch.full((2, 6, 3), 1 / 3)
    assert balance(even, depth).item() == pytest.approx(1)
    sure = torch.tensor([1.0, 0, 0]).expand(2, 6, 3)
    assert balance(sure, torch.zeros(2, 6, dtype=torch.long)).item() == pytest.approx(3)


def trainer_of(*words: str):
    torch.manual_seed(0)
    small = ("task=sudoku", "scale=small", "task.side=4", "batch=6", "device=cpu")
    small += ("model.width=16", "model.heads=2", "model.layers=1", "optim.warmup=2")
    return random_trainer(tiny.config(*small, *words))


def test_a_bias_is_moved_against_the_shares_after_each_step_and_is_averaged_and_saved():
    words = ("model=mixture_token", "model.balance=loss_free")
    trainer = trainer_of(*words)
    with torch.no_grad():
        trainer.model.router.zero_()
        trainer.model.router[0] = 1e-3
    tiny.steps(trainer, 1)
    bias = trainer.model.bias
    assert sorted(bias.abs().unique().tolist()) == pytest.approx([1e-3])
    assert bias.min() < 0 < bias.max()
    assert torch.equal(trainer.averaged.bias, bias)
    assert not trainer.model.counts.any()
    resumed = trainer_of(*words)
    resumed.load_state_dict(trainer.state_dict())
    assert torch.equal(resumed.model.bias, bias)


def test_a_bad_step_leaves_the_bias_and_what_its_cells_chose_is_forgotten():
    trainer = tiny.steps(trainer_of("model=mixture_token", "model.balance=loss_free"), 2)
    before = trainer.model.bias.clone()
    with torch.no_grad():
        trainer.model.router[0, 0] = torch.nan
    trainer.step()
    assert torch.equal(trainer.model.bias, before)
    assert not trainer.model.counts.any()


def test_micro_batches_move_the_bias_by_the_shares_of_the_whole_batch():
    words = ("model=mixture_token", "model.balance=loss_free", "model.z=0")
    whole, parts = (tiny.steps(trainer_of(*words, *more), 3) for more in ((), ("micro_batch=4",)))
    assert whole.model.bias.any()
    assert torch.equal(whole.model.bias, parts.model.bias)


@pytest.mark.parametrize("name", ["mixture", "mixture_token"])
@pytest.mark.parametrize(
    "words",
    [("gradient=phantom", "gradient.recursions=3"), ("gradient=implicit", "model.recursions=1")],
)
def test_a_gradient_that_mixes_states_is_refused_in_one_line(name, words):
    """Which cells run is no number."""
    words = [f"model={name}", "scale=small", "task=sudoku", *words]
    with pytest.raises(UserError, match=r"states of numbers alone; with model\.name=mixture"):
        training_config(tiny.composed(words))


def test_leaving_cells_out_saves_the_work_of_them():
    """Of each block: four projections and a SwiGLU a cell, two products a pair of cells."""
    words = ("task=sudoku", "scale=small", "model=mixture", "task.side=4", "model.layers=1")
    config = tiny.config(*words, "model.recursions=4", "device=cpu")
    facts = random_trainer(config).feed.facts
    D, S = config.model.width, 16
    inner = 192  # 4 D 2/3 up to a multiple of 32
    cell, pair = 2 * (4 * D * D + 3 * D * inner), 4 * D
    expected = sum(k * cell + k * k * pair for k in (16, 12, 8, 4))
    heads = 2 * S * D * facts.vocab_size + 2 * D * 2
    found = estimate(config, facts, torch.float32).flops["forward"]
    assert found == expected + heads  # products with a router's vector are not counted
    assert found < 0.7 * (4 * (S * cell + S * S * pair) + heads)


@pytest.mark.parametrize("name", ["mixture", "mixture_token"])
def test_a_mixer_is_refused_in_one_line(name):
    words = [f"model={name}", "scale=paper", "model.mix=mixer"]
    with pytest.raises(UserError, match=r"use model\.mix=attention model\.positions=rotary"):
        training_config(tiny.composed(words))


@pytest.mark.parametrize("name", ["mixture", "mixture_token"])
@pytest.mark.parametrize("task", ["sudoku", "maze", "arc"])
def test_at_laptop_scale_every_task_has_attention_for_them(name, task):
    config = training_config(tiny.composed([f"model={name}", "scale=small", f"task={task}"]))
    assert (config.model.mix, config.model.positions) == ("attention", "rotary")
