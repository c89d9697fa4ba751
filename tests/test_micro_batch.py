"""`micro_batch=auto`: what it chooses for a memory, that it is the same gradient, and that a run
goes on with it.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import train
from conf.schema import training_config
from data.registry import facts_of
from eval.cost import fit
from eval.cost.model_predicted import estimate, predicted
from eval.speed import random_trainer
from tests import tiny
from tinyreason.device import fast_type_of_cuda
from tinyreason.errors import UserError
from tinyreason.models import DTYPES
from tinyreason.run.folder import read_config

BF16 = DTYPES["bfloat16"]
PAPER = ("task=sudoku", "model=trm", "scale=paper")
SMALL = ("task=sudoku", "model=trm", "scale=small", "task.side=4", "batch=12", "device=cpu")
SMALL += ("model.width=16", "model.heads=2", "model.dtype=float32")
GB = 10**9


def best(*words: str, free: float, dtype: torch.dtype = BF16) -> fit.Fit | None:
    config = tiny.config(*words)
    return fit.best_fit(config, facts_of(config.task), dtype, int(free * GB))


def test_what_fits_is_what_the_closed_form_says():
    config = tiny.config(*PAPER)
    facts = facts_of(config.task)
    for free in (4, 8, 12, 24, 80):
        found = fit.best_fit(config, facts, BF16, free * GB)
        larger = [n for n in range(found.slots + 1, 769) if 768 % n == 0][:1]
        for slots, fits in [(found.slots, True), *((n, False) for n in larger)]:
            taken = fit.with_numbers(config, slots, found.recompute)
            one = estimate(taken, facts, BF16)
            needed = predicted(taken, facts, one).peak + taken.batch * one.slot
            assert (needed <= fit.SURE * free * GB) == fits


def test_more_memory_is_never_fewer_slots_and_recomputing_comes_last():
    found = [best(*PAPER, free=free) for free in (1.5, 2, 4, 8, 16, 24, 80)]
    plain = [one.slots for one in found if not one.recompute]
    assert plain == sorted(plain)
    assert plain[-1] == 768
    assert min(plain) >= fit.FEW
    assert [one.recompute for one in found] == sorted(
        (one.recompute for one in found), reverse=True
    )
    assert found[0].recompute


def test_recomputing_only_where_few_slots_would_fit():
    maze = ("task=maze", "model=trm", "scale=paper")
    assert best(*maze, free=80) == best(*maze, free=80)._replace(recompute=False)
    small = best(*maze, free=8)
    assert small.recompute
    asked = best(*maze, "model.recompute=true", free=8)
    assert asked == small


@pytest.mark.hostile
def test_a_model_without_a_closed_form_is_counted():
    found = best("task=sudoku", "model=eqr", "scale=small", "task.side=4", free=1)
    few = ("model.recursions=2", "halting.segments=1", "model.recompute=true")
    other = best("task=sudoku", "model=looped", "scale=small", "task.side=4", *few, free=1)
    assert found.slots == 64
    assert {found.how, other.how} == {"closed form", "counted on meta tensors"}


def test_puzzle_embeddings_count():
    config = tiny.config(*PAPER)
    facts = facts_of(config.task)
    many = replace(facts, num_puzzle_identifiers=2_000_000)  # 4 GB, and no average of them
    few, fewer = (fit.best_fit(config, one, BF16, 12 * GB) for one in (facts, many))
    assert fewer.slots < few.slots


@pytest.mark.parametrize(
    ("batch", "most", "slots"),
    [(768, 768, 768), (768, 500, 384), (768, 200, 192), (768, 1, 1), (7, 3, 3), (12, 5, 4)],
)
def test_parts_are_even_where_they_can_be(batch, most, slots):
    assert fit.even(batch, most) == slots


def test_auto_is_the_gradient_of_the_whole_batch(monkeypatch):
    monkeypatch.setattr(fit, "FEW", 1)
    config = training_config_of("micro_batch=auto", "model.dtype=float64")
    whole = random_trainer(config)
    torch.manual_seed(0)
    facts = whole.feed.facts
    chosen = fit.fitted(config, facts, tiny.CPU, free=memory_for(config, facts, slots=4))
    assert chosen.micro_batch == 4
    trainers = []
    for one in (replace(config, micro_batch=None), chosen):
        torch.manual_seed(0)
        trainers.append(random_trainer(one))
    assert [len(t.parts) for t in trainers] == [1, 3]
    for _ in range(3):
        for trainer in trainers:
            trainer.step()
    for p, q in zip(*(t.model.parameters() for t in trainers), strict=True):
        # the sums are float64's, the weights float32: a rounding of these apart
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


def training_config_of(*words: str):
    config = training_config(tiny.composed_once((*SMALL, *words)))
    assert config.slots_at_once == config.batch
    return config


def memory_for(config, facts, slots: int) -> int:
    """Free bytes with which so many slots fit, and no more."""
    one = estimate(config, facts, DTYPES[config.model.dtype])
    parts = replace(config, micro_batch=slots, model=replace(config.model, recompute=False))
    gradients, moved = fit.side_bytes(config, facts)
    waiting = slots * (one.kept + one.working) + one.casts
    fixed = gradients + moved + config.batch * one.slot
    assert waiting > moved
    assert predicted(parts, facts, one).peak == gradients + moved + waiting
    return int((fixed + waiting + one.kept // 2) / fit.SURE)


def test_nothing_is_chosen_on_a_cpu_or_against_the_user(capsys):
    facts = facts_of(training_config_of().task)
    assert fit.fitted(training_config_of(), facts, tiny.CPU).micro_batch is None
    for word in ("micro_batch=5", "micro_batch=null"):
        config = training_config(tiny.composed_once((*SMALL, word)))
        assert fit.fitted(config, facts, tiny.CPU, free=1) == config
    assert not capsys.readouterr().out


def test_the_choice_is_told_and_too_little_memory_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(fit, "FEW", 1)
    config = training_config_of()
    facts = facts_of(config.task)
    fit.fitted(config, facts, tiny.CPU, free=memory_for(config, facts, slots=6))
    said = capsys.readouterr().out
    assert said.startswith("micro_batch=6 of 12 slots (")
    assert said.count("\n") == 1
    with pytest.raises(UserError, match=r"not one slot .* 0\.0 GB that are free; use a smaller"):
        fit.fitted(config, facts, tiny.CPU, free=1000)


def test_a_run_goes_on_with_the_numbers_it_has(tmp_path, monkeypatch):
    """Saved by the first part, taken by the second although there is more memory by then: bitwise
    the run that was not stopped.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fit, "FEW", 1)
    sizes = ("task.train_puzzles=20", "task.valid_puzzles=0", "task.test_puzzles=2", "steps=6")
    words = (*SMALL, *sizes, "save_every=2", "log_every=2", "model.mix=attention")
    config = training_config(tiny.composed_once(words))
    facts = facts_of(config.task)
    free = {"a": memory_for(config, facts, slots=4)}
    real = train.fitted

    def with_memory(*given, **more):
        return real(*given, **more, free=free["a"])

    monkeypatch.setattr(train, "fitted", with_memory)
    whole = train.train(replace(config, name="whole"))
    train.train(replace(config, name="half", max_minutes=1e-9))
    assert read_config(Path("runs/half"))["micro_batch"] == 4
    free["a"] = 100 * GB
    parts = train.train(replace(config, name="half"))
    assert read_config(Path("runs/half"))["micro_batch"] == 4
    assert parts["sha256"] == whole["sha256"]
    assert parts["steps"] == 6


def test_a_saved_none_and_the_users_own_number_win():
    config = training_config_of()
    facts = facts_of(config.task)
    saved = {"micro_batch": None, "model": {}}
    assert fit.fitted(config, facts, tiny.CPU, saved, free=1).micro_batch is None
    saved = {"micro_batch": 4, "model": {"recompute": True}}
    taken = fit.fitted(config, facts, tiny.CPU, saved, free=1)
    assert (taken.micro_batch, taken.model.recompute) == (4, True)
    own = replace(config, micro_batch=3)
    assert fit.fitted(own, facts, tiny.CPU, saved, free=1) == own


@pytest.mark.parametrize("word", ["micro_batch=0", "micro_batch=some", "micro_batch='4'"])
def test_a_wrong_number_is_one_line(word):
    with pytest.raises(UserError, match=r"micro_batch=.* must be 1 or more"):
        training_config(tiny.composed_once((*SMALL, word)))


def test_bfloat16_from_ampere_on():
    kinds = {(7, 5): "float32", (7, 0): "float32", (8, 0): "bfloat16", (8, 9): "bfloat16"}
    kinds |= {(9, 0): "bfloat16", (12, 0): "bfloat16"}
    for capability, name in kinds.items():
        assert fast_type_of_cuda(capability) == DTYPES[name]
