"""Which reads are scored: reference (Ouro's recorded losses on given logits and gates), and
invariants.
"""

import math

import pytest
import torch

from conf.schema import training_config
from eval.speed import random_trainer
from tests import tiny
from tests.zoo.ouro import gate_losses, stage_1
from tests.zoo.recording import Recording
from tinyreason.errors import UserError
from tinyreason.losses import Judged, judge, softmax, total
from tinyreason.models import Read
from tinyreason.puzzle import IGNORE
from tinyreason.supervision import (
    SUPERVISIONS,
    BySegment,
    BySegmentConfig,
    Every,
    ExitGate,
    ExitGateConfig,
    Gate,
    GateConfig,
    Last,
    Progressive,
    ProgressiveConfig,
    SupervisionConfig,
    Window,
    WindowConfig,
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


def test_the_gate_alone_is_that_of_the_reference_to_rounding():
    """Of stage 2, on given logits and gates, in float64; the logits have no gradient."""
    recording = Recording(GOLDEN)
    logits = recording.tensor("alone/logits").requires_grad_()
    gates = recording.tensor("alone/gate_logits").requires_grad_()
    halt = torch.zeros(len(logits[0]), 2)
    made = [Read(one, halt, gate) for one, gate in zip(logits, gates, strict=True)]
    labels = recording.tensor("input/labels").long()
    loss = total(gate_losses(made, labels, recording.config))
    assert loss.item() == pytest.approx(recording.tensor("alone/stage2/loss").item(), rel=1e-6)
    loss.backward()
    assert logits.grad is None
    theirs = recording.tensor("alone/stage2/grad/gate_logits")
    torch.testing.assert_close(gates.grad, theirs, rtol=1e-4, atol=1e-7)


def test_a_gate_should_stay_where_the_answer_gets_better_and_leave_where_it_does_not():
    config = GateConfig("gate", 50.0, 0.005)
    gate = torch.zeros(4, 5, requires_grad=True)
    made = [read._replace(gate=gate) for read in reads(2)]
    scores = judged(made)
    better = scores._replace(cells=torch.stack([torch.ones(4, 5), torch.zeros(4, 5)]))
    for cells, sign in ((better.cells, 1), (better.cells.flip(0), -1)):
        gate.grad = None
        total(Gate(config).losses(scores._replace(cells=cells))).backward()
        assert (gate.grad[1].sign() == sign).all()


@pytest.mark.parametrize(("window", "of"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_a_window_is_the_mean_over_its_last_reads(window, of):
    made = reads()
    (loss,) = Window(WindowConfig("window", window)).losses(judged(made)).values()
    (every,) = Every(SupervisionConfig("every")).losses(judged(made[-of:])).values()
    torch.testing.assert_close(loss.value, every.value)


def test_early_segments_weigh_more():
    scores = judged(reads())._replace(segments=torch.tensor([1, 2, 3, 1], dtype=torch.int32))
    (plain,) = Last(SupervisionConfig("last")).losses(scores).values()
    (loss,) = BySegment(BySegmentConfig("by_segment", 0.7)).losses(scores).values()
    torch.testing.assert_close(loss.value, plain.value * torch.tensor([1, 0.7, 0.49, 1]))


def test_a_progressive_loss_weighs_the_drawn_and_the_stated_depth():
    made = reads(2)
    losses = Progressive(ProgressiveConfig("progressive", 0.25)).losses(judged(made))
    drawn, stated = (
        Last(SupervisionConfig("last")).losses(judged([read]))["answer_loss"] for read in made
    )
    expected = 0.25 * drawn.value.sum() + 0.75 * stated.value.sum()
    torch.testing.assert_close(total(losses), expected)


def trainer_of(*words: str):
    torch.manual_seed(0)
    small = ("task=sudoku", "scale=small", "task.side=4", "batch=6", "device=cpu", "model.width=16")
    return random_trainer(tiny.config(*small, *words))


@pytest.mark.parametrize("name", SUPERVISIONS)
def test_every_supervision_trains_and_resumes_bitwise(name):
    model = "ouro" if SUPERVISIONS[name].needs_gate else "trm"
    words = (f"model={model}", f"supervision={name}", "gradient=bptt", "depth=poisson")
    whole, half, resumed = (trainer_of(*words) for _ in range(3))
    before = whole.result()["sha256"]
    tiny.steps(whole, 4), tiny.steps(half, 2)
    resumed.load_state_dict(half.state_dict())
    tiny.steps(resumed, 2)
    assert resumed.result()["sha256"] == whole.result()["sha256"] != before


def test_the_gate_is_trained_on_a_model_that_stands_still():
    trainer = trainer_of("model=ouro", "supervision=gate")
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    tiny.steps(trainer, 3)
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"gate.weight", "gate.bias"}


def test_two_depths_need_a_gradient_that_unrolls():
    with pytest.raises(UserError, match=r"supervision=progressive unrolls .* use gradient=bptt"):
        training_config(tiny.composed(["supervision=progressive", "gradient=phantom"]))
