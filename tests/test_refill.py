"""Slots refilled while evaluating: bit for bit what one puzzle after another comes to.

That needs a CPU whose product of a row does not depend on the rows beside it: see
`docs/evaluation.md`. Where this machine's does, what is said must be close.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from data.registry import load_task
from tests import tiny
from tinyreason import load
from tinyreason.exits import ExitConfig, make_exit
from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.puzzle import Facts, Rows
from tinyreason.recursion import Depth
from tinyreason.solver import CACHE, FEWEST, Solver

FACTS = Facts(vocab_size=8, grid=(4, 4), num_puzzle_identifiers=3)
COUNT, SEGMENTS = 13, 6
MODELS = [("trm", "mixer"), ("trm", "attention"), ("huginn", "attention")]


def solver(name: str, mix: str, batch: int, halt: bool = True) -> Solver:
    """One whose puzzles halt at different segments; huginn's start at random numbers."""
    positions = "rotary" if mix == "attention" else "none"
    sizes = {"mix": mix, "positions": positions, "prefix": 0, "puzzle_embedding": False}
    model = tiny.model(name, FACTS, **sizes)
    torch.manual_seed(3)
    torch.nn.init.normal_(model.heads.halt.weight, std=3.0)
    torch.nn.init.zeros_(model.heads.halt.bias)
    return Solver(
        model=model,
        depth=Depth(4, 1),
        gradient=tiny.gradient("bptt"),
        halting=make_halting(HaltingConfig("correctness", SEGMENTS, 0.0, 0.5)),
        segments=SEGMENTS,
        halt=halt,
        batch=batch,
        device=tiny.CPU,
    )


def some_rows(count: int = COUNT) -> Rows:
    batch = tiny.batch(count, facts=FACTS)
    inputs, labels = (field.numpy().astype(np.uint8) for field in (batch.inputs, batch.labels))
    return Rows(inputs, labels, np.zeros(count, np.int32))


def said(one: Solver, rows: Rows, facts: Facts, monkeypatch) -> dict[tuple[int, int], np.ndarray]:
    """The logits of each puzzle, those of halting last, at each of its segments."""
    found, record = {}, Solver.record

    def keep(self, results, slots, carry, read, wants):
        for slot in np.flatnonzero(slots.busy):
            logits = torch.cat((read.logits[slot].flatten(), read.halt[slot])).numpy()
            found[int(slots.puzzles[slot]), int(slots.segments[slot])] = logits
        record(self, results, slots, carry, read, wants)

    with monkeypatch.context() as patch:
        patch.setattr(Solver, "record", keep)
        one(rows, facts)
    return found


def product_is_by_row(model: torch.nn.Module) -> bool:
    """Whether this machine gives each row of x @ w.T its own bits, for all matrices of a model."""
    for w in [p for p in model.parameters() if p.ndim == 2]:
        for rows in (16, 36, 64):
            x = torch.randn(28, rows, w.shape[1])
            whole = F.linear(x, w)
            alone = torch.cat([F.linear(x[i : i + 1], w) for i in range(len(x))])
            if not torch.equal(whole, alone):
                return False
    return True


def assert_same(one: dict, other: dict, model: torch.nn.Module) -> None:
    """Bit for bit, or close where the machine's products are not by row."""
    assert one.keys() == other.keys()
    exactly = product_is_by_row(model)
    for key, logits in one.items():
        if exactly:
            assert logits.tobytes() == other[key].tobytes()
        else:
            np.testing.assert_allclose(logits, other[key], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "mix"), MODELS)
def test_refilled_slots_say_what_one_by_one_says_bit_for_bit(name, mix, monkeypatch):
    rows, one = some_rows(), solver(name, mix, 1)
    alone = said(one, rows, FACTS, monkeypatch)
    lengths = {max(k for n, k in alone if n == puzzle) for puzzle in range(COUNT)}
    assert len(lengths) > 1, "the test needs puzzles that halt at different segments"
    assert len(alone) < COUNT * SEGMENTS
    for batch in (2, 5, COUNT):
        assert_same(said(replace(one, batch=batch), rows, FACTS, monkeypatch), alone, one.model)
    full = said(replace(one, batch=5, halt=False), rows, FACTS, monkeypatch)
    assert len(full) == COUNT * SEGMENTS
    assert_same({key: full[key] for key in alone}, alone, one.model)


@pytest.mark.parametrize(("name", "mix"), MODELS[:2])
def test_what_is_said_of_a_puzzle_does_not_depend_on_the_others(name, mix, monkeypatch):
    """Not on their order, nor on which they are; of models that draw, numbers go by the order."""
    rows, one = some_rows(), solver(name, mix, 5)
    straight = said(one, rows, FACTS, monkeypatch)
    order = np.random.Generator(np.random.PCG64(0)).permutation(COUNT)
    mixed = said(one, Rows(*(field[order] for field in rows)), FACTS, monkeypatch)
    mixed = {(int(order[n]), k): logits for (n, k), logits in mixed.items()}
    assert_same(mixed, straight, one.model)
    beside = np.array([4, 0, 0, 0, 0, 0, 0])
    few = said(one, Rows(*(field[beside] for field in rows)), FACTS, monkeypatch)
    own = {k: logits for (n, k), logits in straight.items() if n == 4}
    assert_same({k: logits for (n, k), logits in few.items() if n == 0}, own, one.model)


@pytest.mark.parametrize("name", ["kl", "latent", "stability", "head"])
def test_exits_are_where_they_are_one_by_one(name):
    found = []
    for batch in (1, 5, COUNT):
        one = solver("trm", "attention", batch, halt=False)
        threshold = {"kl": 0.1, "latent": 0.3, "stability": 2, "head": 1}[name]
        exit = make_exit(ExitConfig(name, threshold, "mean"), one.halting)
        found.append(replace(one, exit=exit)(some_rows(), FACTS))
    first = found[0]
    assert len(np.unique(first.exit_recursions)) > 1
    for other in found[1:]:
        for field in ("exit_exact", "exit_recursions", "exited", "answers"):
            np.testing.assert_array_equal(getattr(other, field), getattr(first, field))
        if product_is_by_row(one.model):
            np.testing.assert_array_equal(other.halt_logits, first.halt_logits)


def test_as_many_slots_as_the_cache_holds_and_none_of_them_empty(monkeypatch):
    one = solver("trm", "mixer", 256)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    fit = CACHE // (4 * 16 * 16)  # bytes of float32, width, cells
    assert fit == 256
    assert one.slots(1000, 16) == 250  # four rounds of 250, not three of 256 and one of 232
    assert one.slots(1, 16) == 1
    assert replace(one, batch=7).slots(1000, 16) == 7
    assert one.slots(1000, 16 * 16) == 16  # 63 rounds
    assert one.slots(1000, 1 << 16) == FEWEST
    assert replace(one, batch=1).slots(1000, 1 << 16) == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert one.slots(1000, 16 * 16) == 63  # four cores; 64 would leave empty ones
    assert replace(one, device=torch.device("cuda")).slots(1000, 1 << 16) == 250


@pytest.mark.hostile
@pytest.mark.parametrize("run", ["sudoku6", "maze6"])
def test_trained_models_say_bit_for_bit_what_one_by_one_says(run, monkeypatch):
    trained = load(f"pretrained/{run}", device="cpu")
    words = (f"task={run[:-1]}", "task.train_puzzles=1", "task.valid_puzzles=0")
    task, splits = load_task(tiny.config(*words, "task.test_puzzles=60", "scale=small").task)
    rows, one = splits["test"].rows(), trained.solver(halt=True, confidence=0.95)
    alone = said(replace(one, batch=1), rows, task.facts, monkeypatch)
    refilled = said(one, rows, task.facts, monkeypatch)
    assert len(rows.inputs) < len(alone) < 4 * len(rows.inputs)
    assert_same(refilled, alone, one.model)
