"""The gradient schemes beyond truncation: reference (linear algebra at a fixed point, in float64),
invariants.
"""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from conf.schema import training_config
from eval.cost.model_measured import estimate
from eval.speed import random_trainer
from tests import tiny
from tests.zoo.equilibrium import function, inputs
from tests.zoo.recording import Recording
from tinyreason.errors import UserError
from tinyreason.gradient.solvers import Search, anderson, damped
from tinyreason.noise import StepNoise
from tinyreason.recursion import Depth, recomputed

SEARCHERS = (damped, anderson)


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


# ---- searches for the fixed point


@pytest.mark.parametrize("search", ["damped", "anderson"])
def test_the_implicit_gradient_does_not_depend_on_how_the_point_was_found(search, exact):
    scheme = tiny.gradient("implicit", solver="anderson", iterations=60, search=search)
    assert error(gradient_of(scheme, Depth(200, 1)), exact) < 1e-8


def test_phantom_errs_as_recorded():
    """Relative errors of torchdeq's own problem, in its recording."""
    recording = Recording(tiny.CONF.parent / "tests/golden/zoo/deq.npz")
    exact = recording.tensor("exact/grad/W")
    for case, theirs in recording.config["phantom_relative_error"].items():
        tau, k = (float(part.split("=")[1]) for part in case.split(","))
        given = inputs(recording)
        f = function(given)
        scheme = tiny.gradient("phantom", recursions=int(k), damping=tau)
        start = Z(given["z0"])
        depth = Depth(2000 + int(k), int(k))
        *_, state = scheme.states(lambda s, x, t, f=f: Z(f(s.z)), start, given["x"], depth)
        ((given["c"] * state.z).sum() + state.z.square().sum()).backward()
        if theirs > 1e-12:
            assert error(given["W"].grad, exact) == pytest.approx(theirs, rel=0.2, abs=1e-9)


def test_anderson_is_faster_than_iteration_where_that_crawls():
    """A linear map of radius 0.99."""
    generator = torch.Generator().manual_seed(0)
    A = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64))[0]
    A = A @ torch.diag(torch.linspace(0.1, 0.99, 8, dtype=torch.float64)) @ A.T
    c = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    options = {"most": 40, "mixing": 1.0, "tolerance": 0.0, "memory": 9, "ridge": 1e-12}
    left = [s(lambda z: z @ A.T + c, c, Search(**options)).absolute.max() for s in SEARCHERS]
    assert left[1] < 1e-6 < 1e-2 < left[0]


def test_a_search_ends_at_its_tolerance_and_never_before_without():
    options = {"most": 50, "mixing": 1.0, "memory": 4, "ridge": 1e-6}
    for search in SEARCHERS:
        z = torch.ones(3, 2)
        ended = search(lambda z: 0.5 * z, z, Search(tolerance=1e-3, **options))
        assert ended.calls < 20
        assert ended.absolute.max() < 1e-3
        assert search(lambda z: 0.5 * z, z, Search(tolerance=0.0, **options)).calls == 50


def test_the_penalty_is_the_square_of_the_jacobian_on_average():
    W, x, state = contraction()

    def recur(state: Z, x: Tensor, t: int) -> Z:
        return Z(state.z @ W.T + x)

    scheme = tiny.gradient("implicit", solver="iterate", iterations=1, jacobian=0.5, vectors=4000)
    noise = StepNoise(0, 0, 3, slice(None), tiny.CPU)
    (found,) = scheme.penalties(recur, state, x, Depth(3, 1), noise).values()
    expected = 0.5 * W.square().sum().item() / 6
    assert found.tolist() == pytest.approx([expected] * 3, rel=0.05)
    found.sum().backward()
    assert W.grad is not None


@pytest.mark.parametrize("scheme", ["implicit", "phantom"])
@pytest.mark.parametrize("name", ["trm", "looped"])
def test_equilibria_train_and_resume_bitwise_with_every_search(scheme, name):
    words = ("task=sudoku", "scale=small", "task.side=4", "batch=6", "device=cpu", "model.width=16")
    words += (f"model={name}", f"gradient={scheme}", "gradient.jacobian=0.1", "halting=single")
    if scheme == "implicit":  # few, since f is no contraction yet
        words += ("gradient.iterations=2",)
    for search in ("damped", "anderson"):
        made = []
        for _ in range(3):
            torch.manual_seed(0)
            made.append(random_trainer(tiny.config(*words, f"gradient.search={search}")))
        whole, half, resumed = made
        tiny.steps(whole, 3), tiny.steps(half, 1)
        resumed.load_state_dict(half.state_dict())
        tiny.steps(resumed, 2)
        assert resumed.result()["sha256"] == whole.result()["sha256"]
        assert resumed.meter.read()["jacobian"] > 0


def test_the_work_of_a_search_is_known():
    """All of its calls, whatever its tolerance."""
    words = ("task=sudoku", "scale=small", "experiment=deq", "device=cpu", "model.width=16")
    words += ("task.side=4", "model.recursions=4", "model.layers=1", "gradient.iterations=3")
    found = []
    for more in ((), ("gradient.tolerance=1e-3",)):
        config = tiny.config(*words, *more)
        facts = random_trainer(config).feed.facts
        found.append(estimate(config, facts, torch.float32).flops)
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["universal", "openmythos", "mixture"])
def test_what_has_no_fixed_point_is_not_searched(name):
    words = [f"model={name}", "gradient=implicit", "gradient.search=anderson", "scale=paper"]
    with pytest.raises(UserError, match="use gradient=bptt"):
        training_config(tiny.composed(words))


@pytest.mark.parametrize("name", ["universal", "openmythos"])
@pytest.mark.parametrize("scheme", ["implicit", "phantom"])
def test_what_is_added_up_is_neither_damped_nor_taken_for_a_fixed_point(name, scheme):
    """A cell that has paid out all would owe again; the Jacobian of a sum is the identity."""
    words = [f"model={name}", f"gradient={scheme}", "gradient.search=recur", "scale=paper"]
    with pytest.raises(UserError, match="adds up what it reads and settles nowhere"):
        training_config(tiny.composed(words))
