"""Winner takes all: reference (TRM, of one chain), invariants."""

import pytest
import torch

from conf.schema import training_config
from eval.speed import random_trainer
from tests import tiny
from tinyreason.chains import POLICIES, carried, of_chain
from tinyreason.errors import UserError
from tinyreason.losses import smoothed, softmax
from tinyreason.noise import NoNoise
from tinyreason.recursion import Depth

SMALL = ("task=sudoku", "scale=small", "task.side=4", "batch=6", "device=cpu", "optim.warmup=2")
SMALL += ("model.width=16", "model.heads=2", "model.layers=1")


def trainer_of(*words: str):
    torch.manual_seed(0)
    return random_trainer(tiny.config(*SMALL, *words))


def test_one_chain_is_trm_bit_for_bit():
    wta, trm = tiny.model("wta", chains=1), tiny.model()
    shared = {k: v for k, v in trm.state_dict().items() if not k.startswith("start_")}
    starts = {"start_H": trm.start_z_H, "start_L": trm.start_z_L[None], "wins": wta.wins}
    wta.load_state_dict(shared | starts)
    batch, depth = tiny.batch(), Depth(4, 2)
    found, expected = (tiny.segment(model, batch, depth) for model in (wta, trm))
    assert torch.equal(found.reads[-1].logits, expected.reads[-1].logits)
    assert torch.equal(found.state.z_L[:, 0], expected.state.z_L)


def test_each_chain_is_as_if_alone():
    model, batch = tiny.model("wta", chains=3), tiny.batch()
    whole = tiny.segment(model, batch, Depth(4, 2)).state
    for chain in range(3):
        alone = tiny.model("wta", chains=1)
        state = model.state_dict()
        one = slice(chain, chain + 1)
        own = {"start_L": state["start_L"][one], "wins": state["wins"][one]}
        alone.load_state_dict(state | own)
        found = tiny.segment(alone, batch, Depth(4, 2)).state
        torch.testing.assert_close(found.z_L[:, 0], whole.z_L[:, chain])


def test_the_best_chain_alone_is_trained_and_its_answer_carried_on():
    trainer = trainer_of("model=wta", "model.chains=3", "gradient=bptt")
    carry = trainer.carry.refill(trainer.feed.take(trainer.carry.halted))
    trace, losses = trainer.forward(carry, trainer.depth.full)
    reads = trainer.model.chain_reads(trace.state)
    assert torch.equal(reads[0].logits, reads[2].logits)  # z_H is the winner's in all
    assert not torch.equal(trace.state.z_L[:, 0], trace.state.z_L[:, 1])
    losses["answer_loss"].value.sum().backward()
    assert (trainer.model.start_L.grad.abs().sum(-1) > 0).any()


def test_a_bad_step_is_no_win():
    trainer = tiny.steps(trainer_of("model=wta", "model.chains=4"), 2)
    before = trainer.model.wins.clone()
    weight = trainer.model.heads.answer.weight
    good = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] = torch.nan
    trainer.step()
    assert torch.equal(trainer.model.wins, before)
    with torch.no_grad():
        weight.copy_(good)
    trainer.step()
    assert trainer.model.wins.sum() == before.sum() + 6  # those of the bad step are forgotten


def test_an_evaluation_follows_the_chain_that_has_won_most_often():
    trainer = tiny.steps(trainer_of("model=wta", "model.chains=4"), 6)
    wins = trainer.model.wins
    assert wins.sum() == 6 * 6
    assert torch.equal(trainer.averaged.wins, wins)
    model = trainer.model
    x = model.encode(trainer.carry.batch)
    start = model.eval().start(x, NoNoise())
    assert start.z_L.shape[1] == 1
    assert torch.equal(start.z_L[0, 0, 0], model.start_L[wins.argmax()])


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_carried_on(policy):
    old = torch.arange(6.0).view(1, 3, 1, 2)
    new, order = old + 10, torch.tensor([[2, 0, 1]])
    moved = {
        "all": [10, 12, 14],
        "copy_top1": [14, 14, 14],
        "top1": [0, 2, 14],
        "top2": [10, 2, 14],
        "none": [0, 2, 4],
    }
    assert carried(policy, old, new, order)[0, :, 0, 0].tolist() == moved[policy]
    assert of_chain(new, order[:, 0])[0, 0, 0].item() == 14


def test_smoothing_spreads_a_fifth_over_all_tokens():
    logits, labels = torch.randn(3, 4, 5), torch.randint(0, 5, (3, 4))
    spread = torch.stack([softmax(logits, torch.full_like(labels, v)) for v in range(5)]).mean(0)
    expected = 0.8 * softmax(logits, labels) + 0.2 * spread
    torch.testing.assert_close(smoothed(logits, labels), expected)


def test_the_halting_head_weighs_as_published():
    config = tiny.config("model=wta", "task=sudoku", "scale=small")
    assert (config.halting.weight, config.loss) == (0.05, "smoothed")
    assert tiny.config("model=trm", "task=sudoku", "scale=small").halting.weight == 0.5


@pytest.mark.parametrize(
    ("words", "use"),
    [(("model=wta", "supervision=last"), "winner"), (("supervision=winner",), "last")],
)
def test_chains_go_with_the_supervision_that_chooses(words, use):
    with pytest.raises(UserError, match=f"use supervision={use}"):
        training_config(tiny.composed(list(words)))
