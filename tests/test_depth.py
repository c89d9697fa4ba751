"""How many recursions a step has: reference (Huginn's recorded draws), and invariants."""

import math

import numpy as np
import pytest
import torch

from tests import tiny
from tests.zoo.recording import Recording
from tinyreason.depth import DepthConfig, Fixed, Poisson, PoissonConfig, generator_of, make_depth
from tinyreason.errors import UserError
from tinyreason.recursion import Depth

STEPS = 100
GOLDEN = tiny.CONF.parent / "tests/golden/zoo/huginn_sampler.npz"


def poisson(recursions: int, tracked: int, sigma: float = 0.5, cycle: int | None = None) -> Poisson:
    gradient = tiny.gradient("last", cycle, recursions=tracked)
    return Poisson(PoissonConfig("poisson", 0, sigma), recursions, gradient, STEPS)


@pytest.mark.parametrize(("mean", "tracked"), [(32, 8), (6, 2)])
def test_the_draws_are_those_that_huginn_made(mean, tracked):
    recorded = Recording(GOLDEN).data[f"poisson-lognormal-filling/{mean}/{tracked}"]
    rule = poisson(mean, tracked)
    for step, (free, last) in enumerate(recorded):
        assert rule.draw(step, 4, generator_of(0, step)) == Depth(free + last, last), step


def test_the_law_has_its_mean_and_its_variance():
    """Mean r + 1, variance r + r^2 (e^(1/4) - 1)."""
    rule = poisson(8, 4)
    draws = np.array([rule.draw(step, 4, generator_of(0, step)).total for step in range(20_000)])
    variance = 8 + 64 * (math.exp(0.25) - 1)
    assert draws.mean() == pytest.approx(9, abs=4 * math.sqrt(variance / 20_000))
    assert draws.var() == pytest.approx(variance, rel=0.1)
    assert draws.min() == 1


def test_without_sigma_it_is_a_plain_poisson_law():
    rule = poisson(8, 4, sigma=0)
    draws = np.array([rule.draw(step, 4, generator_of(0, step)).total for step in range(20_000)])
    assert draws.mean() == pytest.approx(9, abs=4 * math.sqrt(8 / 20_000))
    assert draws.var() == pytest.approx(8, rel=0.1)


def test_a_draw_depends_on_seed_and_step_alone():
    rule = poisson(32, 8)
    once, again, other = (
        [rule.draw(step, 4, generator_of(seed, step)) for step in range(20)] for seed in (3, 3, 4)
    )
    torch.rand(5)
    assert once == again
    assert once != other


def test_of_a_model_with_cycles_whole_ones_are_drawn():
    rule = poisson(18, 6, cycle=6)
    assert all(rule.draw(step, 4, generator_of(0, step)).total % 6 == 0 for step in range(50))


def test_evaluation_takes_the_stated_number():
    assert poisson(32, 8).full == Depth(32, 8)
    fixed = Fixed(DepthConfig("fixed"), 18, tiny.gradient("full", 6), STEPS)
    assert fixed.full == fixed.draw(5, 4, generator_of(0, 5)) == Depth(18, 6)


def test_an_unknown_depth_is_refused_with_the_choices():
    with pytest.raises(
        UserError, match=r"depth\.name=deep is unknown; use one of fixed, poisson, "
    ):
        make_depth(DepthConfig("deep"), 4, tiny.FULL, STEPS)


def test_trm_trains_at_a_drawn_depth():
    """Any model, any depth: `python train.py model=trm depth=poisson`."""
    config = tiny.config("task=sudoku", "scale=small", "depth=poisson")
    assert type(config.depth) is PoissonConfig
    gradient = tiny.gradient("full", config.model.cycle)
    rule = make_depth(config.depth, config.model.recursions, gradient, config.steps)
    totals = {rule.draw(step, 4, generator_of(0, step)).total for step in range(100)}
    assert len(totals) > 2
    assert all(total % 2 == 0 for total in totals)
