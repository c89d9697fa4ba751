"""`eval.speed`: what it prints, and that what it compares is equal. Never how fast."""

import json
from dataclasses import replace

import pytest
import torch

from eval.cost import fit
from eval.speed import __main__ as speed
from eval.speed import made
from eval.speed.baseline import make_plain
from eval.speed.made import random_trainer
from eval.speed.measure import flops
from eval.speed.report import ROWS
from tests import tiny
from tinyreason.errors import UserError

SMALL = ("task=sudoku", "scale=small", "task.side=4", "batch=4", "device=cpu")
SMALL += ("model.width=16", "model.heads=2", "optim.warmup=1", "task.train_puzzles=16")
SMALL += ("task.valid_puzzles=0", "task.test_puzzles=0")
MIXES = ("model.mix=mixer", "model.mix=attention")


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", ["trm", "hrm", "eqr", "huginn"])
def test_the_baseline_has_the_same_gradients(name, mix):
    torch.manual_seed(0)
    ours, plain = (random_trainer(tiny.config(*SMALL, f"model={name}", mix)) for _ in range(2))
    plain.load_state_dict(ours.state_dict())
    make_plain(plain.model)
    for trainer in (ours, plain):
        carry = trainer.carry.refill(trainer.feed.take(trainer.carry.halted))
        trainer.forward_backward(carry, trainer.depth.full, slice(None))
    gradients = [
        [p.grad for p in t.model.parameters() if p.grad is not None] for t in (ours, plain)
    ]
    assert len(gradients[0]) > 5
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_what_is_printed(capsys, tmp_path):
    path = tmp_path / "speed.json"
    words = [*SMALL, "halting.segments=2", "repeats=2", f"json={path}", "threads=1"]
    speed.main([*words, "model.mix=attention,mixer", "baseline=true"])
    told = capsys.readouterr().out
    header, _, *rows = [line for line in told.splitlines() if line.startswith("|")]
    names = ["plain, model.mix=attention", "model.mix=attention"]
    names += ["plain, model.mix=mixer", "model.mix=mixer"]
    assert header == "| | " + " | ".join(names) + " |"
    assert [row.split(" | ")[0][2:] for row in rows] == [
        name for name in ROWS if name != "host waits in a step"
    ]
    assert "1 threads" in told
    found = json.loads(path.read_text())["variants"]
    assert list(found) == names
    for one in found.values():
        assert one["segments_per_second"] == pytest.approx(4 / one["step"])
        assert one["puzzles_per_second"] == pytest.approx(2 / one["step"])
        assert one["flops_per_second"] == pytest.approx(one["flops_of_a_step"] / one["step"])
        assert one["share_of_peak"] > 0
        assert one["evaluation_share_of_peak"] > 0
    assert found[names[0]]["times_as_fast"] == 1


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("foo", "foo is no option here; write key=value"),
        ("--cfg", "--cfg is no option here"),
        ("repeats=0", "repeats=0 is not a size"),
        ("threads=two", "threads=two is not a size"),
        ("baseline=1", "baseline=1 must be true or false"),
        ("json=/nowhere/x.json", "there is no folder"),
    ],
)
def test_bad_words_are_refused(word, line):
    with pytest.raises(UserError, match=line):
        speed.main([*SMALL, word])


def test_a_list_in_brackets_is_one_choice():
    betas = speed.variants(["model=trm", "optim.betas=[0.9,0.95],[0.9,0.99]"])
    assert list(betas) == ["optim.betas=[0.9,0.95]", "optim.betas=[0.9,0.99]"]
    words = ["optim.betas=[0.9,0.95]", "task.source=[a.csv,b.csv]"]
    assert list(speed.variants(words).values()) == [words]


def test_variants_of_one_task_load_its_puzzles_once(monkeypatch):
    loaded = []
    load = speed.load_task
    monkeypatch.setattr(speed, "load_task", lambda task: loaded.append(task) or load(task))
    both = {mix: tiny.config(*SMALL, mix) for mix in MIXES}
    found = speed.timed(both, repeats=1)
    assert len(loaded) == 1
    assert all(v.data > 0 for v in found)


def test_recomputing_that_auto_chose_is_in_the_flops(monkeypatch):
    config = tiny.config(*SMALL, "micro_batch=auto")
    config = replace(config, model=replace(config.model, dtype="float32"))
    again = lambda config, facts, device: fit.with_numbers(config, 2, True)  # noqa: E731
    (plain,) = speed.timed({"as given": config}, repeats=1)
    monkeypatch.setattr(made, "fitted", again)
    (chosen,) = speed.timed({"as given": config}, repeats=1)
    assert chosen.config.micro_batch == 2
    assert chosen.config.batch == config.batch
    assert flops(chosen) > flops(plain)


def test_a_model_without_swiglus_has_no_baseline():
    with pytest.raises(UserError, match="baseline=true is for models with SwiGLUs"):
        make_plain(random_trainer(tiny.config(*SMALL, "model=deep_thinking")).model)
