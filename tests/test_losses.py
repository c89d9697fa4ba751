"""The loss of a segment and what it counts: reference (scalar formulas), invariants."""

import math

import pytest
import torch
from torch import Tensor

from tests import tiny
from tinyreason.errors import UserError
from tinyreason.halting import make_halting
from tinyreason.losses import (
    CrossEntropy,
    Loss,
    cross_entropy_of,
    judge,
    softmax,
    stablemax,
    total,
)
from tinyreason.metrics import Meter, Metric, cell_accuracy, exact, tally
from tinyreason.models import Read, State
from tinyreason.objective import objective
from tinyreason.puzzle import IGNORE, Batch
from tinyreason.segment import Carry, Trace
from tinyreason.supervision import SupervisionConfig, make_supervision

LAST = make_supervision(SupervisionConfig("last"))


def stable(x: float) -> float:
    return x + 1 if x >= 0 else 1 / (1 - x)


def stablemax_by_hand(logits: list[float], label: int) -> float:
    return -math.log(stable(logits[label]) / sum(map(stable, logits)))


def softmax_by_hand(logits: list[float], label: int) -> float:
    return -math.log(math.exp(logits[label]) / sum(map(math.exp, logits)))


def answer_loss(cross_entropy: CrossEntropy, logits: Tensor, labels: Tensor) -> Tensor:
    """Of one read, by puzzle."""
    nothing = torch.zeros(len(labels), 2)
    judged = judge(cross_entropy, [Read(logits, nothing)], labels, nothing[:, 0])
    return LAST.losses(judged)["answer_loss"].value


@pytest.mark.parametrize(
    ("ours", "by_hand"), [(stablemax, stablemax_by_hand), (softmax, softmax_by_hand)]
)
def test_cross_entropies_equal_their_scalar_formulas(ours, by_hand):
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 6) * 3, torch.randint(0, 6, (3, 4))
    logits[0, 0] = torch.tensor([0.0, -0.0, 1.0, -1.0, 8.0, -8.0])
    found = ours(logits, labels)
    assert found.shape == (3, 4)
    for b in range(3):
        for s in range(4):
            expected = by_hand(logits[b, s].double().tolist(), int(labels[b, s]))
            assert found[b, s].item() == pytest.approx(
                expected, rel=1e-5 if ours is softmax else 1e-12
            )


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
ANSWERS = torch.tensor(
    [[1, 2], [1, 0], [1, 0], [0, 0]]
)  # exact, not, exact, nothing to be exact about
HALT = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.5, 0.0]])
SEGMENTS = torch.tensor([3, 16, 16, 5], dtype=torch.int32)
HALTED = torch.tensor([True, True, False, True])


def a_segment_read() -> tuple[Trace, Carry]:
    logits = torch.nn.functional.one_hot(ANSWERS, 3).float().requires_grad_()
    nothing = torch.zeros(4, 2, 1)
    state = State(nothing, nothing)
    batch = Batch(LABELS.clamp(min=0).int(), LABELS, torch.zeros(4, dtype=torch.int32))
    trace = Trace(state, [Read(logits, HALT.clone().requires_grad_())], state, {})
    return trace, Carry(state, batch, SEGMENTS, HALTED)


def judged(
    rule: str, ahead: Read | None = None, penalties: dict[str, Tensor] | None = None
) -> tuple[Tensor, dict[str, Metric], Trace]:
    trace, carry = a_segment_read()
    trace = trace._replace(penalties=penalties or {})
    halting = make_halting(tiny.halting_config(rule))
    losses = objective(trace, carry, halting, LAST, stablemax, ahead)
    return total(losses), tally(losses, trace.reads[-1], carry), trace


def sums_of(metrics: dict[str, Metric]) -> dict[str, float]:
    return {name: metric.total.item() for name, metric in metrics.items()}


def test_only_puzzles_that_leave_are_counted_and_only_if_they_have_labels():
    """Slots 0 and 1 leave; slot 2 stays; slot 3 leaves and has nothing to count."""
    _, metrics, _ = judged("correctness")
    names = ("puzzles", "exact", "cells", "halt_right", "segments")
    counted = {k: sums_of(metrics)[k] for k in names}
    assert counted == {"puzzles": 2, "exact": 1, "cells": 1.5, "halt_right": 1, "segments": 19}
    assert all(metrics[k].count.item() == 2 for k in names[1:])
    assert metrics["puzzles"].count is None


def test_losses_are_of_every_slot_and_the_halting_ones_have_half_the_weight():
    loss, metrics, trace = judged("correctness")
    sums = sums_of(metrics)
    answers = answer_loss(stablemax, trace.reads[-1].logits, LABELS).sum()
    targets = [1, 0, 1, 1]  # a slot without labels counts as right, as in the references
    pairs = zip(HALT[:, 0].tolist(), targets, strict=True)
    halting = sum(math.log(1 + math.exp(-x if t else x)) for x, t in pairs)
    torch.testing.assert_close(metrics["answer_loss"].total, answers.detach())
    assert sums["q_halt_loss"] == pytest.approx(halting, rel=1e-6)
    assert loss.item() == pytest.approx(answers.item() + 0.5 * halting, rel=1e-6)
    assert sums["loss"] == loss.item()
    assert all(metrics[k].count.item() == 4 for k in ("answer_loss", "q_halt_loss", "loss"))
    assert not any(metric.total.requires_grad for metric in metrics.values())
    assert loss.requires_grad


def test_the_fixed_rule_adds_no_loss():
    loss, metrics, _ = judged("fixed")
    assert loss.item() == metrics["answer_loss"].total.item()
    assert not {"q_halt_loss", "q_continue_loss"} & metrics.keys()


def test_q_learning_takes_the_last_segment_from_the_count_and_not_from_who_halted():
    """Slots 1 and 2 have had all 16: their target is the next halt value, others' the better."""
    ahead = Read(torch.zeros(4, 2, 3), torch.tensor([[1.0, 3.0]]).expand(4, 2))
    loss, metrics, trace = judged("q_learning", ahead)
    targets = [1 / (1 + math.exp(-x)) for x in (3.0, 1.0, 1.0, 3.0)]
    expected = sum(math.log(2) for _ in targets)  # the logit is 0, so every target costs log 2 ...
    assert metrics["q_continue_loss"].total.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()  # ... and its gradient is half of (0.5 - target)
    found = trace.reads[-1].halt.grad[:, 1]
    torch.testing.assert_close(found, torch.tensor([0.5 * (0.5 - t) for t in targets]))


def test_what_the_model_itself_asks_for_is_added_under_its_name():
    loss, metrics, _ = judged("fixed", penalties={"ponder": torch.tensor([1.0, 2.0, 3.0, 4.0])})
    assert metrics["ponder"].total.item() == 10
    answers = metrics["answer_loss"].total.item()
    assert loss.item() == metrics["loss"].total.item() == pytest.approx(answers + 10)


# ---- adding up


def test_the_total_weights_the_sums_over_the_slots():
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 8.0])
    assert total({"one": Loss(one), "other": Loss(other, -0.5)}).item() == 3 - 6


def test_a_meter_reads_means_and_counts_and_begins_again():
    meter = Meter()
    three, six = torch.tensor(3), torch.tensor(6)
    meter.add({"exact": Metric(three, three), "puzzles": Metric(three)})
    meter.add({"exact": Metric(torch.tensor(0), six), "puzzles": Metric(six), "new": Metric(six)})
    again = Meter()
    again.load_state_dict(meter.state_dict(), tiny.CPU)
    assert meter.read() == again.read() == {"exact": 3 / 9, "puzzles": 9, "new": 6}
    assert meter.read() == {}
    meter.add({"exact": Metric(torch.tensor(0), torch.tensor(0))})
    assert meter.read() == {"exact": 0}  # nobody left
