"""From an untied net to a looped one: reference (the published maps), invariants, the command."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import train
from data.registry import load_task
from eval import convert
from eval.convert import ConvertConfig, converted
from eval.load import open_run
from tests import tiny
from tests.test_train import TASKS
from tinyreason.conversion import INITS, kept_layers, low_rank, sources
from tinyreason.errors import UserError
from tinyreason.models import make_model, parameter_count
from tinyreason.recursion import Depth

OPTIONS = ConvertConfig("run", "out", 2, "cycle", "average", 0, "ema", "last")
WORDS = ("task=sudoku", "scale=small", *TASKS["sudoku"], "batch=4", "device=cpu", "optim.warmup=2")
WORDS += ("model=transformer", "model.width=16", "model.heads=2", "model.layers=4", "steps=3")


def untied(layers: int = 4):
    model = tiny.model("transformer", layers=layers)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def built(model, **changes):
    config, state = converted(model, tiny.FACTS, replace(OPTIONS, **changes))
    made = make_model(config, tiny.FACTS, tiny.CPU)
    made.load_state_dict(state)
    return made


def logits(model):
    total = model.config.recursions
    return tiny.read(model, tiny.batch(), Depth(total, total)).logits


@pytest.mark.parametrize("init", INITS)
def test_at_full_rank_the_looped_net_is_the_untied_one_to_rounding(init):
    model = untied()
    relaxed = built(model, rank=32, init=init)
    torch.testing.assert_close(logits(relaxed), logits(model), rtol=1e-3, atol=1e-4)
    assert (logits(built(model, rank=1, init=init)) - logits(model)).abs().max() > 1e-3


def test_a_higher_rank_is_nearer_and_costs_its_numbers():
    model, errors = untied(), []
    plain = built(model)
    for rank in (1, 4, 8, 16):
        relaxed = built(model, rank=rank)
        errors.append((logits(relaxed) - logits(model)).norm().item())
        matrices = [p for p in plain.core.parameters() if p.ndim == 2]
        parts = [3, 1, 2, 1] * 2  # stacked in qkv, out, gate and up, down
        each = [rank * (p.shape[0] + n * p.shape[1]) for p, n in zip(matrices, parts, strict=True)]
        assert parameter_count(relaxed) - parameter_count(plain) == 2 * sum(each)
    assert errors[3] < errors[2] < errors[0]
    assert errors[3] < 1e-3


def test_a_mixers_norms_are_shared_and_all_else_is_given_back():
    model = tiny.model("transformer", layers=4, mix="mixer", positions="none")
    torch.testing.assert_close(logits(built(model, rank=32)), logits(model), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sharing", convert.SHARINGS)
@pytest.mark.parametrize("init", INITS)
def test_a_net_of_copies_converts_to_itself(sharing, init):
    """Whatever is shared or taken, where all layers are alike."""
    model = tiny.model("transformer", layers=6)
    for block in model.core.blocks[1:]:
        block.load_state_dict(model.core.blocks[0].state_dict())
    looped = built(model, sharing=sharing, init=init)
    torch.testing.assert_close(logits(looped), logits(model))
    assert looped.config.recursions == 2


def test_layers_that_loops_do_not_divide_are_spread():
    assert kept_layers("cycle", 7, 2) == [0, 1, 2, 4, 5, 6]
    assert kept_layers("cycle", 8, 3) == [0, 1, 3, 4, 6, 7]
    assert kept_layers("middle_cycle", 8, 2) == list(range(8))
    with pytest.raises(UserError, match="3 layers are too few; use loops=3 or fewer"):
        kept_layers("cycle", 3, 4)
    assert sources("cycle", "stepwise", 8, 2) == [[0], [2], [5], [7]]


def test_low_ranks_are_the_nearest_and_A_is_orthonormal():
    R = torch.randn(6, 10, dtype=torch.float64)
    A, B = low_rank(R, 3)
    s = torch.linalg.svdvals(R)
    assert (R - B @ A).norm().item() == pytest.approx(s[3:].norm().item())
    torch.testing.assert_close(A @ A.T, torch.eye(3, dtype=torch.float64))
    A, B = low_rank(R, 9)
    torch.testing.assert_close(B @ A, R)


# ---- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("convert")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        train.train(tiny.config(*WORDS, "name=untied"))
        train.train(tiny.config(*WORDS, "name=looped", "model.recursions=2"))
    return path


def run(monkeypatch, capsys, folder, *words: str) -> str:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["convert", *words])
    try:
        convert.command("convert", convert.main)
    except SystemExit:
        return capsys.readouterr().err
    return capsys.readouterr().out


def test_a_run_is_converted_examined_and_trained_on(folder, monkeypatch, capsys):
    said = run(monkeypatch, capsys, folder, "run=runs/untied", "out=r", "loops=2", "rank=32")
    assert "4 layers are 2 x 2 loops (sharing=cycle, init=average)" in said
    before, after = open_run("runs/untied"), open_run("r")
    task, splits = load_task(before.config.task)
    rows = splits["test"].rows()
    found = [trained.solver()(rows, task.facts) for trained in (before, after)]
    assert np.array_equal(found[0].answers, found[1].answers)
    words = said.split("train.py ")[1].split()
    rest = [w for w in WORDS if not w.startswith("model")]
    train.train(tiny.config(*rest, *words, "name=more", "ema=null"))
    told = capsys.readouterr().out
    assert "init=r" in told or "r:" in told
    assert (folder / "runs/more/result.json").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run=runs/untied", "out=x", "loops=9"), "too few; use loops=4 or fewer"),
        (("run=runs/untied", "out=x", "loops=1"), "loops=1 must be 2 or more"),
        (("run=runs/untied", "out=x", "loops=2", "init=mean"), "use one of average, lower"),
        (
            ("run=runs/untied", "out=x", "loops=2", "rank=2", "sharing=sequence"),
            "goes with sharing=cycle",
        ),
        (("run=runs/looped", "out=x", "loops=2"), "use a run of model=transformer"),
        (("run=runs/untied", "out=x"), "loops is missing"),
        (("run=runs/untied", "out=runs", "loops=2"), "runs"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_nothing_is_written(
    words, said, folder, monkeypatch, capsys
):
    assert said in run(monkeypatch, capsys, folder, *words)
    assert not (folder / "x").exists()
