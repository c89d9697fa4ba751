"""deterministic=true: torch's switch is on while training. On CUDA: tests/test_survival.py."""

import os

import pytest
import torch

from eval.speed import random_trainer
from tests import tiny
from tinyreason.errors import UserError
from tinyreason.run import checkpoint
from tinyreason.run.deterministic import VARIABLE, WORKSPACE, deterministic, repeats

SMALL = (
    "scale=small",
    "task.side=4",
    "batch=6",
    "model.width=16",
    "model.heads=2",
    "model.prefix=1",
)
SMALL += ("model.puzzle_embedding=true", "compile=false")


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    yield
    assert not torch.are_deterministic_algorithms_enabled()


def trained(*words: str) -> str:
    """The digest of the weights after three steps."""
    config = tiny.config(*SMALL, *words)
    with deterministic(config.deterministic):
        torch.manual_seed(0)
        trainer = random_trainer(config)
        for _ in range(3):
            trainer.step()
    return checkpoint.digest(trainer.model)


@pytest.mark.parametrize("model", ["trm", "hrm"])
def test_on_a_cpu_nothing_changes(model):
    words = (f"model={model}", "device=cpu")
    assert trained(*words, "deterministic=true") == trained(*words)


def test_what_has_no_deterministic_kernel_is_one_line_and_only_then():
    def put() -> None:
        torch.zeros(4).put_(torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))

    put()
    said = r"put_ does not have a deterministic implementation.*deterministic=false"
    with pytest.raises(UserError, match=said), deterministic(True):
        put()
    with pytest.raises(RuntimeError, match="another"), deterministic(True):
        raise RuntimeError("another")


def test_cublas_is_told_before_it_is_used(monkeypatch):
    with deterministic(False):
        assert VARIABLE not in os.environ
    with deterministic(True):
        assert os.environ[VARIABLE] == WORKSPACE
        assert repeats(torch.device("cuda"))
    assert not repeats(torch.device("cuda"))
    assert repeats(tiny.CPU)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with deterministic(True):  # it was told in time
        pass
    monkeypatch.delenv(VARIABLE)
    with (
        pytest.raises(UserError, match=f"{VARIABLE}={WORKSPACE} before python"),
        deterministic(True),
    ):
        pass


def test_a_checkpoint_says_where_the_promise_does_not_hold(monkeypatch):
    for room in ("trainer", "run.machine"):
        monkeypatch.setattr(f"tinyreason.{room}.repeats", lambda device: False)
    trainer = random_trainer(tiny.config("model=trm", *SMALL))
    assert trainer.load_state_dict(trainer.state_dict()) == [
        "CUDA kernels are not deterministic; set deterministic=true for bitwise repeats"
    ]
    saved = trainer.state_dict()
    monkeypatch.undo()
    assert trainer.load_state_dict(saved) == ["deterministic False is now True"]
