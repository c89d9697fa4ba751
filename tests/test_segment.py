"""The carry between segments: halted slots restart, busy slots stand still, nothing keeps a graph."""

import torch

from tests import tiny
from tinyreason.models import RecursiveModel
from tinyreason.puzzle import Batch
from tinyreason.recursion import Depth
from tinyreason.segment import Carry

FIELDS = ("inputs", "labels", "puzzle_ids")
HALTED = torch.tensor([True, False, True, False])


def a_segment(model: RecursiveModel, carry: Carry, halted=torch.zeros_like) -> Carry:
    state, _ = model(carry.state, carry.batch, Depth(4, 2))
    return carry.advance(state, halted)


def in_the_middle(model: RecursiveModel, batch: Batch, halted=lambda _: HALTED) -> Carry:
    """Two segments old; slots 0 and 2 have just halted."""
    carry = Carry.fresh(model, batch).refill(batch, model)
    return a_segment(model, a_segment(model, carry), halted)


def test_a_fresh_carry_is_free_and_its_first_refill_gives_each_slot_its_puzzle():
    model, lender, batch = tiny.model(), tiny.batch(seed=5), tiny.batch()
    carry = Carry.fresh(model, lender)
    assert carry.halted.all()
    carry = carry.refill(batch, model)
    assert not carry.halted.any()
    assert not carry.segments.any()
    assert all(torch.equal(getattr(carry.batch, k), getattr(batch, k)) for k in FIELDS)
    for z, start in zip(carry.state, model.start(model.encode(batch)), strict=True):
        assert torch.equal(z, start)


def test_halted_slots_restart_and_busy_slots_are_untouched():
    model, batch, new = tiny.model(), tiny.batch(), tiny.batch(seed=9)
    new.puzzle_ids = (batch.puzzle_ids + 1) % 3
    before = in_the_middle(model, batch)
    after = before.refill(new, model)
    assert after.segments.tolist() == [0, 2, 0, 2]
    assert not after.halted.any()
    start = model.start(model.encode(batch))
    for now, then, fresh in zip(after.state, before.state, start, strict=True):
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
    mixed = a_segment(model, in_the_middle(model, batch).refill(new, model))
    unused = a_segment(model, Carry.fresh(model, new).refill(new, model))
    alone = a_segment(model, in_the_middle(model, batch, torch.zeros_like))
    for z, fresh, busy in zip(mixed.state, unused.state, alone.state, strict=True):
        assert torch.equal(z[HALTED], fresh[HALTED])
        assert torch.equal(z[~HALTED], busy[~HALTED])


def test_nothing_is_attached_to_a_graph():
    for recursion in ("trm", "hrm", "single_z"):
        model, batch = tiny.model(recursion=recursion), tiny.batch()
        assert not any(z.requires_grad for z in Carry.fresh(model, batch).refill(batch, model).state)
        carry = Carry.fresh(model, batch).refill(batch, model)
        state, _ = model(carry.state, carry.batch, Depth(4, 2))
        assert all(z.requires_grad for z in state)
        carry = carry.advance(state, lambda segments: segments > 0)
        carried = (*carry.state, carry.segments, carry.halted, *(getattr(carry.batch, k) for k in FIELDS))
        assert not any(t.requires_grad or t.grad_fn for t in carried)


def test_the_second_segment_does_not_reach_into_the_first():
    """Backward through segment 2 works after segment 1's graph is gone, and adds its gradient alone."""
    model, batch = tiny.model(), tiny.batch()
    carry = Carry.fresh(model, batch).refill(batch, model)
    state, read = model(carry.state, carry.batch, Depth(4, 2))
    read.logits.sum().backward()
    carry = carry.advance(state, torch.zeros_like)
    model.zero_grad()
    model(carry.state, carry.batch, Depth(4, 4))[1].logits.sum().backward()
    after_both = model.encoder.tokens.grad.clone()
    model.zero_grad()
    copies = type(state)(*(z.clone() for z in carry.state))
    model(copies, carry.batch, Depth(4, 4))[1].logits.sum().backward()
    assert torch.equal(after_both, model.encoder.tokens.grad)


def test_advance_counts_segments_and_asks_the_rule_with_the_new_count():
    model, batch, asked = tiny.model(), tiny.batch(), []

    def rule(segments):
        asked.append(segments.tolist())
        return segments >= 3

    carry = Carry.fresh(model, batch).refill(batch, model)
    for k in (1, 2, 3):
        carry = a_segment(model, carry, rule)
        assert carry.segments.tolist() == [k] * 4
    assert asked == [[1] * 4, [2] * 4, [3] * 4]
    assert carry.halted.all()


def test_a_halted_slot_keeps_its_state_and_count_until_it_is_refilled():
    carry = in_the_middle(tiny.model(), tiny.batch())
    assert carry.segments.tolist() == [2, 2, 2, 2]
    assert carry.halted.tolist() == HALTED.tolist()


def test_select_takes_slots_by_mask_and_by_index():
    carry = in_the_middle(tiny.model(), tiny.batch())
    for rows in (~HALTED, torch.tensor([1, 3])):
        part = carry.select(rows)
        assert part.segments.tolist() == [2, 2]
        assert part.halted.tolist() == [False, False]
        assert len(part.batch) == 2
        for z, whole in zip(part.state, carry.state, strict=True):
            assert torch.equal(z, whole[[1, 3]])
        assert all(torch.equal(getattr(part.batch, k), getattr(carry.batch, k)[[1, 3]]) for k in FIELDS)


def test_a_carry_is_never_changed_in_place():
    model, batch = tiny.model(), tiny.batch()
    before = in_the_middle(model, batch)
    kept = [t.clone() for t in (*before.state, before.segments, before.halted, batch.inputs, batch.labels)]
    a_segment(model, before.refill(tiny.batch(seed=9), model), torch.ones_like)
    now = (*before.state, before.segments, before.halted, batch.inputs, batch.labels)
    assert all(torch.equal(a, b) for a, b in zip(now, kept, strict=True))
