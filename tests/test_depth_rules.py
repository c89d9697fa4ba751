"""Every depth rule: what it draws, that any model trains with it, and that a resumed run draws the
same.
"""

from itertools import pairwise

import pytest
import torch

from conf import help as pages
from conf.schema import plain, training_config
from eval.speed import random_trainer
from tests import tiny
from tests.test_zoo import SMALL, trainer_of
from tests.tiny import steps
from tinyreason import earlier
from tinyreason.depth import DEPTHS, DepthRule, PoissonConfig, generator_of, make_depth, of_rows
from tinyreason.errors import UserError
from tinyreason.gradient import Gradient
from tinyreason.plain import from_plain
from tinyreason.recursion import Depth
from tinyreason.trainer import Training

NEVER_DRAWN = {"fixed", "curriculum", "stages", "cgar"}
STEPS = 10  # of a run
LAST_4 = tiny.gradient("last", recursions=4)


def rule(name: str, recursions: int, gradient: Gradient = LAST_4, **options) -> DepthRule:
    """As its yaml has it, but for some options."""
    words = [f"depth.{key}={value}" for key, value in options.items()]
    config = tiny.config(f"depth={name}", *words).depth
    return make_depth(config, recursions, gradient, STEPS)


def draws(one: DepthRule, count: int = 200, slots: int = 6, seed: int = 0) -> list[Depth]:
    return [one.draw(step, slots, generator_of(seed, step)) for step in range(count)]


def pairs(one: DepthRule, count: int = 200) -> list[tuple[int, int]]:
    """(free, tracked)."""
    return [(depth.total - depth.tracked, depth.tracked) for depth in draws(one, count)]


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def same(one: Depth, other: Depth) -> bool:
    if one._replace(live=None) != other._replace(live=None):
        return False
    return one.live is other.live is None or torch.equal(one.live, other.live)


# ---- all of them


@pytest.mark.parametrize("name", DEPTHS)
@pytest.mark.parametrize(("recursions", "cycle"), [(12, None), (18, 6), (1, None), (4, 4)])
def test_a_depth_is_whole_and_at_least_1_and_evaluation_takes_the_stated_number(
    name, recursions, cycle
):
    one = rule(name, recursions, tiny.gradient("last", cycle, recursions=4))
    for depth in draws(one):
        assert 1 <= depth.tracked <= depth.total
        assert depth.numbers is not None or depth.total % (cycle or 1) == 0
        if depth.live is not None:
            assert depth.live.shape == (depth.total, 6)
            assert depth.live.any(0).all()
    assert one.full == Depth(recursions, min(recursions, 4))


@pytest.mark.parametrize("name", DEPTHS)
@pytest.mark.parametrize("window", [2, 4, 5, None])
@pytest.mark.parametrize("recursions", [1, 4])
def test_a_rule_knows_whether_all_of_its_recursions_carry_gradient(name, window, recursions):
    """What models that learn something for each recursion ask for. `window` None: no limit."""
    gradient = tiny.gradient("last", recursions=window) if window else tiny.gradient("bptt")
    if name == "simple" and not window:
        pytest.skip("it takes gradient=last alone")
    one = rule(name, recursions, gradient)
    drawn = [depth.total == depth.tracked for depth in draws(one, 1000)]
    assert one.whole_gradient == all(drawn)


@pytest.mark.parametrize("name", DEPTHS)
def test_a_draw_depends_on_seed_and_step_alone(name):
    one = rule(name, 12)
    once = draws(one)
    torch.rand(5)
    assert all(map(same, once, draws(one)))
    others = draws(one, seed=1)
    assert all(map(same, once, others)) == (name in NEVER_DRAWN)


@pytest.mark.parametrize("model", ["huginn", "trm"])
@pytest.mark.parametrize("name", DEPTHS)
def test_every_rule_trains_any_model_and_resumes_bitwise(name, model):
    more = (f"depth={name}", "gradient=last", "gradient.recursions=2", f"steps={STEPS}")
    whole = steps(trainer_of(model, *more), 6)
    resumed = trainer_of(model, *more)
    resumed.load_state_dict(steps(trainer_of(model, *more), 2).state_dict())
    steps(resumed, 4)
    assert resumed.result()["sha256"] == whole.result()["sha256"]
    assert resumed.result()["sha256"] != trainer_of(model, *more).result()["sha256"]


@pytest.mark.parametrize("model", ["trm", "parcae", "ouro"])
def test_rows_of_their_own_depth_train_alike_in_micro_batches(model):
    more = ("depth=per_row", "gradient=full")
    weights = dict(steps(trainer_of(model, *more), 2).model.named_parameters())
    for name, p in steps(trainer_of(model, *more, "micro_batch=4"), 2).model.named_parameters():
        torch.testing.assert_close(p, weights[name], rtol=1e-4, atol=1e-6)


# ---- drawn for all slots


def test_poisson_fill_tracks_always_the_same_and_has_the_stated_mean():
    found = pairs(rule("poisson_fill", 12), 2000)
    assert {tracked for _, tracked in found} == {4}
    assert mean(free for free, _ in found) == pytest.approx(8, abs=4 * (8 / 2000) ** 0.5)


def test_poisson_fill_with_a_sigma_has_a_longer_tail():
    plain_law, log_normal = (pairs(rule("poisson_fill", 12, sigma=s), 2000) for s in (0, 0.5))
    assert max(log_normal)[0] > max(plain_law)[0]
    assert mean(free for free, _ in log_normal) == pytest.approx(8, rel=0.1)


def test_simple_is_uniform_in_both_parts():
    found = pairs(rule("simple", 8), 1000)
    assert {free for free, _ in found} == set(range(8))
    assert {tracked for _, tracked in found} == set(range(1, 9))


def test_uniform_leaves_room_for_one_more():
    """Of m = 30 recursions, 15.5 - (1 + 15.5) / 2 = 8.25 are tracked on average."""
    found = pairs(rule("uniform", 30, tiny.gradient("bptt")), 3000)
    assert {free for free, _ in found} == set(range(30))
    assert all(1 <= tracked <= 30 - free for free, tracked in found)
    assert mean(tracked for _, tracked in found) == pytest.approx(8.25, rel=0.05)


def test_of_the_last_part_of_uniform_the_gradient_scheme_tracks_what_it_would():
    every, last = (rule("uniform", 30, g) for g in (tiny.gradient("bptt"), LAST_4))
    for whole, some in zip(draws(every), draws(last), strict=True):
        assert some == Depth(whole.total, min(whole.tracked, 4))


# ---- the ramp


@pytest.mark.parametrize("name", ["poisson_fill", "simple", "poisson", "per_row"])
def test_a_ramp_begins_with_next_to_nothing_and_ends_in_the_law(name):
    whole, ramped = rule(name, 40), rule(name, 40, ramp=300)
    for step in range(300, 320):
        one, other = (r.draw(step, 6, generator_of(0, step)) for r in (whole, ramped))
        assert same(one, other)
    early, late = (mean(d.total for d in draws(r, 30)) for r in (ramped, whole))
    assert early < late / 2


def test_a_ramp_rises_step_by_step():
    options = {"law": "fixed", "ramp": 100, "ramp_of": "both"}
    linear = pairs(rule("per_row", 32, tiny.gradient("last", recursions=8), **options), 101)
    assert linear[0] == (0, 1)
    assert linear[50] == (12, 4)
    assert linear[100] == (24, 8)
    assert all(a <= b and c <= d for (a, c), (b, d) in pairwise(linear))
    root = pairs(
        rule("per_row", 32, tiny.gradient("last", recursions=8), ramp_shape="sqrt", **options), 101
    )
    assert root[75] == (12, 4)
    assert root[100] == (24, 8)


@pytest.mark.parametrize(("part", "found"), [("free", (0, 8)), ("tracked", (24, 1))])
def test_a_ramp_of_one_part_leaves_the_other(part, found):
    options = {"law": "fixed", "ramp": 100, "ramp_of": part}
    assert pairs(rule("per_row", 32, tiny.gradient("last", recursions=8), **options), 1) == [found]


@pytest.mark.parametrize("name", ["poisson", "poisson_fill", "per_row"])
def test_a_ramp_does_not_truncate_what_is_tracked_to_its_start(name):
    options = {"ramp_of": "both"} if name == "per_row" else {}
    one = rule(name, 20, tiny.gradient("bptt"), ramp=100, **options)
    found = draws(one, 120)
    assert all(depth.tracked == depth.total for depth in found)
    assert mean(d.total for d in found[:20]) < mean(d.total for d in found[100:]) / 2


# ---- row by row


def test_the_first_totals_that_parcae_draws():
    live = rule("per_row", 8).draw(0, 8, generator_of(0, 0)).live
    assert live.sum(0).tolist() == [6, 9, 3, 7, 8, 15, 8, 9]


def test_each_row_moves_in_the_first_recursions_of_either_part():
    depth = of_rows(torch.tensor([2, 0, 1]), torch.tensor([1, 2, 2]))
    assert depth[:2] == (4, 2)
    assert depth.live.long().T.tolist() == [[1, 1, 1, 0], [0, 0, 1, 1], [1, 0, 1, 1]]


def test_through_all_recursions_each_row_is_tracked_from_its_start():
    """Parcae's "poisson-full"."""
    for depth in draws(rule("per_row", 8, tiny.gradient("bptt"))):
        assert depth.tracked == depth.total == int(depth.live.sum(0).max())


def test_rows_of_a_model_with_cycles_have_whole_ones_in_phase():
    """Each row is told the numbers of whole cycles in turn, whatever is tracked of them."""
    for gradient in ("one_step", "full", "bptt"):
        for depth in draws(rule("per_row", 18, tiny.gradient(gradient, 6)), 50):
            numbers = torch.arange(depth.total) % 6
            for row in depth.live.T:
                told = numbers[row].tolist()
                assert told == list(range(6)) * (len(told) // 6)


# ---- curricula


def test_yang_grows_by_2_every_500_steps():
    """b / T = 20 / 10: from T on, at steps 500, 1000, ..."""
    one = rule("curriculum", 20, tiny.gradient("last", recursions=10))
    totals = {s: one.draw(s, 6, generator_of(0, s)) for s in (0, 499, 500, 999, 1000, 2500, 9999)}
    assert [depth.total for depth in totals.values()] == [10, 10, 12, 12, 14, 20, 20]
    assert {depth.tracked for depth in totals.values()} == {10}


def test_a_curriculum_may_begin_below_what_is_tracked():
    one = rule("curriculum", 20, tiny.gradient("bptt"), first=3, by=4, every=1)
    assert pairs(one, 6) == [(0, 3), (0, 7), (0, 11), (0, 15), (0, 19), (0, 20)]


def test_stages_are_shares_of_the_run():
    one = rule("stages", 12, begins="[0,0.2,0.55]", shares="[0.25,0.5,1]")
    assert [d.total for d in draws(one, STEPS)] == [3, 3, 6, 6, 6, 6, 12, 12, 12, 12]
    cycles = rule("stages", 18, tiny.gradient("full", 6), begins="[0,0.5]", shares="[0.34,1]")
    assert pairs(cycles, STEPS) == [(0, 6)] * 5 + [(12, 6)] * 5


def test_cgar_shortens_cycles_and_takes_fewer():
    """TRM's (n, T) = (2, 1), then (4, 2), then (6, 3), arXiv 2511.08653."""
    found = draws(rule("cgar", 18, tiny.gradient("full", 6)), STEPS)
    assert found[:3] == [Depth(2, 2, numbers=(16, 17))] * 3
    assert found[3:6] == [Depth(8, 4, numbers=(8, 9, 10, 11, 14, 15, 16, 17))] * 3
    assert found[6:] == [Depth(18, 6)] * 4
    bptt = draws(rule("cgar", 18, tiny.gradient("bptt", 6)), STEPS)
    assert [depth.tracked for depth in bptt] == [2] * 3 + [8] * 3 + [18] * 4
    loop = draws(rule("cgar", 12, tiny.gradient("bptt")), STEPS)
    assert loop == [Depth(4, 4)] * 3 + [Depth(8, 8)] * 3 + [Depth(12, 12)] * 4


@pytest.mark.parametrize(("step", "H", "L"), [(0, 1, 2), (3, 2, 4), (6, 3, 6)])
@pytest.mark.parametrize("name", ["trm", "hrm", "single_z"])
def test_a_stage_of_cgar_is_the_model_of_those_cycles_bit_for_bit(name, step, H, L):
    large, small = (tiny.model(name, H_cycles=h, L_cycles=n) for h, n in ((3, 6), (H, L)))
    small.load_state_dict(large.state_dict())
    one = rule("cgar", 18, tiny.gradient("full", 6))
    depth = one.draw(step, 4, generator_of(0, step))
    found = []
    for model, how in ((large, depth), (small, Depth(H * L, L))):
        trace = tiny.segment(model, tiny.batch(), how)
        trace.reads[-1].logits.square().sum().backward()
        found.append([*trace.state, *(p.grad for p in model.parameters())])
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("gradient", ["phantom", "implicit"])
def test_cgar_keeps_whole_cycles_where_a_fixed_point_of_them_is_looked_for(gradient):
    words = ("task=sudoku", "task.side=4", "batch=4", "model=trm", "depth=cgar", "steps=10")
    trainer = random_trainer(tiny.config(*words, "scale=small", f"gradient={gradient}"))
    drawn = [trainer.depth.draw(step, 4, generator_of(0, step)) for step in range(10)]
    assert [depth.total for depth in drawn] == [2] * 6 + [4] * 4
    assert all(depth.numbers is None for depth in drawn)
    trainer.step()


# ---- what is refused, in one line and before data is loaded


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("depth=simple", "gradient=bptt"), "use gradient=last gradient.recursions=N"),
        (("depth=per_row", "gradient=implicit"), "depth=per_row does not go with"),
        (("depth=per_row", "gradient=last", "gradient.recursions=7"), "use a multiple of 6"),
        (("depth=per_row", "gradient=bptt", "depth.ramp=9"), "use depth.ramp_of=both"),
        (("depth=per_row", "depth.law=cauchy"), "depth.law=cauchy is unknown; use one of poisson"),
        (("depth=per_row", "depth.ramp_shape=cubic"), "use one of linear, sqrt"),
        (("depth=poisson", "depth.ramp=-1"), "depth.ramp=-1 must be 0 or more"),
        (("depth=curriculum", "depth.every=0"), "depth.every=0 must be 1 or more"),
        (("depth=stages", "depth.shares=[1]"), "one number for each stage"),
        (("depth=stages", "depth.begins=[0,0]"), "must rise from 0 and stay below 1"),
        (("depth=stages", "depth.begins=[0.1,0.5]"), "must rise from 0 and stay below 1"),
        (("depth=stages", "depth.begins=[0,1]"), "must rise from 0 and stay below 1"),
        (("depth=stages", "depth.shares=[0,1]"), "must each be above 0 and at most 1"),
        (("depth=stages", "depth.shares=[nan,1]"), "must each be above 0 and at most 1"),
        (
            ("depth=stages", "depth.begins=[0,nan,0.5]", "depth.shares=[1,1,1]"),
            "must rise from 0 and stay below 1",
        ),
        (("depth=stages", "depth.begins=half"), "depth.begins"),
    ],
)
def test_what_does_not_go_together_is_one_line(words, said):
    with pytest.raises(UserError) as caught:
        training_config(tiny.composed(["scale=paper", "model=trm", *words]))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- saved and loaded


@pytest.mark.parametrize("name", DEPTHS)
def test_a_saved_configuration_is_read_again(name):
    config = tiny.config(f"depth={name}").depth
    assert from_plain(Training.__annotations__["depth"], plain(config), "depth") == config


def test_a_list_in_a_saved_configuration_is_checked_number_by_number():
    stated = {"name": "stages", "begins": [0, "x"], "shares": [1, 1]}
    with pytest.raises(UserError, match=r"depth\.begins='x' must be a number"):
        from_plain(Training.__annotations__["depth"], stated, "depth")
    with pytest.raises(UserError, match=r"depth\.begins=0 must be a list"):
        from_plain(Training.__annotations__["depth"], stated | {"begins": 0}, "depth")


def test_a_run_from_before_there_were_ramps_has_none():
    saved = {"depth": {"name": "poisson", "sigma": 0.5}}
    assert earlier.options(saved)["depth"] == {"name": "poisson", "sigma": 0.5, "ramp": 0}


@pytest.mark.parametrize("name", DEPTHS)
def test_the_page_of_help_has_its_options(name):
    page = pages.page("train", [f"depth={name}"])
    for option in vars(tiny.config(f"depth={name}").depth).keys() - {"name"}:
        assert f"depth.{option}=" in page


def test_a_longer_run_stretches_its_stages():
    words = (*SMALL, "model=huginn", "depth=stages")
    short, long = (random_trainer(tiny.config(*words, f"steps={n}")) for n in (10, 20))
    assert [t.depth.draw(7, 6, generator_of(0, 7)).total for t in (short, long)] == [8, 4]


def test_a_window_wider_than_the_depth_grows_too():
    """`gradient=last` with more recursions than twice what the model states is a limit as well."""
    gradient = tiny.gradient("last", recursions=9)
    rule = make_depth(PoissonConfig("poisson", ramp=100, sigma=0.0), 4, gradient, 1000)
    depths = [rule.draw(step, 1, generator_of(0, step)) for step in range(20)]
    assert {depth.tracked for depth in depths} == {1}
    assert max(depth.total for depth in depths) > 1
