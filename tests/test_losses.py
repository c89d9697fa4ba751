"""The loss of a segment and what it counts: reference (scalar formulas), invariants."""

import math

import pytest
import torch

from tests import tiny
from tinyreason.errors import UserError
from tinyreason.halting import make_halting
from tinyreason.losses import answer_loss, cell_accuracy, cross_entropy_of, exact, objective, softmax, stablemax, tally
from tinyreason.models import Read, State
from tinyreason.puzzle import IGNORE, Batch
from tinyreason.segment import Carry


def stable(x: float) -> float:
    return x + 1 if x >= 0 else 1 / (1 - x)


def stablemax_by_hand(logits: list[float], label: int) -> float:
    return -math.log(stable(logits[label]) / sum(map(stable, logits)))


def softmax_by_hand(logits: list[float], label: int) -> float:
    return -math.log(math.exp(logits[label]) / sum(map(math.exp, logits)))


@pytest.mark.parametrize(("ours", "by_hand"), [(stablemax, stablemax_by_hand), (softmax, softmax_by_hand)])
def test_cross_entropies_equal_their_scalar_formulas(ours, by_hand):
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 6) * 3, torch.randint(0, 6, (3, 4))
    logits[0, 0] = torch.tensor([0.0, -0.0, 1.0, -1.0, 8.0, -8.0])
    found = ours(logits, labels)
    assert found.shape == (3, 4)
    for b in range(3):
        for s in range(4):
            expected = by_hand(logits[b, s].double().tolist(), int(labels[b, s]))
            assert found[b, s].item() == pytest.approx(expected, rel=1e-5 if ours is softmax else 1e-12)


def test_stablemax_is_computed_in_float64_also_from_bf16():
    logits = torch.randn(2, 3, 6).bfloat16()
    assert stablemax(logits, torch.zeros(2, 3, dtype=torch.long)).dtype == torch.float64


@pytest.mark.parametrize("size", [0.0, 1.0, 1e4, 1e20, 3e38])
def test_stablemax_and_its_gradient_are_finite_for_huge_logits(size):
    for signs in ([1.0, 1, 1, 1], [-1.0, -1, -1, -1], [1.0, -1, 1, -1], [-1.0, 1, 0, 0]):
        logits = (torch.tensor([signs]) * size).requires_grad_()
        loss = stablemax(logits, torch.zeros(1, dtype=torch.long))
        assert loss.isfinite().all()
        loss.sum().backward()
        assert logits.grad.isfinite().all(), (size, signs)


def test_the_gradient_of_stablemax_is_that_of_its_formula():
    logits = torch.tensor([[0.0, 2.0, -3.0, 0.5]], dtype=torch.float64, requires_grad=True)
    stablemax(logits, torch.tensor([2])).sum().backward()
    for i in range(4):
        values = logits.detach()[0].tolist()
        if values[i] == 0:
            continue  # one-sided differences differ in their curvature there
        low, high = ([v + d * (j == i) for j, v in enumerate(values)] for d in (-1e-6, 1e-6))
        slope = (stablemax_by_hand(high, 2) - stablemax_by_hand(low, 2)) / 2e-6
        assert logits.grad[0, i].item() == pytest.approx(slope, rel=1e-6)


def test_each_puzzle_is_averaged_over_its_own_scored_cells():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 6), torch.randint(0, 6, (3, 4))
    labels[1, 1:] = IGNORE
    labels[2] = IGNORE
    losses = answer_loss(stablemax, logits, labels)
    cells = stablemax(logits, labels.clamp(min=0))
    torch.testing.assert_close(losses[0], cells[0].mean())
    torch.testing.assert_close(losses[1], cells[1, 0])
    assert losses[2] == 0


@pytest.mark.parametrize("name", ["stablemax", "softmax"])
def test_ignored_cells_have_no_part_in_loss_and_gradient(name):
    logits, labels = torch.randn(2, 4, 6), torch.randint(0, 6, (2, 4))
    labels[0, 2] = IGNORE
    labels[1] = IGNORE
    logits[0, 2], logits[1] = 1e4, -1e4
    logits.requires_grad_()
    losses = answer_loss(cross_entropy_of(name), logits, labels)
    assert losses.isfinite().all()
    losses.sum().backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[0, 2].any()
    assert not logits.grad[1].any()
    assert logits.grad[0, 0].any()


def test_exact_and_cell_accuracy():
    labels = torch.tensor([[1, 2, 3, 4], [1, 2, IGNORE, 4], [1, 2, 3, 4], [IGNORE] * 4])
    answer = torch.tensor([[1, 2, 3, 4], [1, 2, 0, 4], [1, 0, 0, 0], [0, 1, 2, 3]])
    assert exact(answer, labels).tolist() == [True, True, False, True]
    assert cell_accuracy(answer, labels).tolist() == [1.0, 1.0, 0.25, 0.0]


def test_an_unknown_loss_is_refused_with_the_choices():
    with pytest.raises(UserError, match=r"loss=mse .* stablemax, softmax"):
        cross_entropy_of("mse")


# ---- the objective: four slots of two cells, and what their heads say

LABELS = torch.tensor([[1, 2], [1, 2], [1, IGNORE], [IGNORE, IGNORE]])
ANSWERS = torch.tensor([[1, 2], [1, 0], [1, 0], [0, 0]])  # exact, not, exact, nothing to be exact about
HALT = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.5, 0.0]])
SEGMENTS = torch.tensor([3, 16, 16, 5], dtype=torch.int32)
HALTED = torch.tensor([True, True, False, True])


def a_segment_read() -> tuple[Read, Carry]:
    logits = torch.nn.functional.one_hot(ANSWERS, 3).float().requires_grad_()
    nothing = torch.zeros(4, 2, 1)
    batch = Batch(LABELS.clamp(min=0).int(), LABELS, torch.zeros(4, dtype=torch.int32))
    return Read(logits, HALT.clone().requires_grad_()), Carry(State(nothing, nothing), batch, SEGMENTS, HALTED)


def judged(rule: str, look_ahead=None):
    read, carry = a_segment_read()
    loss, losses = objective(read, carry, make_halting(tiny.halting_config(rule)), stablemax, look_ahead)
    return loss, tally(losses, read, carry)


def test_only_puzzles_that_leave_are_counted_and_only_if_they_have_labels():
    """Slots 0 and 1 leave; slot 2 stays; slot 3 leaves and has nothing to count."""
    _, sums = judged("correctness")
    counted = {k: sums[k].item() for k in ("left", "exact", "cells", "halt_right", "segments")}
    assert counted == {"left": 2, "exact": 1, "cells": 1.5, "halt_right": 1, "segments": 19}


def test_losses_are_of_every_slot_and_the_halting_ones_have_half_the_weight():
    loss, sums = judged("correctness")
    answers = answer_loss(stablemax, a_segment_read()[0].logits, LABELS).sum()
    targets = [1, 0, 1, 1]  # a slot without labels counts as right, as in the references
    halting = sum(math.log(1 + math.exp(-x if t else x)) for x, t in zip(HALT[:, 0].tolist(), targets, strict=True))
    torch.testing.assert_close(sums["answer_loss"], answers.detach())
    assert sums["q_halt_loss"].item() == pytest.approx(halting, rel=1e-6)
    assert loss.item() == pytest.approx(answers.item() + 0.5 * halting, rel=1e-6)
    assert sums["loss"].item() == loss.item()
    assert not any(v.requires_grad for v in sums.values())
    assert loss.requires_grad


def test_the_fixed_rule_adds_no_loss():
    loss, sums = judged("fixed")
    assert loss.item() == sums["answer_loss"].item()
    assert not {"q_halt_loss", "q_continue_loss"} & sums.keys()


def test_q_learning_takes_the_last_segment_from_the_count_and_not_from_who_halted():
    """Slots 1 and 2 have had all 16 segments: their target is the next halt value, the others' the better of both."""
    ahead = Read(torch.zeros(4, 2, 3), torch.tensor([[1.0, 3.0]]).expand(4, 2))
    _, sums = judged("q_learning", lambda: ahead)
    targets = [1 / (1 + math.exp(-x)) for x in (3.0, 1.0, 1.0, 3.0)]
    expected = sum(math.log(2) for _ in targets)  # the logit is 0, so every target costs log 2 ...
    assert sums["q_continue_loss"].item() == pytest.approx(expected, rel=1e-6)
    read, carry = a_segment_read()
    loss, _ = objective(read, carry, make_halting(tiny.halting_config("q_learning")), stablemax, lambda: ahead)
    loss.backward()  # ... and its gradient is half of (0.5 - target)
    torch.testing.assert_close(read.halt.grad[:, 1], torch.tensor([0.5 * (0.5 - t) for t in targets]))
