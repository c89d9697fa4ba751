"""When puzzles leave their slots: reference (published rules, targets, exploration law)."""

import math

import pytest
import torch
from torch import Tensor

from eval.speed import random_trainer
from tests import tiny
from tinyreason import objective
from tinyreason.errors import UserError
from tinyreason.halting import RULES, make_halting
from tinyreason.losses import Loss
from tinyreason.models import Read

ROWS = 40_000


def read_of(halt: list[list[float]]) -> Read:
    return Read(torch.zeros(len(halt), 1, 2), torch.tensor(halt, requires_grad=True))


def saying(finished: bool, rows: int = ROWS) -> Read:
    """Every slot's head is sure."""
    return Read(
        torch.zeros(rows, 1, 2),
        torch.tensor([[5.0, -5.0] if finished else [-5.0, 5.0]]).expand(rows, 2),
    )


def done(
    rule: str, read: Read, segments, *, most: int = 16, exploration: float = 0.0, seed: int = 0
):
    halting = make_halting(tiny.halting_config(rule, most, exploration))
    segments = torch.as_tensor(segments, dtype=torch.int32).expand(len(read.halt))
    return halting.done(read, segments, torch.Generator().manual_seed(seed))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross_entropy(logit: float, target: float) -> float:
    p = sigmoid(logit)
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


# ---- what the head says

HEADS = [[1.0, 2.0], [2.0, 1.0], [-2.0, -3.0], [-1.0, 3.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("rule", "wants"),
    [
        ("fixed", [False, False, False, False, False]),
        ("correctness", [True, True, False, False, False]),  # halt > 0
        ("q_learning", [False, True, True, False, False]),  # halt > continue
    ],
)
def test_each_rule_reads_the_head_in_its_own_way(rule, wants):
    read = read_of(HEADS)
    assert make_halting(tiny.halting_config(rule)).wants(read).tolist() == wants
    assert done(rule, read, 1).tolist() == wants


@pytest.mark.parametrize("rule", RULES)
def test_the_limit_ends_every_puzzle(rule):
    segments = [1, 15, 16, 17, 3]
    halted = done(rule, saying(False, 5), segments)
    assert halted.tolist() == [False, False, True, True, False]


# ---- exploration


@pytest.mark.parametrize("rule", ["correctness", "q_learning"])
def test_one_in_ten_is_made_to_stay_for_a_least_number_uniform_in_2_to_16(rule):
    """P(halts at segment k | the head says so) = 0.9 + 0.1 (k - 1) / 15."""
    for k in (1, 2, 3, 8, 15):
        expected = 0.9 + 0.1 * (k - 1) / 15
        share = done(rule, saying(True), k, exploration=0.1, seed=k).double().mean().item()
        assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / ROWS), (k, share)


def test_a_certain_exploration_shows_the_least_number_alone():
    shares = [
        done("correctness", saying(True), k, exploration=1.0, seed=k).double().mean().item()
        for k in range(1, 17)
    ]
    assert shares[0] == 0  # 2 is the least least
    assert shares[15] == 1
    for k, share in enumerate(shares[1:15], start=2):
        assert abs(share - (k - 1) / 15) < 4 * math.sqrt(0.25 / ROWS)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("most", [1, 2, 16])
def test_the_limit_is_never_suppressed(rule, most):
    for finished in (True, False):
        assert done(rule, saying(finished), most, most=most, exploration=1.0).all()


def test_exploration_never_halts_what_does_not_want_to():
    assert not done("correctness", saying(False), 15, exploration=1.0).any()


def test_exploration_is_drawn_anew_at_every_segment_and_for_every_slot():
    halting = make_halting(tiny.halting_config("correctness", exploration=0.5))
    generator, one = torch.Generator().manual_seed(0), torch.ones(ROWS, dtype=torch.int32)
    first, second = (halting.done(saying(True), one, generator) for _ in range(2))
    for draw in (first, second):
        assert abs(draw.double().mean() - 0.5) < 0.02
    assert abs((first & second).double().mean() - 0.25) < 0.02  # independent


def test_without_exploration_the_head_decides():
    assert done("correctness", saying(True), 1, exploration=0.0).all()


def test_the_generator_alone_decides():
    first = done("correctness", saying(True), 3, exploration=0.5, seed=7)
    torch.rand(11)  # the global generator has no part in it
    assert torch.equal(first, done("correctness", saying(True), 3, exploration=0.5, seed=7))
    assert not torch.equal(first, done("correctness", saying(True), 3, exploration=0.5, seed=8))


def test_done_keeps_no_graph():
    assert not done("q_learning", read_of(HEADS), 1).requires_grad


# ---- what is learnt

CORRECT = torch.tensor([True, False, True])
READ = [[0.5, -1.0], [0.5, -1.0], [-2.0, 3.0]]


def losses_of(rule: str, read: Read, last: Tensor, ahead: Read | None = None) -> dict[str, Loss]:
    return make_halting(tiny.halting_config(rule)).losses(read, CORRECT, last, ahead)


def test_fixed_learns_nothing():
    assert losses_of("fixed", read_of(READ), ~CORRECT) == {}
    assert not RULES["fixed"].learns
    assert not RULES["fixed"].looks_ahead


def test_correctness_learns_whether_the_answer_is_right_and_never_looks_ahead():
    losses = losses_of("correctness", read_of(READ), ~CORRECT)
    assert RULES["correctness"].learns
    assert not RULES["correctness"].looks_ahead
    assert losses.keys() == {"q_halt_loss"}
    expected = [cross_entropy(0.5, 1), cross_entropy(0.5, 0), cross_entropy(-2.0, 1)]
    torch.testing.assert_close(losses["q_halt_loss"].value, torch.tensor(expected))
    assert losses["q_halt_loss"].weight == 0.5


def test_correctness_leaves_the_other_logit_alone():
    read = read_of(READ)
    losses_of("correctness", read, ~CORRECT)["q_halt_loss"].value.sum().backward()
    assert (read.halt.grad[:, 0] != 0).all()
    assert not read.halt.grad[:, 1].any()


def test_q_learning_bootstraps_from_the_next_segment_and_at_the_last_one_from_its_halt_value():
    ahead = read_of([[1.0, 2.0], [1.0, -2.0], [1.0, 2.0]])
    last = torch.tensor([False, False, True])
    losses = losses_of("q_learning", read_of(READ), last, ahead)
    assert RULES["q_learning"].learns
    assert RULES["q_learning"].looks_ahead
    assert losses.keys() == {"q_halt_loss", "q_continue_loss"}
    assert all(loss.weight == 0.5 for loss in losses.values())
    halt = [cross_entropy(0.5, 1), cross_entropy(0.5, 0), cross_entropy(-2.0, 1)]
    going_on = [
        cross_entropy(-1.0, sigmoid(2)),
        cross_entropy(-1.0, sigmoid(1)),
        cross_entropy(3.0, sigmoid(1)),
    ]
    torch.testing.assert_close(losses["q_halt_loss"].value, torch.tensor(halt))
    torch.testing.assert_close(losses["q_continue_loss"].value, torch.tensor(going_on))


@pytest.mark.parametrize("rule", RULES)
def test_the_next_segment_is_computed_once_a_step_and_only_where_it_is_needed(rule, monkeypatch):
    words = ("task=sudoku", "scale=small", "task.side=4", "batch=4", f"halting={rule}")
    trainer, calls = random_trainer(tiny.config(*words, "device=cpu")), []
    segment = objective.segment
    monkeypatch.setattr(objective, "segment", lambda *a, **k: calls.append(1) or segment(*a, **k))
    trainer.step()
    assert len(calls) == 1 + (rule == "q_learning")


# ---- what is refused


def test_an_unknown_rule_is_refused_with_the_choices():
    with pytest.raises(UserError, match=r"halting\.rule=act .* fixed, correctness, q_learning"):
        make_halting(tiny.halting_config("act"))


@pytest.mark.parametrize("segments", [0, -1])
def test_no_segments_are_refused(segments):
    with pytest.raises(UserError, match=rf"halting\.segments={segments} "):
        make_halting(tiny.halting_config("fixed", segments))
