"""The carry between segments: halted slots restart, busy ones stand still, no graph is kept."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from eval.speed import random_trainer
from tests import tiny
from tinyreason.models import RecursiveModel
from tinyreason.noise import NoNoise
from tinyreason.puzzle import Batch
from tinyreason.recursion import Depth
from tinyreason.segment import Carry, Trace, segment

DEPTH = Depth(4, 2)
FIELDS = ("inputs", "labels", "puzzle_ids")
HALTED = torch.tensor([True, False, True, False])


def traced(model: RecursiveModel, carry: Carry, depth: Depth = DEPTH) -> Trace:
    return segment(model, carry, depth, tiny.FULL, NoNoise())


def nobody(segments: Tensor) -> Tensor:
    return torch.zeros_like(segments, dtype=torch.bool)


def a_segment(
    model: RecursiveModel, carry: Carry, halted: Callable[[Tensor], Tensor] = nobody
) -> Carry:
    after = carry.advance(traced(model, carry).state)
    return replace(after, halted=halted(after.segments))


def begun(model: RecursiveModel, carry: Carry) -> NamedTuple:
    """The state in which each slot begins its next segment."""
    return carry.begun(model.start(model.encode(carry.batch), NoNoise()))


def in_the_middle(
    model: RecursiveModel, batch: Batch, halted: Callable[[Tensor], Tensor] = lambda _: HALTED
) -> Carry:
    """Two segments old; slots 0 and 2 have just halted."""
    carry = Carry.fresh(model, batch).refill(batch)
    return a_segment(model, a_segment(model, carry), halted)


def test_a_fresh_carry_is_free_and_its_first_refill_gives_each_slot_its_puzzle():
    model, lender, batch = tiny.model(), tiny.batch(seed=5), tiny.batch()
    carry = Carry.fresh(model, lender)
    assert carry.halted.all()
    carry = carry.refill(batch)
    assert not carry.halted.any()
    assert not carry.segments.any()
    assert all(torch.equal(getattr(carry.batch, k), getattr(batch, k)) for k in FIELDS)
    for z, start in zip(
        begun(model, carry), model.start(model.encode(batch), NoNoise()), strict=True
    ):
        assert torch.equal(z, start)


def test_halted_slots_restart_and_busy_slots_are_untouched():
    model, batch, new = tiny.model(), tiny.batch(), tiny.batch(seed=9)
    new.puzzle_ids = (batch.puzzle_ids + 1) % 3
    before = in_the_middle(model, batch)
    after = before.refill(new)
    assert after.segments.tolist() == [0, 2, 0, 2]
    assert not after.halted.any()
    start = model.start(model.encode(new), NoNoise())
    for now, then, fresh in zip(begun(model, after), before.state, start, strict=True):
        assert torch.equal(now[HALTED], fresh[HALTED])
        assert torch.equal(now[~HALTED], then[~HALTED])
    for k in FIELDS:
        now, then, fresh = (getattr(b, k) for b in (after.batch, batch, new))
        assert torch.equal(now[HALTED], fresh[HALTED])
        assert torch.equal(now[~HALTED], then[~HALTED])
        assert now.dtype == then.dtype


def test_a_refilled_slot_goes_on_exactly_as_one_that_was_never_used():
    """And a busy slot exactly as if nothing had happened beside it."""
    model, batch, new = tiny.model(), tiny.batch(), tiny.batch(seed=9)
    mixed = a_segment(model, in_the_middle(model, batch).refill(new))
    unused = a_segment(model, Carry.fresh(model, new).refill(new))
    alone = a_segment(model, in_the_middle(model, batch, nobody))
    for z, fresh, busy in zip(mixed.state, unused.state, alone.state, strict=True):
        assert torch.equal(z[HALTED], fresh[HALTED])
        assert torch.equal(z[~HALTED], busy[~HALTED])


def test_nothing_is_attached_to_a_graph():
    for name in ("trm", "hrm", "single_z"):
        model, batch = tiny.model(name), tiny.batch()
        carry = Carry.fresh(model, batch).refill(batch)
        assert not any(z.requires_grad for z in carry.state)
        trace = traced(model, carry)
        assert all(z.requires_grad for z in trace.state)
        carry = carry.advance(trace.state)
        carry = replace(carry, halted=carry.segments > 0)
        fields = (getattr(carry.batch, k) for k in FIELDS)
        carried = (*carry.state, carry.segments, carry.halted, *fields)
        assert not any(t.requires_grad or t.grad_fn for t in carried)


def test_the_second_segment_does_not_reach_into_the_first():
    """Backward through segment 2 works when segment 1's graph is gone, and adds its own alone."""
    model, batch = tiny.model(), tiny.batch()
    carry = Carry.fresh(model, batch).refill(batch)
    trace = traced(model, carry)
    trace.reads[-1].logits.sum().backward()
    carry = carry.advance(trace.state)
    model.zero_grad()
    traced(model, carry, Depth(4, 4)).reads[-1].logits.sum().backward()
    after_both = model.encoder.tokens.grad.clone()
    model.zero_grad()
    copies = type(carry.state)(*(z.clone() for z in carry.state))
    alone = replace(carry, state=copies)
    traced(model, alone, Depth(4, 4)).reads[-1].logits.sum().backward()
    assert torch.equal(after_both, model.encoder.tokens.grad)


def test_advance_counts_segments_and_asks_the_rule_with_the_new_count():
    """It counts; the trainer then asks, and whom the rule names is free."""
    model, batch = tiny.model(), tiny.batch()
    carry = Carry.fresh(model, batch).refill(batch)
    for k in (1, 2, 3):
        carry = a_segment(model, carry, lambda segments: segments >= 3)
        assert carry.segments.tolist() == [k] * 4
    assert carry.halted.all()

    words = ("task=sudoku", "scale=small", "task.side=4", "batch=4", "halting=fixed")
    trainer, asked = random_trainer(tiny.config(*words, "halting.segments=3", "device=cpu")), []
    done = trainer.halting.done

    def rule(read, segments, generator, ranks):
        asked.append(segments.tolist())
        return done(read, segments, generator, ranks)

    trainer.halting.done = rule
    for k in (1, 2, 3):
        trainer.step()
        assert trainer.carry.halted.tolist() == [k == 3] * 4
    assert asked == [[1] * 4, [2] * 4, [3] * 4]


def test_a_halted_slot_keeps_its_state_and_count_until_it_is_refilled():
    carry = in_the_middle(tiny.model(), tiny.batch())
    assert carry.segments.tolist() == [2, 2, 2, 2]
    assert carry.halted.tolist() == HALTED.tolist()


def test_select_takes_slots_by_mask_and_by_index():
    carry = in_the_middle(tiny.model(), tiny.batch())
    for rows in (~HALTED, torch.tensor([1, 3]), slice(1, 4, 2)):
        part = carry.select(rows)
        assert part.segments.tolist() == [2, 2]
        assert part.halted.tolist() == [False, False]
        assert len(part.batch) == 2
        for z, whole in zip(part.state, carry.state, strict=True):
            assert torch.equal(z, whole[[1, 3]])
        assert all(
            torch.equal(getattr(part.batch, k), getattr(carry.batch, k)[[1, 3]]) for k in FIELDS
        )


def test_a_carry_is_never_changed_in_place():
    model, batch = tiny.model(), tiny.batch()
    before = in_the_middle(model, batch)
    kept = [
        t.clone()
        for t in (*before.state, before.segments, before.halted, batch.inputs, batch.labels)
    ]
    a_segment(model, before.refill(tiny.batch(seed=9)), lambda segments: segments > 0)
    now = (*before.state, before.segments, before.halted, batch.inputs, batch.labels)
    assert all(torch.equal(a, b) for a, b in zip(now, kept, strict=True))
