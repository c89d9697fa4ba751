"""SwiGLU and norm with gradients of their own: reference (the plain formulas), invariants."""

import pytest
import torch

from tinyreason.functions import (
    RMSNormFunction,
    plain_rms_norm,
    plain_swiglu,
    rms_norm,
    swiglu,
)
from tinyreason.layers import MIXES, TRM_STYLE, Core, Inner, make_block

ROWS, WIDTH, INNER = 7, 5, 6


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, requires_grad=True)


def swiglu_inputs(tokens: bool, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    x = drawn(3, WIDTH, ROWS, dtype=dtype) if tokens else drawn(ROWS, WIDTH, dtype=dtype)
    return x, drawn(2 * INNER, WIDTH, dtype=dtype), drawn(WIDTH, INNER, dtype=dtype)


# ---- reference


@pytest.mark.parametrize("tokens", [False, True])
def test_swiglu_is_the_plain_formula(tokens):
    inputs = swiglu_inputs(tokens)
    torch.testing.assert_close(swiglu(*inputs, tokens), plain_swiglu(*inputs, tokens))
    with torch.no_grad():
        torch.testing.assert_close(swiglu(*inputs, tokens), plain_swiglu(*inputs, tokens))


@pytest.mark.parametrize("tokens", [False, True])
def test_gradients_of_swiglu_and_their_gradients(tokens):
    inputs = swiglu_inputs(tokens)
    assert torch.autograd.gradcheck(lambda *i: swiglu(*i, tokens), inputs)
    assert torch.autograd.gradgradcheck(lambda *i: swiglu(*i, tokens), inputs)


@pytest.mark.parametrize("dim", [1, -1])
def test_the_norm_is_the_plain_formula_and_so_are_its_gradients(dim):
    torch.manual_seed(0)
    x = drawn(2, 3, 4)
    torch.testing.assert_close(rms_norm(x, dim, 1e-5), plain_rms_norm(x, dim, 1e-5))
    assert torch.autograd.gradcheck(lambda x: RMSNormFunction.apply(x, dim, 0.1), x)
    assert torch.autograd.gradgradcheck(lambda x: RMSNormFunction.apply(x, dim, 0.1), x)


@pytest.mark.parametrize("tokens", [False, True])
def test_in_bf16_the_errors_are_those_of_bf16(tokens):
    exact = swiglu_inputs(tokens)
    rough = [t.detach().bfloat16().requires_grad_() for t in exact]
    gradients = [
        torch.autograd.grad(swiglu(*inputs, tokens).float().square().sum(), inputs)
        for inputs in (exact, rough)
    ]
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() < 0.03 * one.norm()


# ---- invariants


def core_gradients(mix: str, plain: bool, sizes: tuple[int, ...], monkeypatch) -> list:
    """The output and every gradient of a core of two blocks, (B S D) of `sizes` (B S D I N)."""
    B, S, D, multiple, heads = sizes
    torch.manual_seed(0)
    inner = Inner(4, multiple)
    blocks = [make_block(TRM_STYLE, mix, D, heads, inner, S, mix == "attention") for _ in range(2)]
    core, x = Core(blocks), torch.randn(B, S, D, requires_grad=True)
    with monkeypatch.context() as patch:
        if plain:
            patch.setattr("tinyreason.layers.swiglu", plain_swiglu)
            patch.setattr("tinyreason.layers.rms_norm", plain_rms_norm)
        y = core(x)
        inputs = [x, *core.parameters()]
        return [y.detach(), *torch.autograd.grad(y, inputs, torch.ones_like(y) + y.detach())]


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("sizes", [(3, 17, 16, 8, 2), pytest.param((4, 97, 512, 256, 8))])
def test_every_gradient_of_a_core_is_that_of_the_plain_formulas(mix, sizes, monkeypatch):
    """At the published shapes too, in float32."""
    own, plain = (core_gradients(mix, p, sizes, monkeypatch) for p in (False, True))
    for one, other in zip(own, plain, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_swiglu_keeps_two_tensors_of_the_inner_width_and_a_norm_its_result():
    kept = []
    inputs = swiglu_inputs(False)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        hidden = swiglu(*inputs)
        assert sorted(t.numel() for t in kept) == sorted(
            [ROWS * WIDTH, ROWS * 2 * INNER, 2 * INNER * WIDTH, INNER * WIDTH]
        )
        kept.clear()
        y = rms_norm(hidden, -1, 1e-5)
    assert [t.shape for t in kept] == [y.shape, (ROWS, 1)]
    assert kept[0].data_ptr() == y.data_ptr()


def test_what_a_sequence_comes_to_does_not_depend_on_the_others():
    """Bit for bit."""
    torch.manual_seed(0)
    block, x = (
        make_block(TRM_STYLE, "mixer", 64, 2, Inner(4, 32), 36, False),
        torch.randn(9, 36, 64),
    )
    with torch.no_grad():
        whole = block(x)
        for some in ([0], [8], [3, 1, 4], [2, 2, 2, 2, 5, 6]):
            assert torch.equal(block(x[some]), whole[some])
