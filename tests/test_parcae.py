"""Parcae: its published constants, the closed form of its injection, rows with their own depth."""

import math

import pytest
import torch
from torch import nn

from tests import tiny
from tests.test_zoo import trainer_of
from tests.tiny import steps
from tinyreason.depth import of_rows
from tinyreason.layers import Attention, Inner, SquaredReLU, Style
from tinyreason.models.base import LoopState
from tinyreason.models.parcae import Injection
from tinyreason.noise import StepNoise
from tinyreason.recursion import Depth
from tinyreason.tags import tag_of

WIDTH = 16


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def randomised(model: nn.Module) -> nn.Module:
    """Every parameter as if it had been trained: at the start most of the core is 0."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return model


# ---- the injection


def test_the_constants_of_the_injection():
    injection = Injection(WIDTH)
    decay, step = injection.gains()
    assert decay.tolist() == pytest.approx([0.4472136] * WIDTH, rel=1e-6)
    assert step.tolist() == pytest.approx([0.804719] * WIDTH, rel=1e-6)
    assert injection.dt_bias.tolist() == pytest.approx([0.2119346] * WIDTH, rel=1e-5)
    assert (step / (1 - decay)).tolist() == pytest.approx([1.4558] * WIDTH, rel=1e-4)
    assert torch.equal(injection.B, torch.eye(WIDTH))


def test_with_a_core_that_does_nothing_the_state_is_the_closed_form():
    """s_t = a^t s_0 + d B x (1 - a^t) / (1 - a)."""
    model = randomised(tiny.model("parcae", recursions=7))
    model.core = nn.Identity()
    x, start = some(4, 18, WIDTH), some(4, 18, WIDTH, seed=1)
    state = LoopState(start)
    decay, step = (gain.double() for gain in model.injection.gains())
    fed = step * (x.double() @ model.injection.B.double().T)
    for t in range(1, 8):
        state = model.recur(state, x, t)
        power = decay**t
        expected = power * start.double() + fed * (1 - power) / (1 - decay)
        torch.testing.assert_close(state.z.double(), expected, rtol=1e-5, atol=1e-5)


def test_at_the_start_the_loop_is_the_injection_alone():
    model = tiny.model("parcae")
    x, z = some(4, 18, WIDTH), some(4, 18, WIDTH, seed=1)
    assert torch.equal(model.recur(LoopState(z), x, 0).z, model.injection(z, x))
    torch.testing.assert_close(model.injection(z, x), 0.4472136 * z + 0.804719 * x)


@pytest.mark.parametrize(("A_log", "dt_bias"), [(0, -50), (5, 0.2119346), (-40, 0), (90, 90)])
def test_the_decay_stays_inside_0_and_1_in_float32(A_log, dt_bias):
    injection = Injection(WIDTH)
    with torch.no_grad():
        injection.A_log.fill_(A_log)
        injection.dt_bias.fill_(dt_bias)
    decay, _ = injection.gains()
    assert ((decay > 0) & (decay < 1)).all()


def test_an_adapter_with_a_norm_above_1_diverges_and_the_injection_cannot():
    """Both fed the same puzzle 200 times, both with a core that does nothing."""
    x, z = some(2, 16, WIDTH), some(2, 16, WIDTH, seed=1)
    huginn = tiny.model("huginn", recursions=2)
    huginn.core = nn.Identity()
    with torch.no_grad():
        huginn.adapter.weight.copy_(torch.cat((1.1 * torch.eye(WIDTH), torch.eye(WIDTH)), dim=1))
    parcae = randomised(tiny.model("parcae"))
    parcae.core = nn.Identity()
    found = []
    for model in (huginn, parcae):
        state = LoopState(z)
        for t in range(200):
            state = model.recur(state, x, t)
        found.append(state.z.abs().max().item())
    decay, step = parcae.injection.gains()
    fed = step * (x @ parcae.injection.B.T)
    assert found[0] > 1e6
    assert found[1] <= z.abs().max() + (fed / (1 - decay)).abs().max()


def test_the_gradient_reaches_the_injection():
    model, batch = tiny.model("parcae", recursions=4), tiny.batch()
    depth = of_rows(torch.tensor([2, 0, 1, 3]), torch.tensor([2, 1, 2, 2]))
    tiny.segment(model, batch, depth).reads[-1].logits.square().sum().backward()
    for p in model.injection.parameters():
        assert (p.grad.abs() > 0).any()


def test_in_bfloat16_the_injection_is_computed_in_float32():
    injection, x, z = Injection(WIDTH), some(2, 3, WIDTH).bfloat16(), some(2, 3, WIDTH).bfloat16()
    with torch.no_grad():
        injection.dt_bias.fill_(-12.0)  # a decay that bfloat16 would round to 1
    out = injection(z, x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, injection(z.float(), x.float()).bfloat16())


# ---- how it begins


def test_matrices_are_orthogonal_and_what_writes_to_the_residual_is_0():
    model = tiny.model("parcae", width=32)
    std = math.sqrt(2 / (5 * 32))
    q, k, v = model.core.blocks[0].mix.qkv.weight.chunk(3)
    for matrix in (q, k, v, model.C.weight, model.encoder.tokens):
        gram = matrix @ matrix.T / (32 * std**2)
        torch.testing.assert_close(gram, torch.eye(len(matrix)), rtol=0, atol=1e-5)
        assert matrix.square().mean().sqrt().item() == pytest.approx(std, rel=1e-5)
    up = model.coda.blocks[0].mlp.up.weight  # twice as high as wide
    assert up.square().mean().sqrt().item() == pytest.approx(std, rel=1e-5)
    for core in (model.prelude, model.core, model.coda):
        assert not core.blocks[0].mix.out.weight.any()
        assert not core.blocks[0].mlp.down.weight.any()
    assert not torch.allclose(model.C.weight, torch.eye(32), atol=0.1)


def test_the_start_is_drawn_anew_and_cut_at_three_deviations():
    model = tiny.model("parcae", width=64)
    noise = StepNoise(0, 0, 32, slice(None), tiny.CPU)
    start = model.start(torch.zeros(32, 16, 64), noise).z
    std = math.sqrt(2 / (5 * 64))
    assert start.std().item() == pytest.approx(0.9866 * std, rel=0.01)
    assert start.abs().max().item() <= 3 * std * (1 + 1e-6)


def test_what_decay_must_not_move_says_so():
    model = tiny.model("parcae")
    still = {name for name, p in model.named_parameters() if not tag_of(p).decay}
    assert {"injection.A_log", "injection.dt_bias", "injection.B", "C.weight"} <= still
    assert tag_of(model.core.blocks[0].mlp.up.weight).decay


# ---- its layers


def test_normed_queries_and_keys_do_not_mind_their_scale():
    style = Style(qk_norm=True)
    attention, x = Attention(WIDTH, 2, 6, True, style), some(2, 6, WIDTH)
    plain = attention(x)
    with torch.no_grad():
        attention.qkv.weight[: 2 * WIDTH] *= 3
    torch.testing.assert_close(attention(x), plain)
    attention.qk_norm = nn.Identity()
    assert not torch.allclose(attention(x), plain)


def test_the_mlp_is_half_the_square_of_what_is_positive():
    mlp, x = SquaredReLU(WIDTH, Inner(4, 8)), some(3, WIDTH)
    inner = x @ mlp.up.weight.T
    assert mlp.up.weight.shape == (64, WIDTH)
    expected = (0.5 * inner.clamp(min=0) ** 2) @ mlp.down.weight.T
    torch.testing.assert_close(mlp(x), expected)


# ---- rows with their own depth


def test_a_row_among_others_is_the_row_alone():
    """States, answers, and the gradient: that of a batch is the mean of those of its rows."""
    model, batch = randomised(tiny.model("parcae", recursions=5)), tiny.batch()
    free, tracked = torch.tensor([3, 0, 6, 1]), torch.tensor([3, 2, 3, 1])
    together = tiny.segment(model, batch, of_rows(free, tracked))
    together.reads[-1].logits.square().sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    for row in range(4):
        alone = batch.map(lambda t, row=row: t[row : row + 1])
        n, k = int(free[row]), int(tracked[row])
        trace = tiny.segment(model, alone, Depth(n + k, k))
        torch.testing.assert_close(together.state.z[row : row + 1], trace.state.z)
        trace.reads[-1].logits.square().sum().backward()
    for name, p in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(p.grad, expected[name], rtol=1e-4, atol=1e-5)


def test_micro_batches_and_recomputing_give_the_gradient_of_the_batch():
    plain = steps(trainer_of("parcae"), 3)
    weights = dict(plain.model.named_parameters())
    for more in (("micro_batch=4",), ("model.recompute=true",)):
        other = steps(trainer_of("parcae", *more), 3)
        for name, p in other.model.named_parameters():
            torch.testing.assert_close(p, weights[name], rtol=1e-4, atol=1e-6)
