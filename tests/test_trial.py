"""Which kernels a run takes: those that are right and faster where it runs, and a line says why."""

import sys

import pytest
import torch

from eval.speed import random_trainer
from tests import tiny
from tinyreason.errors import UserError
from tinyreason.kernels import Site, choose_kernels, impossible
from tinyreason.kernels.trial import Found, Outcome, distance, drawn, judged

RIGHT = {"output": torch.ones(3), "x": torch.arange(3.0), "down.weight": torch.ones(2, 2)}
SITE = Site(slots=2, tokens=18, device=tiny.CPU, compiled=False)


def right() -> Outcome:
    return dict(RIGHT)


def close() -> Outcome:
    return {name: tensor + 1e-6 for name, tensor in RIGHT.items()}


def test_the_faster_of_two_that_agree_is_taken():
    milliseconds = {right: 2.0, close: 1.5}
    found = judged(right, close, 1e-4, milliseconds.get)
    assert found == Found(True, "triton, 1.500 ms against 2.000 ms forward and backward")
    milliseconds = {right: 1.0, close: 1.5}
    found = judged(right, close, 1e-4, milliseconds.get)
    assert found == Found(False, "plain, Triton 1.500 ms against 1.000 ms forward and backward")


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
    assert found.why.startswith(f"plain, Triton is wrong in {name} by ")


def test_one_that_fails_is_plain_and_its_first_line_is_told():
    def fails() -> Outcome:
        raise RuntimeError("out of resource: shared memory\nRequired: 1\n")

    told = "plain, Triton failed (RuntimeError: out of resource: shared memory)"
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
    saved["made_on"]["kernels"] = "triton (SwiGLU 16x32)"
    assert trainer.load_state_dict(saved) == ["kernels triton (SwiGLU 16x32) is now plain"]
    del saved["made_on"]["kernels"]  # of a version before
    assert trainer.load_state_dict(saved) == []
