"""Which reads are scored: reference (Ouro's recorded losses on given logits and gates), and
invariants.
"""

import math

import pytest
import torch

from tests import tiny
from tests.zoo.ouro import stage_1
from tests.zoo.recording import Recording
from tinyreason.losses import Judged, judge, softmax, total
from tinyreason.models import Read
from tinyreason.puzzle import IGNORE
from tinyreason.supervision import (
    Every,
    ExitGate,
    ExitGateConfig,
    Last,
    SupervisionConfig,
    exit_probability,
)

GOLDEN = tiny.CONF.parent / "tests/golden/zoo/ouro.npz"


def reads(count: int = 3, gates: bool = True) -> list[Read]:
    generator = torch.Generator().manual_seed(0)
    halt = torch.zeros(4, 2)
    return [
        Read(
            torch.randn(4, 5, 6, generator=generator),
            halt,
            torch.randn(4, 5, generator=generator) if gates else None,
        )
        for _ in range(count)
    ]


def judged(made: list[Read]) -> Judged:
    labels = torch.randint(0, 6, (4, 5), generator=torch.Generator().manual_seed(1))
    labels[0, 2:], labels[3] = IGNORE, IGNORE
    return judge(softmax, made, labels, torch.ones(4))


def test_last_scores_the_last_read_alone():
    made = reads()
    (loss,) = Last(SupervisionConfig("last")).losses(judged(made)).values()
    (alone,) = Last(SupervisionConfig("last")).losses(judged(made[-1:])).values()
    assert torch.equal(loss.value, alone.value)
    assert loss.value[3] == 0


def test_every_is_the_mean_over_the_reads():
    made = reads()
    (loss,) = Every(SupervisionConfig("every")).losses(judged(made)).values()
    each = [
        Last(SupervisionConfig("last")).losses(judged([read]))["answer_loss"].value for read in made
    ]
    torch.testing.assert_close(loss.value, torch.stack(each).mean(0))


def test_the_probabilities_of_leaving_sum_to_one():
    p = exit_probability(torch.randn(6, 4, 5) * 10)
    torch.testing.assert_close(p.sum(0), torch.ones(4, 5))
    assert (p >= 0).all()


def test_gates_of_one_over_what_is_left_are_uniform():
    """lambda_t = 1 / (T - t + 1); entropy ln T is the largest."""
    shares = torch.tensor([1 / 4, 1 / 3, 1 / 2, 1 / 2])
    p = exit_probability(torch.logit(shares)[:, None, None].expand(4, 4, 5))
    torch.testing.assert_close(p, torch.full((4, 4, 5), 1 / 4))
    made = [
        read._replace(gate=torch.logit(s).expand(4, 5))
        for read, s in zip(reads(4), shares, strict=True)
    ]
    losses = ExitGate(ExitGateConfig("exit_gate", 0.1)).losses(judged(made))
    assert losses["exit_entropy"].value[1].item() == pytest.approx(math.log(4), rel=1e-6)
    assert losses["exit_entropy"].weight == -0.1


@pytest.mark.parametrize("t", [0, 1, 2])
def test_a_gate_that_is_sure_pays_the_loss_of_its_recursion(t):
    made = reads()
    sure = [
        read._replace(gate=torch.full((4, 5), 50.0 if k == t else -50.0))
        for k, read in enumerate(made)
    ]
    loss = ExitGate(ExitGateConfig("exit_gate", 0.0)).losses(judged(sure))["answer_loss"]
    alone = Last(SupervisionConfig("last")).losses(judged([made[t]]))["answer_loss"]
    torch.testing.assert_close(loss.value, alone.value)


def test_of_a_single_recursion_the_gate_has_no_gradient():
    gate = torch.randn(4, 5, requires_grad=True)
    made = [reads(1)[0]._replace(gate=gate)]
    total(ExitGate(ExitGateConfig("exit_gate", 0.1)).losses(judged(made))).backward()
    assert not gate.grad.any()


def test_the_loss_and_its_gradients_are_those_of_the_reference_to_rounding():
    """Of stage 1, on given logits and gates, in float64."""
    recording = Recording(GOLDEN)
    logits = recording.tensor("alone/logits").requires_grad_()
    gates = recording.tensor("alone/gate_logits").requires_grad_()
    halt = torch.zeros(len(logits[0]), 2)
    made = [Read(one, halt, gate) for one, gate in zip(logits, gates, strict=True)]
    loss = total(stage_1(made, recording.tensor("input/labels").long(), recording.config["beta"]))
    assert loss.item() == pytest.approx(recording.tensor("alone/stage1/loss").item(), rel=1e-6)
    loss.backward()
    for name, mine in (("logits", logits), ("gate_logits", gates)):
        theirs = recording.tensor(f"alone/stage1/grad/{name}")
        torch.testing.assert_close(mine.grad, theirs, rtol=1e-4, atol=1e-7)
