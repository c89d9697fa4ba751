"""Which kernels a run takes: those that are right and faster where it runs, and a line says why."""

import sys

import pytest
import torch
from torch.nn.attention import SDPBackend

import train
from eval.begin import kernels_of
from eval.speed import random_trainer
from tests import tiny
from tests.marks import hostile
from tinyreason import kernels, trainer
from tinyreason.errors import UserError
from tinyreason.feed import Feed
from tinyreason.kernels import (
    Site,
    choose_kernels,
    cudnn,
    impossible,
    kernel_of,
    use_kernels,
)
from tinyreason.kernels.trial import Found, Outcome, distance, drawn, judged, trial
from tinyreason.layers import Attention, SwiGLU
from tinyreason.run.deterministic import deterministic
from tinyreason.run.machine import machine_of

RIGHT = {"output": torch.ones(3), "x": torch.arange(3.0), "down.weight": torch.ones(2, 2)}
SITE = Site(slots=2, tokens=18, device=tiny.CPU, compiled=False)


def right() -> Outcome:
    return dict(RIGHT)


def close() -> Outcome:
    return {name: tensor + 1e-6 for name, tensor in RIGHT.items()}


def test_the_faster_of_two_that_agree_is_taken():
    milliseconds = {right: 2.0, close: 1.5}
    found = judged(right, close, 1e-4, milliseconds.get)
    assert found == Found(True, "taken, 1.500 ms against 2.000 ms forward and backward")
    milliseconds = {right: 1.0, close: 1.5}
    found = judged(right, close, 1e-4, milliseconds.get)
    assert found == Found(False, "not taken, 1.500 ms against 1.000 ms forward and backward")


def test_without_a_clock_being_right_is_enough():
    assert judged(right, close, 1e-4, None).taken


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("value", [1.001, float("nan"), float("inf")])
def test_one_that_is_wrong_in_any_gradient_is_never_timed(name, value):
    def never(call):
        raise AssertionError("timed")

    def other() -> Outcome:
        return right() | {name: RIGHT[name] * value}

    found = judged(right, other, 1e-4, never)
    assert not found.taken
    assert found.why.startswith(f"not taken, it is wrong in {name} by ")


def test_one_that_fails_is_plain_and_its_first_line_is_told():
    def fails() -> Outcome:
        raise RuntimeError("out of resource: shared memory\nRequired: 1\n")

    told = "not taken, it failed (RuntimeError: out of resource: shared memory)"
    assert judged(right, fails, 1e-4, None) == Found(False, told)


def test_a_distance_is_relative_and_of_zeros_not_infinite_where_both_are():
    assert distance(torch.tensor([3.0, 4.4]), torch.tensor([3.0, 4.0])) == pytest.approx(0.08)
    assert distance(torch.zeros(2), torch.zeros(2)) == 0
    assert distance(torch.ones(2), torch.zeros(2)) > 1


def test_what_is_drawn_for_a_trial_leaves_the_run_its_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    drawn((2, 2), 0, torch.float32, tiny.CPU)
    assert torch.equal(torch.rand(3), expected)


def test_on_a_cpu_auto_is_plain_and_triton_is_refused(capsys):
    assert choose_kernels("auto", tiny.model(), SITE, twice=False) == "plain"
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="use kernels=auto"):
        choose_kernels("triton", tiny.model(), SITE, twice=False)


def test_where_there_is_nothing_to_try_one_line_says_why(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    on_a_card = SITE._replace(device=torch.device("cuda"))
    assert choose_kernels("auto", tiny.model(), on_a_card, twice=False) == "plain"
    assert capsys.readouterr().out == "kernels=auto: plain ones, Triton is not installed\n"
    assert choose_kernels("plain", tiny.model(), on_a_card, twice=False) == "plain"
    assert capsys.readouterr().out == ""


def test_second_derivatives_and_other_types_are_not_tried(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", sys)
    assert impossible(tiny.model(), twice=False) is None
    assert "gradient of a gradient" in impossible(tiny.model(), twice=True)
    assert "float64" in impossible(tiny.model(dtype="float64"), twice=False)


def test_what_was_chosen_is_saved_and_a_resumed_run_says_where_it_is_another():
    words = ("task=sudoku", "scale=small", "task.side=4", "batch=2", "model.width=16", "steps=9")
    trainer = random_trainer(tiny.config(*words, "model.heads=2"))
    saved = trainer.state_dict()
    assert trainer.load_state_dict(saved) == []
    saved["made_on"]["kernels"] = "Triton SwiGLU 16x32"
    assert trainer.load_state_dict(saved) == ["kernels Triton SwiGLU 16x32 is now plain"]
    del saved["made_on"]["kernels"]  # of a version before
    assert trainer.load_state_dict(saved) == []


# ---- cuDNN's attention, for which another backend of PyTorch stands on a CPU

CUDNN = "cuDNN attention 2x18x8"


@pytest.mark.parametrize(
    ("backend", "why"),
    [
        (SDPBackend.MATH, "taken, equal to plain"),
        (SDPBackend.CUDNN_ATTENTION, "not taken, it failed ("),
    ],
)
@pytest.mark.parametrize("compiled", [False, hostile(True)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's compiler
def test_attention_is_that_of_the_backend_where_there_is_one(backend, why, compiled, monkeypatch):
    monkeypatch.setattr(cudnn, "BACKEND", backend)
    layer = Attention(16, 2, 18, rotary=True)
    x, dy = (drawn((2, 18, 16), seed, torch.float32, tiny.CPU) for seed in range(2))
    found = trial(layer, x, dy, kernel_of(layer), compiled, timed=False)
    assert found.why.startswith(why)
    assert found.taken == (backend == SDPBackend.MATH)
    assert layer.fused is None


def test_attention_gets_what_was_chosen_for_it():
    model = tiny.model(mix="attention")
    use_kernels(f"Triton SwiGLU 1x1, {CUDNN}", model, 18)
    fused = {type(m): m.fused for m in model.modules() if hasattr(m, "fused")}
    assert fused == {Attention: cudnn.attention, SwiGLU: None}


def test_triton_alone_leaves_attention_as_it_is(pretended, monkeypatch):
    monkeypatch.setattr(
        kernels, "layers_of", lambda model, tokens: {CUDNN: [Attention(16, 2, 18, True)]}
    )
    on_a_card = SITE._replace(device=CARD)
    assert choose_kernels("triton", tiny.model(mix="attention"), on_a_card, False) == "plain"
    pretended.append(True)
    assert choose_kernels("auto", tiny.model(mix="attention"), on_a_card, False) == CUDNN


# ---- a run that goes on

SMALL = ("task=sudoku", "scale=small", "task.side=4", "batch=2", "model.width=16", "model.heads=2")
SMALL += ("steps=9", "device=cpu", "model.dtype=float32")
CARD = torch.device("cuda")


def other_swiglu(x: torch.Tensor, gate_up: torch.Tensor) -> torch.Tensor:
    """Near the plain one, with other bits."""
    gate, up = (x @ gate_up.T).chunk(2, dim=-1)
    return torch.nn.functional.silu(gate) * up * (1 + 1e-5)


@pytest.fixture
def feed() -> Feed:
    return random_trainer(tiny.config(*SMALL)).feed


@pytest.fixture
def pretended(feed, monkeypatch) -> list[bool]:
    """The CPU chooses kernels as a card does, and finds the other one as fast as each trial is told
    to: True, faster. Those that are left tell how many trials there were.
    """
    faster = []

    def layers_of(model, tokens):
        return {"Triton SwiGLU": [m for m in model.modules() if isinstance(m, SwiGLU)]}

    def trial(layer, x, dy, kernel, compiled, timed):
        return Found(faster.pop(0), "tried")

    monkeypatch.setattr(trainer, "Site", lambda s, t, device, c: Site(s, t, CARD, c))
    monkeypatch.setattr(kernels, "impossible", lambda model, twice: None)
    monkeypatch.setattr(kernels, "drawn", lambda *given: None)
    monkeypatch.setattr(kernels, "layers_of", layers_of)
    monkeypatch.setattr(kernels, "kernel_of", lambda layer: other_swiglu)
    monkeypatch.setattr(kernels, "trial", trial)
    return faster


@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_with_its_kernels_whatever_a_clock_would_say_now(first, feed, pretended):
    def fresh(had: str | None = None) -> trainer.Trainer:
        torch.manual_seed(0)
        given = feed.facts, feed.stream, tiny.CPU
        return trainer.Trainer(tiny.config(*SMALL), *given, kernels=had)

    pretended[:] = [first, first, not first]
    whole, half = tiny.steps(fresh(), 4), tiny.steps(fresh(), 2)
    assert whole.kernels == ("Triton SwiGLU" if first else "plain")
    assert any(m.fused for m in whole.averaged.modules() if isinstance(m, SwiGLU)) == first
    saved = half.state_dict()
    resumed = fresh(saved["made_on"]["kernels"])
    assert resumed.load_state_dict(saved) == []
    assert tiny.steps(resumed, 2).result()["sha256"] == whole.result()["sha256"]
    assert len(pretended) == 1
    other = fresh()  # as it was before: a trial that says another thing
    other.load_state_dict(saved)
    assert tiny.steps(other, 2).result()["sha256"] != whole.result()["sha256"]


def test_with_deterministic_nothing_is_timed(pretended, capsys):
    on_a_card = SITE._replace(device=CARD)
    with deterministic(True):
        assert choose_kernels("auto", tiny.model(), on_a_card, twice=False) == "plain"
        assert "nothing is timed" in capsys.readouterr().out
        had = choose_kernels("auto", tiny.model(), on_a_card, False, "Triton SwiGLU")
        assert had == "Triton SwiGLU"
        pretended.append(True)  # equality alone
        assert choose_kernels("triton", tiny.model(), on_a_card, False) == "Triton SwiGLU"


def test_what_is_asked_for_goes_before_what_a_run_had(pretended):
    on_a_card = SITE._replace(device=CARD)
    assert choose_kernels("plain", tiny.model(), on_a_card, False, "Triton SwiGLU") == "plain"
    pretended.append(True)
    assert choose_kernels("triton", tiny.model(), on_a_card, False, "plain") == "Triton SwiGLU"


def test_kernels_are_those_before_on_the_same_card_alone():
    made_on = machine_of(tiny.CPU) | {"kernels": "Triton SwiGLU"}
    assert kernels_of(made_on, tiny.CPU) == "Triton SwiGLU"
    assert kernels_of(machine_of(tiny.CPU), tiny.CPU) == "plain"  # of a version before
    before = machine_of(tiny.CPU) | {"kernels": "triton (token mixer 97x512, SwiGLU 512x1536)"}
    assert kernels_of(before, tiny.CPU) == "Triton token mixer 97x512, Triton SwiGLU 512x1536"
    assert kernels_of(made_on | {"hardware": "another card"}, tiny.CPU) is None
    assert kernels_of(None, tiny.CPU) is None


def test_train_hands_them_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = []
    honest = trainer.choose_kernels
    monkeypatch.setattr(
        trainer, "choose_kernels", lambda *all_of: given.append(all_of[-1]) or honest(*all_of)
    )
    words = (*SMALL, "name=run", "steps=2", "task.train_puzzles=4", "task.valid_puzzles=0")
    words += ("task.test_puzzles=2",)
    train.train(tiny.config(*words, "max_minutes=1e-9"))
    train.train(tiny.config(*words))
    assert given == [None, "plain"]
