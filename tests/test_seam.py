"""What the seam promises a model: a toy for each promise, trained by the real trainer, found by its
name alone.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from conf.schema import training_config
from eval.speed import random_trainer
from tests import tiny
from tests.tiny import steps
from tinyreason.errors import UserError
from tinyreason.layers import Linear, Norm
from tinyreason.models import MODELS, ModelConfig, Read
from tinyreason.models.base import LoopConfig, LoopState, RecursiveModel
from tinyreason.noise import Noise
from tinyreason.options import option
from tinyreason.recursion import Depth
from tinyreason.tags import tagged
from tinyreason.trainer import Trainer

SMALL = ("task=sudoku", "scale=small", "task.side=4", "batch=6", "device=cpu", "optim.warmup=2")
SMALL += ("halting.segments=2", "model.width=16", "gradient=bptt")


class Toy(RecursiveModel):
    """Abstract. One matrix and a norm."""

    Config = LoopConfig

    def __init__(self, config: ModelConfig, facts, dtype):
        super().__init__(config, facts, dtype)
        self.core = Linear(config.width, config.width, matrix=True)
        self.norm = Norm()

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        return LoopState(self.norm(state.z + torch.tanh(self.core(state.z))))


class StartIsX(Toy):
    """No injection: all that it knows of the puzzle came in at the start."""

    def start(self, x: Tensor, noise: Noise) -> LoopState:
        return LoopState(x)


class StartDraws(Toy):
    """Anew for every puzzle."""

    def start(self, x: Tensor, noise: Noise) -> LoopState:
        return LoopState(noise.normal(x))

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        return super().recur(LoopState(state.z + x), x, t)


class Counted(NamedTuple):
    """A state whose parts have shapes of their own."""

    z: Tensor  # (B S D)
    steps: Tensor  # (B S) how often each cell has moved


class CellState(StartIsX):
    """A (B S) part of the state, and a penalty made of it."""

    def start(self, x: Tensor, noise: Noise) -> Counted:
        return Counted(x, torch.zeros_like(x[..., 0]))

    def recur(self, state: Counted, x: Tensor, t: int) -> Counted:
        return Counted(super().recur(LoopState(state.z), x, t).z, state.steps + 1)

    def penalties(self, state: Counted) -> dict[str, Tensor]:
        return {"ponder": 0.01 * state.steps.mean(-1) + state.z.square().mean((1, 2))}


@dataclass
class RankConfig(LoopConfig):
    rank: int = option(least=1, most=8)
    kind: str = option(choices=("plain", "fancy"))


class OwnOption(StartIsX):
    """An option that no other model has, a parameter of its own and another learning rate."""

    Config = RankConfig

    def __init__(self, config: RankConfig, facts, dtype):
        super().__init__(config, facts, dtype)
        scale = torch.ones(config.rank)
        self.scale = tagged(nn.Parameter(scale), decay=False, lr_scale=0.5)

    def recur(self, state: LoopState, x: Tensor, t: int) -> LoopState:
        return super().recur(LoopState(state.z * self.scale.mean()), x, t)


class GateRead(StartIsX):
    """A gate of each cell at every recursion."""

    gates = True

    def __init__(self, config: ModelConfig, facts, dtype):
        super().__init__(config, facts, dtype)
        self.gate = Linear(config.width, 1, bias=True)

    def read(self, state: LoopState) -> Read:
        return Read(*self.heads(state.z), self.gate(state.z)[..., 0].float())


TOYS = {
    "start_is_x": StartIsX,
    "start_draws": StartDraws,
    "cell_state": CellState,
    "own_option": OwnOption,
    "gate_read": GateRead,
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for name, toy in TOYS.items():
        monkeypatch.setitem(MODELS, name, toy)


def words_of(name: str) -> tuple[str, ...]:
    """As a user would choose it, with the options that its yaml would have."""
    own = ("+model.rank=3", "+model.kind=plain") if name == "own_option" else ()
    drop = ("~model.H_cycles", "~model.L_cycles", "+model.recursions=4")
    return (*SMALL, "model=trm", "experiment=trm_small_slow", f"model.name={name}", *drop, *own)


def trainer_of(name: str, *more: str) -> Trainer:
    torch.manual_seed(0)
    return random_trainer(tiny.config(*words_of(name), *more))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_trains_and_resumes_bitwise(name):
    whole = steps(trainer_of(name), 6)
    half = steps(trainer_of(name), 3)
    resumed = trainer_of(name)
    resumed.load_state_dict(half.state_dict())
    steps(resumed, 3)
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(whole).values(), weights(resumed).values(), strict=True)
    )
    assert not torch.equal(whole.model.core.weight, trainer_of(name).model.core.weight)


@pytest.mark.parametrize("name", TOYS)
def test_micro_batches_and_recomputing_give_the_gradient_of_the_batch(name):
    """Also where the state starts at random: the numbers are handed in."""
    plain = steps(trainer_of(name), 2)
    for more in (("micro_batch=4",), ("model.recompute=true",)):
        other = steps(trainer_of(name, *more), 2)
        for key, weight in weights(plain).items():
            torch.testing.assert_close(weights(other)[key], weight, rtol=1e-4, atol=1e-6)


# ---- a start that sees its puzzle


def test_a_refilled_slot_starts_with_its_own_puzzle_and_not_with_the_last_ones_state():
    trainer = steps(trainer_of("start_is_x", "halting=fixed", "halting.segments=1"), 3)
    carry = trainer.carry.refill(trainer.feed.take(trainer.carry.halted))
    x = trainer.model.encode(carry.batch)
    start = carry.begun(trainer.model.start(x, trainer.noise(slice(None))))
    assert torch.equal(start.z, x)
    assert not torch.equal(start.z, carry.state.z)


def test_gradient_passes_through_the_start():
    trainer = trainer_of("start_is_x")
    carry = trainer.carry.refill(trainer.feed.take(trainer.carry.halted))
    trainer.forward_backward(carry, trainer.depth.full, slice(None))
    assert trainer.model.encoder.tokens.grad.abs().sum() > 0


def test_a_busy_slot_goes_on_from_its_state():
    trainer = steps(trainer_of("start_is_x", "halting=fixed"), 1)
    assert not trainer.carry.halted.any()
    carry = trainer.carry.refill(trainer.feed.take(trainer.carry.halted))
    start = carry.begun(
        trainer.model.start(trainer.model.encode(carry.batch), trainer.noise(slice(None)))
    )
    assert torch.equal(start.z, trainer.carry.state.z)


# ---- a start that draws


def test_a_drawn_start_differs_by_cell_slot_and_step_and_repeats_with_the_seed():
    trainer = trainer_of("start_draws")
    x = trainer.model.encode(trainer.carry.batch)
    first, again = (trainer.model.start(x, trainer.noise(slice(None))).z for _ in range(2))
    assert torch.equal(first, again)
    trainer.step()
    assert not torch.equal(first, trainer.model.start(x, trainer.noise(slice(None))).z)
    assert len(first.flatten().unique()) > 0.99 * first.numel()
    part = trainer.model.start(x[2:5], trainer.noise(slice(2, 5))).z
    assert torch.equal(part, trainer.model.start(x, trainer.noise(slice(None))).z[2:5])
    other = trainer_of("start_draws", "seed=1")
    assert not torch.equal(first, other.model.start(x, other.noise(slice(None))).z)


# ---- penalties


def test_a_penalty_is_logged_under_its_name_and_has_its_weight_in_the_loss():
    trainer = steps(trainer_of("cell_state", "halting=fixed"), 2)
    record = trainer.meter.read()
    assert record["ponder"] > 0.01 * 4
    assert record["loss"] == pytest.approx(record["answer_loss"] + record["ponder"])


def test_a_penalty_moves_the_weights():
    with_penalty, without = trainer_of("cell_state"), trainer_of("start_is_x")
    assert torch.equal(with_penalty.model.core.weight, without.model.core.weight)
    steps(with_penalty, 2), steps(without, 2)
    assert not torch.equal(with_penalty.model.core.weight, without.model.core.weight)


# ---- an option of its own


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model.rank=9",), "model.rank=9 must be from 1 to 8"),
        (("model.kind=odd",), "model.kind=odd is unknown; use one of plain, fancy"),
        (
            ("+model.rnk=3",),
            "model.rnk is no option of model.name=own_option; did you mean model.rank?",
        ),
        (("model.rank=x",), "model.rank"),
    ],
)
def test_an_own_option_is_checked_like_any_other(words, said):
    with pytest.raises(UserError) as caught:
        training_config(tiny.composed([*words_of("own_option"), *words]))
    assert said in str(caught.value)


def test_an_option_of_another_model_is_refused():
    with pytest.raises(UserError, match=r"model\.rank is no option of model\.name=start_is_x"):
        tiny.config(*words_of("start_is_x"), "+model.rank=3")


def test_tags_decide_what_moves_a_parameter():
    trainer = trainer_of("own_option", "optim.weight_decay=0.1", "optim.matrices=muon")
    rest, muon = trainer.optimizers.optimizers
    assert [p is trainer.model.core.weight for p in muon.param_groups[0]["params"]] == [True]
    own = next(g for g in rest.param_groups if g["params"][0] is trainer.model.scale)
    assert (own["weight_decay"], own["full_lr"]) == (0.0, 0.5 * 3e-3)
    trainer.step()
    assert own["lr"] == pytest.approx(own["full_lr"] * trainer.optimizers.schedule(1))


# ---- reads of every recursion


def test_every_tracked_recursion_is_read_where_supervision_asks_for_it():
    model, batch = tiny.model("ouro", recursions=4), tiny.batch()
    trace = tiny.segment(model, batch, Depth(4, 3), every=True)
    assert len(trace.reads) == 3
    alone = tiny.segment(model, batch, Depth(2, 2)).reads[-1]
    assert torch.equal(trace.reads[0].logits, alone.logits)
    assert len(tiny.segment(model, batch, Depth(4, 3)).reads) == 1


@pytest.mark.parametrize("supervision", ["every", "exit_gate"])
def test_a_loss_of_every_read_trains_the_gate_only_if_it_is_asked(supervision):
    trainer = trainer_of("gate_read", f"supervision={supervision}")
    before = trainer.model.gate.weight.detach().clone()
    carry = trainer.carry.refill(trainer.feed.take(trainer.carry.halted))
    trainer.forward_backward(carry, trainer.depth.full, slice(None))
    reached = trainer.model.gate.weight.grad is not None
    assert reached == (supervision == "exit_gate")
    assert torch.equal(before, trainer.model.gate.weight)


def test_exit_gate_without_a_gate_is_one_line():
    """Before any data is loaded."""
    with pytest.raises(UserError, match="supervision=exit_gate needs a model with a gate"):
        training_config(tiny.composed([*words_of("start_is_x"), "supervision=exit_gate"]))


# ---- rows that stand still


def test_a_row_that_is_not_live_keeps_its_state_and_moves_as_if_alone():
    """Each row its own depth: row i of a batch equals the same row run alone."""
    model, batch = tiny.model("relaxed", recursions=4), tiny.batch()
    totals = torch.tensor([1, 4, 2, 3])
    live = torch.arange(4)[:, None] < totals
    trace = tiny.segment(model, batch, Depth(4, 4, live))
    for row, total in enumerate(totals.tolist()):
        alone = batch.map(lambda t, row=row: t[row : row + 1])
        expected = tiny.segment(model, alone, Depth(total, total)).state.z
        torch.testing.assert_close(trace.state.z[row : row + 1], expected)


def test_model_configurations_are_dataclasses_of_their_own():
    config = tiny.config(*words_of("own_option"))
    assert type(config.model) is RankConfig
    assert replace(config.model, rank=2).rank == 2
