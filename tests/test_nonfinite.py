"""Bad numbers do not spread, a batch in parts is the batch, a full memory is one line."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
import torch

import train
from eval.speed import random_trainer
from tests import tiny
from tests.marks import cross
from tinyreason.errors import UserError
from tinyreason.nonfinite import MOST_IN_A_ROW, BadSteps, only_if
from tinyreason.trainer import Trainer

SMALL = (
    "task=sudoku",
    "scale=small",
    "task.side=4",
    "batch=6",
    "model.width=16",
    "model.heads=2",
    "optim.warmup=2",
)
PUZZLES = ("model.prefix=1", "model.puzzle_embedding=true")
OPTIMIZERS = {
    "adam_atan2": (),
    "adamw": ("optim.rule=adamw",),
    "muon": ("optim.matrices=muon",),
    "clip": ("optim.clip=1",),
}


def trainer_of(*more: str) -> Trainer:
    torch.manual_seed(0)
    return random_trainer(tiny.config(*SMALL, *more))


def everything(trainer: Trainer) -> list[torch.Tensor]:
    """All that a step moves, copied."""
    table = [e.table for e in trainer.optimizers.embeddings]
    return [t.detach().clone() for t in [*trainer.moved(), *table]]


@contextmanager
def spoilt(trainer: Trainer, where: str, value: float) -> Iterator[None]:
    """Steps are bad: by their loss, or a row of the gradient of the answer's head or the tokens."""
    honest, handle = trainer.cross_entropy, None
    if where == "loss":
        trainer.cross_entropy = lambda logits, labels: honest(logits, labels) * value
    else:
        victim = (
            trainer.model.heads.answer.weight if where == "answer" else trainer.model.encoder.tokens
        )
        handle = victim.register_hook(lambda g: g.index_fill(0, torch.tensor([1]), value))
    yield
    trainer.cross_entropy = honest
    if handle:
        handle.remove()


@pytest.mark.parametrize(
    ("where", "value"),
    cross(["answer", "loss", "tokens"], [float("nan"), float("inf"), float("-inf")]),
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_bad_step_moves_nothing_and_the_next_one_does(optimizer, where, value, counted):
    trainer = trainer_of(*PUZZLES, *OPTIMIZERS[optimizer])
    for _ in range(2):
        trainer.step()
    trainer.meter.read()
    before = everything(trainer)
    with spoilt(trainer, where, value):
        trainer.step()
    after = everything(trainer)
    assert len(before) == len(after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert trainer.carry.halted.all()  # what may have spoilt the latents is gone
    trainer.step()
    assert not torch.equal(everything(trainer)[0], before[0])
    assert all(t.isfinite().all() for t in everything(trainer))
    record = trainer.meter.read()
    assert record["skipped"] == 1
    assert record["loss"] == record["loss"] < float("inf")
    counted("steps with NaN or inf: weights, average and moments bitwise as before")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_bad_first_step_leaves_fresh_optimizers(optimizer):
    """There is no state before the first step; after a bad one it is as if none had been made."""
    trainer, other = (trainer_of(*PUZZLES, *OPTIMIZERS[optimizer]) for _ in range(2))
    parameters = [p.detach().clone() for p in trainer.model.parameters()]
    with spoilt(trainer, "answer", float("nan")):
        trainer.step()
    assert all(
        torch.equal(a, b) for a, b in zip(parameters, trainer.model.parameters(), strict=True)
    )
    moments = trainer.moved()[len(parameters) : len(trainer.optimizers.moved())]
    assert moments
    assert not any(m.any() for m in moments)
    other.step()
    assert len(other.moved()) == len(trainer.moved())


def test_a_good_step_is_the_step_without_a_guard():
    """Taking a step back must not be what a good step does."""
    w = torch.nn.Parameter(torch.ones(3))
    only_if(torch.tensor(True), lambda: [w], lambda: w.data.add_(1))
    assert w.eq(2).all()
    only_if(torch.tensor(False), lambda: [w], lambda: w.data.mul_(float("nan")))
    assert w.eq(2).all()


def test_bad_steps_are_counted_in_a_row():
    bad_steps, step = BadSteps(tiny.CPU), 0
    for good in [False] * (MOST_IN_A_ROW - 1) + [True] + [False] * (MOST_IN_A_ROW - 1):
        step += 1
        bad_steps.count(torch.tensor(good), step)
    assert not bad_steps.lost()
    bad_steps.count(torch.tensor(False), step + 1)
    assert bad_steps.lost()
    for good in (True, False, False):
        step += 1
        bad_steps.count(torch.tensor(good), step + 1)
    assert bad_steps.lost()  # the host may look later
    assert bad_steps.first == MOST_IN_A_ROW + 1


def test_bad_steps_of_the_past_do_not_end_a_run_that_goes_on():
    trainer = trainer_of()
    with spoilt(trainer, "loss", float("nan")):
        for _ in range(MOST_IN_A_ROW):
            trainer.step()
    assert trainer.bad_steps.lost()
    for still_bad in (False, True):
        other = trainer_of()
        other.load_state_dict(trainer.state_dict())
        assert not other.bad_steps.lost()
        with spoilt(other, "loss", float("nan")) if still_bad else nullcontext():
            other.step()
        assert other.bad_steps.lost() == still_bad


def bad_run(*words: str) -> train.Config:
    few = ("task.train_puzzles=4", "task.valid_puzzles=0", "task.test_puzzles=2", "steps=40")
    return replace(tiny.config(*SMALL, *few, *words), name="bad")


def test_the_checkpoint_to_begin_again_from_is_not_the_one_that_made_the_steps_bad(
    tmp_path, monkeypatch
):
    """A rate so large that the weights of a step are finite and enormous; the next step is not."""
    monkeypatch.chdir(tmp_path)
    config = bad_run("save_every=1")
    step = Trainer.step

    def wild(trainer: Trainer) -> None:
        if trainer.steps == 5:
            for p in trainer.model.parameters():
                p.data *= 1e30
        step(trainer)

    monkeypatch.setattr(Trainer, "step", wild)
    with pytest.raises(UserError, match=r"resume=runs/bad/checkpoints/step_00000004\.pt"):
        train.train(config)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        train.train(replace(config, name="again", resume="runs/bad/checkpoints/step_00000004.pt"))


def test_ten_bad_steps_stop_the_run_and_say_where_to_begin_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = bad_run("save_every=3")
    step = Trainer.step

    def bad_from_7_on(trainer: Trainer) -> None:
        with spoilt(trainer, "loss", float("nan")) if trainer.steps >= 7 else nullcontext():
            step(trainer)

    monkeypatch.setattr(Trainer, "step", bad_from_7_on)
    with pytest.raises(UserError) as stopped:
        train.train(config)
    said = str(stopped.value)
    assert said.startswith("10 steps in a row had a loss or a gradient that is not finite")
    assert "resume=runs/bad/checkpoints/step_00000006.pt" in said
    assert "\n" not in said
    assert not (tmp_path / "runs/bad/result.json").exists()


# ---- micro-batches


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("model", ["model=trm", "model=hrm"])
def test_a_batch_in_parts_has_the_gradient_of_the_batch(model, dtype, tolerance, size):
    found = []
    for words in ((), (f"micro_batch={size}",)):
        trainer = trainer_of(model, f"model.dtype={dtype}", *PUZZLES, *words)
        trainer.model.to(getattr(torch, dtype))
        for p in trainer.model.parameters():
            # the halting head starts at 0
            p.data += 0.01 * torch.sin(torch.arange(p.numel()).view_as(p))
        carry = trainer.carry.refill(trainer.feed.take(trainer.carry.halted))
        for rows in trainer.parts:
            trainer.forward_backward(carry.select(rows), trainer.depth.full, rows)
        table = torch.cat(trainer.model.encoder.puzzles.gradients())
        found.append([p.grad for p in trainer.model.parameters()] + [table])
    for whole, parts in zip(*found, strict=True):
        assert (whole - parts).norm() <= tolerance * whole.norm()
        assert whole.any()


def test_a_run_in_parts_halts_and_logs_as_the_whole():
    whole, parts = (
        trainer_of("model=trm", *PUZZLES),
        trainer_of("model=trm", *PUZZLES, "micro_batch=4"),
    )
    sizes = [rows.stop - rows.start for rows in parts.parts]
    assert sizes == [4, 2]  # the last one is cut by the batch of 6
    for _ in range(3):
        whole.step()
        parts.step()
    assert torch.equal(whole.carry.segments, parts.carry.segments)
    assert torch.equal(whole.carry.batch.inputs, parts.carry.batch.inputs)
    ours, theirs = whole.meter.read(), parts.meter.read()
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_running_out_of_memory_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = replace(
        tiny.config(*SMALL, "task.train_puzzles=4", "task.valid_puzzles=0", "task.test_puzzles=2"),
        name="a",
    )

    def full(trainer: Trainer) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Trainer, "step", full)
    options = r"micro_batch=3, model\.recompute=true"
    said = rf"out of memory at batch=6, \d\.\d GiB in use at most; \w+ {options}"
    with pytest.raises(UserError, match=said), train.memory_advice(config):
        train.train(config)

    def bug(trainer: Trainer) -> None:
        raise RuntimeError("another")

    monkeypatch.setattr(Trainer, "step", bug)
    with pytest.raises(RuntimeError, match="another"), train.memory_advice(config):
        train.train(config)
