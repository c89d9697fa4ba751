"""How far the gradient reaches: reference (the papers' loops, written out by hand in float64), and invariants."""

from itertools import pairwise

import pytest
import torch

from tinyreason.errors import UserError
from tinyreason.models import ModelConfig, make_model
from tinyreason.puzzle import Batch, Facts
from tinyreason.recursion import Depth, depth_of, unroll

FACTS = Facts(vocab_size=6, grid=(2, 3), num_puzzle_identifiers=3)
H, L = 2, 3
SCHEMES = ["one_step", "full", "bptt", *range(1, H * L + 1)]


def make(recursion: str, gradient="full", mix: str = "attention"):
    torch.manual_seed(0)
    config = ModelConfig(
        recursion=recursion,
        mix=mix,
        width=16,
        heads=2,
        layers=1,
        expansion=2,
        inner_multiple=8,
        H_cycles=H,
        L_cycles=L,
        positions="rotary" if mix == "attention" else "none",
        prefix=1,
        puzzle_embedding=True,
        gradient=str(gradient),
        checkpoint=False,
        dtype="float64",
    )
    return make_model(config, FACTS, torch.device("cpu")).double(), config.depth


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
    fast, slow = (model.core, model.core) if hasattr(model, "core") else (model.core_L, model.core_H)
    return two_latents(fast, slow, *latents, x, tracked)


def tracked_of(gradient) -> int:
    return {"one_step": 1, "full": L, "bptt": H * L}.get(gradient, gradient)


def gradients(model, latents, read) -> dict[str, torch.Tensor]:
    """Of a fixed random functional of everything that a segment returns, by parameter."""
    generator = torch.Generator().manual_seed(2)
    parts = (*latents, read.logits, read.halt.double())
    value = sum((p * torch.randn(p.shape, generator=generator, dtype=torch.float64)).sum() for p in parts)
    model.zero_grad()
    value.backward()
    found = {name: p.grad for name, p in model.named_parameters()} | {"rows": model.encoder.puzzles.gradients()[0]}
    assert all(g is not None for g in found.values())
    return found


def assert_same(model, depth, hand):
    """One segment by `unroll` and one by `hand(model, latents, x)`: outputs bitwise, gradients to rounding."""
    batch = some_batch()
    with torch.no_grad():  # somewhere in the middle of a puzzle, where all latents differ
        start, _ = model(model.start(model.encode(batch)), batch, Depth(H, 1))
    state, read = model(start, batch, depth)
    found = gradients(model, state, read)
    latents = hand(model, start, model.encode(batch))
    expected_read = model.read(latents)
    expected = gradients(model, latents, expected_read)
    for ours, theirs in zip((*state, *read), (*latents, *expected_read), strict=True):
        assert torch.equal(ours, theirs)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gradient", SCHEMES)
@pytest.mark.parametrize("recursion", ["trm", "hrm", "single_z"])
def test_every_scheme_equals_the_loop_written_out(recursion, gradient):
    model, depth = make(recursion, gradient)
    assert_same(model, depth, lambda m, z, x: by_hand(m, z, x, tracked_of(gradient)))


def test_trm_full_is_the_published_loop():
    assert_same(*make("trm", "full"), lambda m, z, x: trm_as_published(m, *z, x))


def test_trm_full_is_the_published_loop_with_the_mixer():
    assert_same(*make("trm", "full", "mixer"), lambda m, z, x: trm_as_published(m, *z, x))


def test_hrm_one_step_is_the_published_loop():
    assert_same(*make("hrm", "one_step"), lambda m, z, x: hrm_as_published(m, *z, x))


@pytest.mark.parametrize("recursion", ["trm", "hrm", "single_z"])
def test_the_schemes_differ_in_their_gradients_and_not_in_their_outputs(recursion):
    model, _ = make(recursion)
    batch = some_batch()
    seen = []
    for tracked in range(1, H * L + 1):
        state, read = model(model.start(model.encode(batch)), batch, Depth(H * L, tracked))
        seen.append((read.logits.detach(), gradients(model, state, read)["encoder.tokens"]))
    assert all(torch.equal(logits, seen[0][0]) for logits, _ in seen)
    for (_, shorter), (_, longer) in pairwise(seen):
        assert (shorter - longer).abs().max() > 1e-6


@pytest.mark.parametrize("recursion", ["trm", "hrm", "single_z"])
def test_only_bptt_reaches_the_latents_that_came_in(recursion):
    """The slow latent stands still until the end of the first cycle, so it is reached from there on."""
    model, _ = make(recursion)
    batch = some_batch()
    for tracked in range(1, H * L + 1):
        x = model.encode(batch)
        start = model.latents(*(z.clone().requires_grad_() for z in model.start(x)))
        _, read = model(start, batch, Depth(H * L, tracked))
        read.logits.sum().backward()
        reached = {name: z.grad is not None for name, z in start._asdict().items()}
        assert reached.pop("z_H", tracked > (H - 1) * L) == (tracked > (H - 1) * L)
        assert list(reached.values()) == [tracked == H * L]


def test_unroll_numbers_the_recursions_from_0_and_tracks_the_last():
    calls = []

    def recur(state, x, t):
        calls.append((t, torch.is_grad_enabled()))
        return state + x

    assert unroll(recur, 0, 2, Depth(5, 2)) == 10
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
        ("7", (3, 6), Depth(18, 7)),
        (18, (3, 6), Depth(18, 18)),
        (1, (3, 6), Depth(18, 1)),
    ],
)
def test_depths(gradient, cycles, depth):
    assert depth_of(gradient, *cycles) == depth


@pytest.mark.parametrize("gradient", ["fulll", "", "0", 0, 19, "19", "-1", -1, "1.5", 2.0, "None", None, True])
def test_a_bad_gradient_is_refused_with_the_choices(gradient):
    with pytest.raises(UserError) as caught:
        depth_of(gradient, 3, 6)
    message = str(caught.value)
    assert message.startswith(f"model.gradient={gradient} ")
    assert all(word in message for word in ("one_step", "full", "bptt", "1 to 18"))
    assert "\n" not in message
