"""The gradient schemes beyond truncation: reference (linear algebra at a fixed point, in float64),
invariants.
"""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tests import tiny
from tinyreason.recursion import Depth, recomputed


class Z(NamedTuple):
    z: Tensor


class Two(NamedTuple):
    slow: Tensor
    fast: Tensor


def contraction(seed: int = 0):
    """f(z) = tanh(z W' + x), ||W|| = .8, and what goes in: everything float64."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    W = (0.8 * W / torch.linalg.matrix_norm(W, 2)).requires_grad_()
    x = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    return W, x, Z(torch.zeros(3, 6, dtype=torch.float64))


def gradient_of(scheme, depth: Depth, seed: int = 0, wrap=lambda recur: recur) -> Tensor:
    W, x, start = contraction(seed)

    def recur(state: Z, x: Tensor, t: int) -> Z:
        return Z(torch.tanh(state.z @ W.T + x))

    *_, last = scheme.states(wrap(recur), start, x, depth)
    last.z.square().sum().backward()
    return W.grad


def error(found: Tensor, exact: Tensor) -> float:
    return ((found - exact).norm() / exact.norm()).item()


@pytest.fixture(scope="module")
def exact() -> Tensor:
    """By the implicit function theorem, with a matrix solved."""
    W, x, state = contraction()
    z = state.z
    for _ in range(2000):
        z = torch.tanh(z @ W.T + x).detach()
    found = torch.zeros_like(W)
    for row in range(len(z)):
        slope = 1 - z[row] ** 2  # of tanh there
        J = slope[:, None] * W.detach()
        adjoint = torch.linalg.solve(torch.eye(6, dtype=torch.float64) - J.T, 2 * z[row])
        found += (slope * adjoint)[:, None] * z[row]
    return found


def test_the_implicit_gradient_is_that_of_the_implicit_function_theorem(exact):
    scheme = tiny.gradient("implicit", solver="iterate", iterations=200)
    assert error(gradient_of(scheme, Depth(300, 1)), exact) < 1e-12
    one_step = gradient_of(tiny.gradient("one_step"), Depth(300, 1))
    assert error(one_step, exact) > 0.1


def test_the_implicit_gradient_is_that_of_a_long_bptt(exact):
    assert error(gradient_of(tiny.gradient("bptt"), Depth(300, 300)), exact) < 1e-12


def test_an_implicit_gradient_is_the_same_when_recomputed(exact):
    scheme = tiny.gradient("implicit", solver="iterate", iterations=50)
    plain = gradient_of(scheme, Depth(100, 1))
    assert torch.equal(gradient_of(scheme, Depth(100, 1), wrap=recomputed), plain)


@pytest.mark.parametrize("scheme", ["implicit", "phantom"])
def test_evaluation_makes_the_state_that_training_made(scheme):
    """Also where recursions differ by their number, as with a LoRA for each loop."""
    options = {"implicit": {"solver": "iterate", "iterations": 2}}
    options["phantom"] = {"recursions": 2, "damping": 0.5}
    gradient = tiny.gradient(scheme, **options[scheme])

    def recur(state: Z, x: Tensor, t: int) -> Z:
        return Z(0.5 * state.z + x + t)

    start, x = Z(torch.ones(2)), torch.ones(2, requires_grad=True)
    depth = Depth(5, gradient.tracked(5))
    *_, trained = gradient.states(recur, start, x, depth)
    with torch.no_grad():
        *_, evaluated = gradient.states(recur, start, x, depth)
    assert torch.equal(trained.z, evaluated.z)


def test_phantom_errs_less_the_further_it_reaches(exact):
    errors = []
    for k in (1, 2, 3, 5, 10, 20):
        scheme = tiny.gradient("phantom", recursions=k, damping=1.0)
        errors.append(error(gradient_of(scheme, Depth(300, k)), exact))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1
    assert errors[-1] < 1e-3


def test_phantom_of_one_undamped_recursion_is_the_one_step_gradient():
    phantom = gradient_of(tiny.gradient("phantom", recursions=1, damping=1.0), Depth(9, 1))
    assert torch.equal(phantom, gradient_of(tiny.gradient("one_step"), Depth(9, 1)))


def test_phantom_mixes_what_is_new_with_what_was():
    scheme = tiny.gradient("phantom", recursions=2, damping=0.25)
    states = list(scheme.states(lambda s, x, t: Z(s.z + 8), Z(torch.zeros(1)), None, Depth(3, 2)))
    assert [s.z.item() for s in states] == [10, 12]


def test_of_a_model_with_cycles_phantom_and_implicit_take_whole_ones():
    """The slow latent moves at the end of a cycle: damping in between would mix two moments."""

    def recur(state: Two, x: Tensor, t: int) -> Two:
        fast = state.fast + 1
        return Two(fast if (t + 1) % 3 == 0 else state.slow, fast)

    start = Two(torch.zeros(1), torch.zeros(1))
    phantom = tiny.gradient("phantom", 3, recursions=1, damping=0.5)
    (last,) = phantom.states(recur, start, torch.zeros(1), Depth(6, phantom.tracked(6)))
    assert phantom.tracked(6) == 3
    assert [z.item() for z in last] == [4.5, 4.5]
    implicit = tiny.gradient("implicit", 3, solver="iterate", iterations=5)
    assert implicit.tracked(6) == 3


@pytest.mark.parametrize("name", ["trm", "hrm", "huginn"])
@pytest.mark.parametrize("scheme", ["phantom", "implicit"])
def test_any_model_takes_any_scheme(name, scheme):
    options = {"phantom": {"recursions": 2, "damping": 0.5}}
    options["implicit"] = {"solver": "iterate", "iterations": 5}
    model, batch = tiny.model(name), tiny.batch()
    gradient = tiny.gradient(scheme, model.config.cycle, **options[scheme])
    total = model.config.recursions
    trace = tiny.segment(model, batch, Depth(total, gradient.tracked(total)), gradient=gradient)
    trace.reads[-1].logits.square().mean().backward()
    without = {n for n, p in model.named_parameters() if p.grad is None}
    assert without <= {"heads.halt.weight", "heads.halt.bias"}
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
