"""Cells that halt by themselves: reference (examples by hand), invariants."""

import pytest
import torch
from torch import Tensor

from conf.schema import training_config
from tests import tiny
from tests.test_parity import GOLDEN
from tests.zoo import universal
from tests.zoo.recording import Recording
from tinyreason.act import act_step
from tinyreason.errors import UserError
from tinyreason.noise import NoNoise
from tinyreason.recursion import Depth
from tinyreason.tags import tag_of


def paid(probabilities: list[float], threshold: float) -> tuple[list[float], float, float, float]:
    """Shares at each step of one cell, their sum, the remainder, and the steps that ran."""
    total, shares, remainder, ran = torch.zeros(1, 1), [], 0.0, 0.0
    for p in probabilities:
        step = act_step(torch.full((1, 1), p), total, threshold)
        total = step.total
        shares.append(round(step.share.item(), 6))
        remainder += step.remainder.item()
        ran += step.ran.item()
    return shares, total.item(), remainder, ran


def test_two_halves_are_paid_in_two_steps():
    """p = 1/2, 1/2 at eps 0.1: the second step is the last, and its share the remainder."""
    assert paid([0.5, 0.5, 0.9], 0.9) == ([0.5, 0.5, 0.0], 1.0, 0.5, 2.0)


def test_a_sure_cell_leaves_at_once_and_a_slow_one_never():
    assert paid([0.99, 0.5], 0.9) == ([1.0, 0.0], 1.0, 1.0, 1.0)
    shares, total, remainder, ran = paid([0.05] * 6, 0.9)
    assert shares == [0.05] * 6  # no remainder is paid at the cap
    assert total == pytest.approx(0.3)
    assert (remainder, ran) == (0.0, 6.0)


def test_shares_sum_to_one_exactly_where_the_threshold_was_met():
    generator = torch.Generator().manual_seed(0)
    total, shares = torch.zeros(20, 50), torch.zeros(20, 50)
    probabilities = 0.35 * torch.rand(6, 20, 50, generator=generator)
    for p in probabilities:
        step = act_step(p, total, 0.9)
        total, shares = step.total, shares + step.share
    met = (probabilities.cumsum(0) > 0.9).any(0)
    assert met.any()
    assert not met.all()
    assert (total[met] == 1).all()
    torch.testing.assert_close(shares[met], torch.ones(int(met.sum())))
    assert (shares[~met] < 0.95).all()


def test_the_ponder_cost_falls_with_earlier_probabilities_through_the_remainder_alone():
    p = torch.tensor([0.3, 0.4, 0.5], requires_grad=True)
    total, cost = torch.zeros(1, 1), torch.zeros(1, 1)
    for one in p:
        step = act_step(one.view(1, 1), total, 0.9)
        total, cost = step.total, cost + step.remainder + step.ran
    cost.sum().backward()
    assert p.grad.tolist() == [-1, -1, 0]


def states_of(model, batch, depth: int) -> list:
    x = model.encode(batch)
    state, found = model.start(x, NoNoise()), []
    for t in range(depth):
        state = model.recur(state, x, t)
        found.append(state)
    return found


def test_without_halting_the_state_is_that_of_a_tied_stack_told_its_number():
    model, batch = tiny.model("universal", recursions=3), tiny.batch()
    s = model.encode(batch)
    for t in range(3):
        s = model.core(model.placed(s, t))
    assert torch.equal(states_of(model, batch, 3)[-1].s, s)


def test_cells_that_never_want_to_leave_take_every_recursion():
    model = tiny.model("universal", recursions=4)
    with torch.no_grad():
        model.leave.bias.fill_(-50)
    last = states_of(model, tiny.batch(), 4)[-1]
    assert (last.updates == 4).all()
    assert not last.remainder.any()
    owed: Tensor = model.read(last).logits
    assert torch.equal(owed, model.read(last._replace(out=last.s, total=last.total + 1)).logits)


@pytest.mark.parametrize("output", ["sum", "interpolate"])
def test_a_cell_that_has_halted_says_the_same_for_ever(output):
    model = tiny.model("universal", recursions=4, output=output, threshold=0.6)
    with torch.no_grad():
        model.leave.bias.fill_(0.5)
    found = states_of(model, tiny.batch(), 9)  # deeper than it states
    halted = found[3].total == 1
    assert halted.any()
    assert torch.equal(found[3].out[halted], found[8].out[halted])
    assert not torch.equal(found[3].s[halted], found[8].s[halted])


def test_the_two_outputs_differ():
    """At shares of 1/2 each, the first state counts for a half or a quarter."""
    outs = {}
    for output in ("sum", "interpolate"):
        model = tiny.model("universal", recursions=2, output=output, threshold=0.9)
        with torch.no_grad():
            model.leave.weight.zero_()
            model.leave.bias.zero_()
        outs[output] = states_of(model, tiny.batch(), 2)
    first, second = outs["sum"][0].s, outs["sum"][1].s
    torch.testing.assert_close(outs["sum"][-1].out, first / 2 + second / 2)
    torch.testing.assert_close(outs["interpolate"][-1].out, first / 4 + second / 2)


def test_a_recording_that_ends_where_all_cells_have_halted_is_compared_so_far():
    """Our own figures under the reference's names; a share after the end would be noticed."""
    recording = Recording(GOLDEN / "zoo/ut_act.npz")
    recording.data["weight/act_fn.p.bias"][:] = 2
    model = universal.model_of(recording, "interpolate")
    x = recording.tensor("input/x") @ recording.tensor(f"weight/{universal.PROJECTION}").T
    leaving, states, shares, last = universal.run(model, x)
    ran = int(last.updates.max())
    assert ran < model.config.recursions
    summed = (shares[..., None] * states).sum(0)
    figures = {
        "out/p": leaving[:ran],
        "out/states": states[:ran],
        "out/weights": shares[:ran],
        "out/interpolate": last.out,
        "out/remainders": last.remainder,
        "out/n_updates": last.updates,
        "out/steps_run": last.updates.max(),
        "own_float64/sum": summed,
        "own_float64/t2t": summed - shares.sum(0)[..., None],
        "fixed/out": states[-1],
    }
    recording.data |= {key: value.detach().numpy() for key, value in figures.items()}
    found = universal.differences(recording)
    assert found["decisions"] == 0
    assert found["states"] < 1e-5
    for key in ("out/p", "out/states", "out/weights"):
        recording.data[key] = recording.data[key][:1]
    assert universal.differences(recording)["decisions"] > 0


def test_the_decay_stays_between_0_and_1_whatever_is_learnt():
    model = tiny.model("openmythos")
    assert model.decay().tolist() == pytest.approx([0.36788] * 16, abs=1e-5)
    for value in (-1e9, 1e9):
        with torch.no_grad():
            model.log_A.fill_(value)
        assert ((model.decay() >= 0) & (model.decay() <= 1)).all()


def test_loops_beyond_those_with_scales_use_the_last_ones():
    model = tiny.model("openmythos", recursions=2)
    with torch.no_grad():
        model.up.normal_()
        model.scale.normal_()
    x = model.encode(tiny.batch())
    at = [model.updated(x, x, t) - model.block(x, x, t) for t in range(4)]
    assert torch.isfinite(torch.stack(at)).all()
    with torch.no_grad():
        model.scale[1] += 1
    now = [model.updated(x, x, t) - model.block(x, x, t) for t in range(4)]
    assert [torch.equal(a, b) for a, b in zip(at, now, strict=True)] == [True, False, False, False]


@pytest.mark.parametrize("name", ["universal", "openmythos"])
def test_cells_halt_for_good_so_a_puzzle_has_one_segment(name):
    with pytest.raises(UserError, match="halts for good within a segment; use halting=single"):
        training_config(tiny.composed([f"model={name}", "halting=fixed"]))


@pytest.mark.parametrize(
    ("name", "width", "said"),
    [("universal", 15, "must be even"), ("openmythos", 24, "must be a multiple of 16")],
)
def test_a_width_without_room_for_sinusoids_is_refused(name, width, said):
    words = [f"model={name}", "scale=paper", f"model.width={width}", "model.heads=1"]
    with pytest.raises(UserError, match=rf"^model\.width={width} {said}"):
        training_config(tiny.composed(words))


def test_the_rest_is_paid_by_the_rule_of_the_other_shares():
    """At shares of 1/4 and 1/4, 1/2 is left of both cells' 1."""
    for output, expected in (("sum", (1 / 4, 3 / 4)), ("interpolate", (3 / 32, 5 / 8))):
        model = tiny.model("universal", recursions=2, output=output, rest=True)
        with torch.no_grad():
            model.leave.weight.zero_()
            model.leave.bias.fill_(-torch.tensor(3.0).log())
        first, last = states_of(model, tiny.batch(), 2)
        mixed = expected[0] * first.s + expected[1] * last.s
        logits = model.heads(mixed)[0]
        torch.testing.assert_close(model.read(last).logits, logits)


def test_norms_are_not_decayed():
    """As everywhere; else what a layer adds would fade."""
    parameters = tiny.model("universal").named_parameters()
    kept = {name for name, p in parameters if not tag_of(p).decay}
    norms = ("norm_mix", "norm_conv")
    assert kept == {f"core.0.{norm}.{part}" for norm in norms for part in ("weight", "bias")}


def test_ponder_cost_is_of_each_puzzle():
    model, batch = tiny.model("universal", recursions=3, ponder=0.5), tiny.batch()
    trace = tiny.segment(model, batch, Depth(3, 3))
    (cost,) = trace.penalties.values()
    expected = 0.5 * (trace.state.updates + trace.state.remainder).mean(-1)
    assert torch.equal(cost, expected)
