"""The scale for one consumer card, its model that repairs its answer, and QK-norm as a choice."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from eval.cost import model_measured as models
from eval.cost import model_plan as plan
from eval.cost.cards import CARDS
from eval.cost.model_predicted import estimate, predicted
from eval.speed import random_trainer
from tests import tiny
from tests.marks import hostile
from tests.tiny import steps
from tinyreason.functions import rms_norm
from tinyreason.gradient import make_gradient
from tinyreason.layers import EPS, TRM_STYLE, Attention, attention_style
from tinyreason.models.base import State
from tinyreason.models.repair import spoilt
from tinyreason.noise import NoNoise, StepNoise
from tinyreason.segment import Carry, segment

MEDIUM = ("task=sudoku", "model=repair", "scale=medium")
FAST = ("experiment=sudoku_extreme_fast", "scale=paper")
TINY = ("task.side=4", "batch=6", "device=cpu", "model.width=16", "model.heads=2")
TINY += ("model.H_cycles=2", "model.L_cycles=2", "model.inner_multiple=8", "steps=30")
CONSUMER = ("rtx3060", "rtx4060")  # the slowest, and the one with the least memory


# ---- the scale


def test_medium_is_the_recipe():
    config = tiny.config(*MEDIUM)
    config.check()
    model, optim = config.model, config.optim
    assert (model.mix, model.positions, model.prefix) == ("normed_attention", "grid", 0)
    assert (model.H_cycles, model.L_cycles, config.halting.segments) == (6, 9, 32)
    assert (optim.matrices, optim.min_lr_ratio) == ("muon", 0)
    assert optim.muon_weight_decay > 0
    assert config.scale == "medium"


@pytest.mark.parametrize("name", [hostile(n, when=n != "mixture") for n in tiny.NAMES])
def test_medium_takes_every_model(name):
    config = tiny.config("task=sudoku", *tiny.choice(name), "scale=medium")
    config.check()
    assert config.model.width == 256


@pytest.mark.parametrize("card", CONSUMER)
def test_medium_is_two_hours_by_plan_on_consumer_cards(card):
    config, one = tiny.config(*MEDIUM), CARDS[card]
    row = plan.planned(config, 0.4 * one.tflops * 1e12, 0.9 * one.memory * 1e9)
    assert row["hours"] <= 2
    assert "without recomputing" in plan.at_once(config, one)


def test_the_fast_experiment_is_half_an_hour_of_an_h100_by_plan():
    speed = 0.4 * CARDS["h100"].tflops * 1e12
    assert plan.planned(tiny.config(*FAST), speed, 72e9)["hours"] <= 0.5
    assert plan.planned(tiny.config(*FAST, "steps=6500"), speed, 72e9)["hours"] <= 1 / 6


@pytest.mark.parametrize("words", [MEDIUM, hostile(FAST)])
def test_both_train_on_a_cpu_and_resume_bitwise(words):
    config = tiny.config(*words, *TINY)
    whole, half, resumed = (trainer_of(config) for _ in range(3))
    before = [p.detach().clone() for p in whole.model.parameters()]
    steps(whole, 4)
    resumed.load_state_dict(steps(half, 2).state_dict())
    steps(resumed, 2)
    assert resumed.result()["sha256"] == whole.result()["sha256"]
    moved = [not torch.equal(p, q) for p, q in zip(whole.model.parameters(), before, strict=True)]
    assert sum(moved) >= len(moved) - 2  # the halting head is not sure to be
    assert not int(whole.meter.read()["skipped"])


def trainer_of(config):
    torch.manual_seed(0)
    return random_trainer(config)


# ---- the model that repairs


def repair(**changes):
    return tiny.model("repair", **changes)


def test_it_begins_as_trm():
    ours, trm = repair(), tiny.model("trm")
    trm.load_state_dict({k: v for k, v in ours.state_dict().items() if k != "feedback"})
    batch, depth = tiny.batch(), tiny.Depth(4, 2)
    one, other = (tiny.read(model, batch, depth).logits for model in (ours, trm))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_it_sees_its_answer():
    model = repair()
    torch.nn.init.normal_(model.feedback)
    batch = tiny.batch()
    x = model.encode(batch)
    state = model.start(x, NoNoise())
    injected = model.injected(state.z_H)
    answer = model.read(state).answer
    assert not injected[:, : model.config.prefix].any()
    cells = model.encoder.scale * model.feedback[answer]
    torch.testing.assert_close(injected[:, model.config.prefix :], cells)


def test_some_cells_of_some_slots_are_wrong_in_training_alone():
    model = repair(slots=0.5, cells=0.25)
    answer = torch.arange(16).repeat(2000, 1)  # all cells differ

    def wrong_of(answer: torch.Tensor, noise: StepNoise) -> torch.Tensor:
        return spoilt(answer, model.wrong(answer, noise.at(0))) != answer

    noise = StepNoise(0, 0, len(answer), slice(None), tiny.CPU)
    wrong = wrong_of(answer, noise)
    share = wrong.any(1).float().mean()
    assert abs(share - 0.5) < 0.05
    assert abs(wrong[wrong.any(1)].float().mean() - 0.25 * 15 / 16) < 0.02
    assert torch.equal(wrong, wrong_of(answer, noise))
    part = StepNoise(0, 0, len(answer), slice(500, 900), tiny.CPU)
    assert torch.equal(wrong_of(answer[500:900], part), wrong[500:900])


def moved_by(model, recur):
    """The fast state after a recursion."""
    x = model.encode(tiny.batch())
    torch.manual_seed(1)
    return recur(State(torch.randn(x.shape), torch.randn(x.shape)), x, 0).z_L


def test_evaluations_and_a_bare_recursion_see_the_answer_as_it_is():
    model = repair(slots=0.9, cells=0.9)
    torch.nn.init.normal_(model.feedback)
    noise = StepNoise(0, 0, len(tiny.batch()), slice(None), tiny.CPU)
    bare, trained = (moved_by(model, one) for one in (model.recur, model.recursion(noise)))
    model.eval()
    assert not torch.equal(bare, trained)
    for recur in (model.recur, model.recursion(noise)):
        torch.testing.assert_close(moved_by(model, recur), bare, rtol=0, atol=0)


class Counted(StepNoise):
    """Counts what is drawn."""

    drawn = 0

    def at(self, t: int) -> "Counted":
        return self

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        self.drawn += 1
        return super().normal(like)


@pytest.mark.parametrize("recompute", [False, True])
def test_wrong_cells_are_drawn_once_a_segment(recompute):
    model = repair(slots=0.5, cells=0.25, recompute=recompute)
    noise = Counted(0, 0, len(tiny.batch()), slice(None), tiny.CPU)
    carry = Carry.fresh(model, tiny.batch())
    gradient = make_gradient(tiny.config(*MEDIUM).gradient, model.config.cycle)
    trace = segment(model, carry, tiny.Depth(4, 2), gradient, noise)
    trace.reads[-1].logits.sum().backward()
    assert noise.drawn == 3


def test_wrong_cells_are_repaired_towards_the_label():
    """The gradient reaches the embedding of the answer, once training has begun."""
    config = tiny.config(*MEDIUM, *TINY)
    trainer = steps(trainer_of(config), 3)
    assert trainer.model.feedback.detach().abs().max() > 0


CASES = {
    ("repair", "grid", "false", "float32"): False,
    ("repair", "grid", "true", "bfloat16"): False,
    ("trm", "rotary", "false", "bfloat16"): False,
    ("trm", "grid", "false", "bfloat16"): True,
    ("trm", "rotary", "false", "float32"): True,
    ("repair", "rotary", "false", "bfloat16"): True,
    ("repair", "rotary", "true", "float32"): True,
}


@pytest.mark.parametrize(
    ("name", "positions", "recompute", "dtype"),
    [hostile(*case, when=late) for case, late in CASES.items()],
)
def test_its_cost_is_that_of_the_closed_form(name, positions, recompute, dtype):
    more = ("task.side=4", "batch=3", "compile=false", "model.width=16", "model.heads=2")
    more += (f"model.recompute={recompute}", f"model.dtype={dtype}", "device=cpu")
    more += ("model.mix=normed_attention", f"model.positions={positions}")
    config = tiny.config("task=sudoku", "scale=small", f"model={name}", *more)
    trainer = trainer_of(config)
    one = estimate(config, trainer.feed.facts, trainer.model.encoder.dtype)
    assert one.how == "closed form"
    expected = predicted(config, trainer.feed.facts, one)
    assert models.products(trainer) == (expected.forward, expected.backward)
    indices = 8 * 16 * 2 * (name == "repair")  # of the answer, in each tracked recursion
    assert abs(models.kept(trainer) - expected.kept) <= config.batch * (indices + 180)


# ---- QK-norm


def test_queries_and_keys_are_normed():
    torch.manual_seed(0)
    normed = Attention(16, 2, 5, False, attention_style(TRM_STYLE, "normed_attention"))
    x = torch.randn(3, 5, 16)
    q, k, v = normed.qkv(x).view(3, 5, 3, 2, 8).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(
        rms_norm(q, -1, EPS), rms_norm(k, -1, EPS), v
    )  # whose eps is another
    expected = normed.out(y.transpose(1, 2).reshape(3, 5, 16))
    torch.testing.assert_close(normed(x), expected, rtol=1e-4, atol=1e-4)


def test_it_is_a_choice_of_models_that_attend():
    for name in ("hrm", "deep_thinking"):
        config = tiny.config("task=sudoku", f"model={name}", "scale=small", *TINY[:5])
        config = replace(config, model=replace(config.model, mix="normed_attention"))
        names = [type(m).__name__ for m in trainer_of(config).model.modules()]
        assert "TokenMixer" not in names
