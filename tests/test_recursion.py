"""How far the gradient reaches: reference (the papers' loops by hand in float64), invariants."""

from itertools import pairwise

import pytest
import torch

from conf.schema import training_config
from tests import tiny
from tinyreason.errors import UserError
from tinyreason.gradient import GRADIENTS, Gradient, GradientConfig, make_gradient
from tinyreason.models import RecursiveModel, State, make_model
from tinyreason.noise import NoNoise, PuzzleNoise, StepNoise
from tinyreason.puzzle import Batch, Facts
from tinyreason.recursion import Depth, unroll

FACTS = Facts(vocab_size=6, grid=(2, 3), num_puzzle_identifiers=3)
H, L = 2, 3
SCHEMES = ["one_step", "full", "bptt", *range(1, H * L + 1)]


def scheme_of(gradient: str | int, cycle: int | None = L) -> Gradient:
    """By its name; a number is that many recursions."""
    if isinstance(gradient, int):
        return tiny.gradient("last", cycle, recursions=gradient)
    return tiny.gradient(gradient, cycle)


def make(
    name: str, gradient: str | int = "full", mix: str = "attention"
) -> tuple[RecursiveModel, Gradient]:
    torch.manual_seed(0)
    config = tiny.model_config(
        name,
        mix=mix,
        H_cycles=H,
        L_cycles=L,
        positions="rotary" if mix == "attention" else "none",
        prefix=1,
        dtype="float64",
    )
    return make_model(config, FACTS, tiny.CPU).double(), scheme_of(gradient)


def start_of(model: RecursiveModel, batch: Batch) -> State:
    return model.start(model.encode(batch), NoNoise())


def some_batch(rows: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randint(1, 6, (rows, 6), generator=generator, dtype=torch.int32)
    return Batch(inputs, inputs.long(), torch.arange(rows, dtype=torch.int32) % 3)


# The papers' loops as they are printed, each with its own published gradient


def trm_as_published(model, z_H, z_L, x):
    with torch.no_grad():
        for _ in range(H - 1):
            for _ in range(L):
                z_L = model.core(z_L + (z_H + x))
            z_H = model.core(z_H + z_L)
    for _ in range(L):
        z_L = model.core(z_L + (z_H + x))
    z_H = model.core(z_H + z_L)
    return z_H, z_L


def hrm_as_published(model, z_H, z_L, x):
    with torch.no_grad():
        for h in range(H):
            for ell in range(L):
                if not (h == H - 1 and ell == L - 1):
                    z_L = model.core_L(z_L + (z_H + x))
            if h != H - 1:
                z_H = model.core_H(z_H + z_L)
    z_L = model.core_L(z_L + (z_H + x))
    z_H = model.core_H(z_H + z_L)
    return z_H, z_L


# The same loops with the gradient switched on for the last `tracked` recursions


def two_latents(fast, slow, z_H, z_L, x, tracked):
    done = 0
    for _ in range(H):
        for ell in range(L):
            with torch.set_grad_enabled(done >= H * L - tracked):
                z_L = fast(z_L + (z_H + x))
                if ell == L - 1:
                    z_H = slow(z_H + z_L)
            done += 1
    return z_H, z_L


def one_latent(core, z, x, tracked):
    done = 0
    for _ in range(H):
        for ell in range(L):
            with torch.set_grad_enabled(done >= H * L - tracked):
                z = core(z + x)
                if ell == L - 1:
                    z = core(z)
            done += 1
    return (z,)


def by_hand(model, latents, x, tracked):
    if len(latents) == 1:
        return one_latent(model.core, *latents, x, tracked)
    fast, slow = (
        (model.core, model.core) if hasattr(model, "core") else (model.core_L, model.core_H)
    )
    return two_latents(fast, slow, *latents, x, tracked)


def tracked_of(gradient) -> int:
    return {"one_step": 1, "full": L, "bptt": H * L}.get(gradient, gradient)


def gradients(model, latents, read) -> dict[str, torch.Tensor]:
    """Of a fixed random functional of everything that a segment returns, by parameter."""
    generator = torch.Generator().manual_seed(2)
    parts = (*latents, read.logits, read.halt.double())
    value = sum(
        (p * torch.randn(p.shape, generator=generator, dtype=torch.float64)).sum() for p in parts
    )
    model.zero_grad()
    value.backward()
    found = {name: p.grad for name, p in model.named_parameters()} | {
        "rows": model.encoder.puzzles.gradients()[-1]
    }
    assert all(g is not None for g in found.values())
    return found


def assert_same(model, scheme, hand):
    """A segment by `scheme` and one by `hand(model, latents, x)`: outputs bitwise equal."""
    batch = some_batch()
    with torch.no_grad():  # somewhere in the middle of a puzzle, where all latents differ
        begun = tiny.segment(model, batch, Depth(H, 1)).state
    depth = Depth(H * L, scheme.tracked(H * L))
    state, (read,), *_ = tiny.segment(model, batch, depth, begun, scheme)
    found = gradients(model, state, read)
    latents = hand(model, begun, model.encode(batch))
    expected_read = model.read(latents)
    expected = gradients(model, latents, expected_read)
    pairs = zip((*state, *read[:2]), (*latents, *expected_read[:2]), strict=True)
    for ours, theirs in pairs:
        assert torch.equal(ours, theirs)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradient", SCHEMES)
@pytest.mark.parametrize("name", ["trm", "hrm", "single_z"])
def test_every_scheme_equals_the_loop_written_out(name, gradient):
    model, scheme = make(name, gradient)
    assert_same(model, scheme, lambda m, z, x: by_hand(m, z, x, tracked_of(gradient)))


def test_trm_full_is_the_published_loop():
    assert_same(*make("trm", "full"), lambda m, z, x: trm_as_published(m, *z, x))


def test_trm_full_is_the_published_loop_with_the_mixer():
    assert_same(*make("trm", "full", "mixer"), lambda m, z, x: trm_as_published(m, *z, x))


def test_hrm_one_step_is_the_published_loop():
    assert_same(*make("hrm", "one_step"), lambda m, z, x: hrm_as_published(m, *z, x))


@pytest.mark.parametrize("name", ["trm", "hrm", "single_z"])
def test_the_schemes_differ_in_their_gradients_and_not_in_their_outputs(name):
    model, _ = make(name)
    batch = some_batch()
    seen = []
    for tracked in range(1, H * L + 1):
        state, (read,), *_ = tiny.segment(model, batch, Depth(H * L, tracked))
        seen.append((read.logits.detach(), gradients(model, state, read)["encoder.tokens"]))
    assert all(torch.equal(logits, seen[0][0]) for logits, _ in seen)
    for (_, shorter), (_, longer) in pairwise(seen):
        assert (shorter - longer).abs().max() > 1e-6


@pytest.mark.parametrize("name", ["trm", "hrm", "single_z"])
def test_only_bptt_reaches_the_latents_that_came_in(name):
    """The slow latent stands still in the first cycle, so it is reached from its end on."""
    model, _ = make(name)
    batch = some_batch()
    for tracked in range(1, H * L + 1):
        came_in = model.latents(*(z.clone().requires_grad_() for z in start_of(model, batch)))
        read = tiny.segment(model, batch, Depth(H * L, tracked), came_in).reads[-1]
        read.logits.sum().backward()
        reached = {latent: z.grad is not None for latent, z in came_in._asdict().items()}
        assert reached.pop("z_H", tracked > (H - 1) * L) == (tracked > (H - 1) * L)
        assert list(reached.values()) == [tracked == H * L]


def test_unroll_numbers_the_recursions_from_0_and_tracks_the_last():
    calls = []

    def recur(state, x, t):
        calls.append((t, torch.is_grad_enabled()))
        return state + x

    assert list(unroll(recur, 0, 2, Depth(5, 2))) == [8, 10]  # the state after each tracked one
    assert calls == [(0, False), (1, False), (2, False), (3, True), (4, True)]


@pytest.mark.parametrize(
    ("gradient", "cycles", "depth"),
    [
        ("full", (3, 6), Depth(18, 6)),  # TRM on Sudoku
        ("full", (3, 4), Depth(12, 4)),  # TRM on mazes and ARC
        ("one_step", (2, 2), Depth(4, 1)),  # HRM
        ("one_step", (3, 6), Depth(18, 1)),  # TRM's ablation
        ("full", (2, 2), Depth(4, 2)),
        ("bptt", (3, 6), Depth(18, 18)),
        (7, (3, 6), Depth(18, 7)),
        (18, (3, 6), Depth(18, 18)),
        (1, (3, 6), Depth(18, 1)),
        (19, (3, 6), Depth(18, 18)),  # a segment that is drawn shorter
        ("full", (18, None), Depth(18, 18)),  # a loop
        ("one_step", (18, None), Depth(18, 1)),
        ("implicit", (3, 6), Depth(18, 6)),
        ("implicit", (18, None), Depth(18, 1)),
        ("phantom", (3, 6), Depth(18, 12)),
        ("phantom", (18, None), Depth(18, 2)),
    ],
)
def test_depths(gradient, cycles, depth):
    own = {
        "phantom": {"recursions": 2, "damping": 0.5},
        "implicit": {"solver": "iterate", "iterations": 3},
    }
    total, cycle = cycles[0] * (cycles[1] or 1), cycles[1]
    if gradient in own:
        scheme = tiny.gradient(gradient, cycle, **own[gradient])
    else:
        scheme = scheme_of(gradient, cycle)
    assert Depth(total, scheme.tracked(total)) == depth


@pytest.mark.parametrize(
    "gradient", ["fulll", "", "0", 0, 19, "19", "-1", -1, "1.5", 2.0, "None", None, True]
)
def test_a_bad_gradient_is_refused_with_the_choices(gradient):
    with pytest.raises(UserError) as caught:
        make_gradient(GradientConfig(gradient), 6)
    message = str(caught.value)
    assert message.startswith(f"gradient.name={gradient} ")
    assert all(word in message for word in GRADIENTS)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("gradient=last", "gradient.recursions=0"), "gradient.recursions=0 must be 1 or more"),
        (("gradient=last", "gradient.recursions=-1"), "gradient.recursions=-1 must be 1 or more"),
        (("gradient=last", "gradient.recursions=1.5"), "gradient.recursions: "),
        (("gradient=last", "gradient.recursions=null"), "gradient.recursions: "),
        (("gradient=phantom", "gradient.damping=2"), "gradient.damping=2.0 must be from 0 to 1"),
        (("gradient=implicit", "gradient.solver=newton"), "gradient.solver=newton is unknown"),
        (("gradient=full", "+gradient.recursions=2"), "gradient.recursions is no option of"),
    ],
)
def test_bad_options_of_a_gradient_are_refused_in_one_line(words, says):
    with pytest.raises(UserError) as caught:
        training_config(tiny.composed([*words]))
    assert str(caught.value).startswith(says)


# ---- recursions that are left out, and their random numbers


def test_recursions_are_called_by_the_numbers_that_a_depth_gives_them():
    """TRM with the first recursions of each cycle left out is TRM with shorter cycles."""
    torch.manual_seed(0)
    long, short = (tiny.model(H_cycles=2, L_cycles=L) for L in (4, 2))
    batch = tiny.batch()
    expected = tiny.segment(short, batch, Depth(4, 2)).state
    found = tiny.segment(long, batch, Depth(4, 2, numbers=(2, 3, 6, 7))).state
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_noise_of_a_recursion_repeats_and_is_its_own():
    like = torch.zeros(3, 4, 2)
    step = StepNoise(0, 5, 6, slice(2, 5), tiny.CPU)
    puzzle = PuzzleNoise([0, 1, 0], [7, 7, 9])
    for noise in (step, puzzle):
        first, again, other = (noise.at(t).normal(like) for t in (2, 2, 3))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert not torch.equal(first, noise.normal(like))
    whole = StepNoise(0, 5, 6, slice(None), tiny.CPU).at(2).normal(torch.zeros(6, 4, 2))
    assert torch.equal(step.at(2).normal(like), whole[2:5])
    alone = PuzzleNoise([1], [7]).at(2).normal(like[:1])
    assert torch.equal(puzzle.at(2).normal(like)[1:2], alone)
