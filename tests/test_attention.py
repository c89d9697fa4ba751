"""Attention's own gradient on CPUs is that of plain products, and is used where it pays alone."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from tinyreason import attention
from tinyreason.attention import PlainBackward, attended

SHAPES = [(3, 2, 36, 32), (2, 8, 97, 64), (1, 1, 1, 2)]


def inputs(shape: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    """Queries, keys, values as a layer makes them: parts of one tensor; and a gradient."""
    torch.manual_seed(0)
    B, N, S, K = shape
    parts = torch.randn(B, S, 4, N, K, dtype=torch.float64).to(dtype).unbind(2)
    return [part.transpose(1, 2) for part in parts]


def gradients(f, shape, dtype, at=None) -> list[torch.Tensor]:
    *given, grad = (one.to(at or dtype) for one in inputs(shape, dtype))
    leaves = [one.detach().requires_grad_() for one in given]
    y = f(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_that_of_the_definition(shape):
    ours = gradients(PlainBackward.apply, shape, torch.float64)
    with sdpa_kernel(SDPBackend.MATH):
        theirs = gradients(F.scaled_dot_product_attention, shape, torch.float64)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_in_bfloat16_it_is_as_exact_as_plain_products(shape):
    exact = gradients(F.scaled_dot_product_attention, shape, torch.bfloat16, at=torch.float64)
    for a, b in zip(gradients(attended, shape, torch.bfloat16), exact, strict=True):
        assert (a.double() - b).norm() < 0.01 * b.norm()


@pytest.mark.parametrize("larger", [1, 4, 16])
@pytest.mark.parametrize("shape", SHAPES[:2])
def test_in_bfloat16_it_is_as_exact_as_the_kernel_at_large_scores(shape, larger):
    def errors(f) -> list[float]:
        found = gradients(lambda q, k, v: f(larger * q, k, v), shape, torch.bfloat16)
        pairs = zip(found, exact, strict=True)
        return [float((a.double() - b).norm() / b.norm()) for a, b in pairs]

    definition = F.scaled_dot_product_attention
    scaled = lambda q, k, v: definition(larger * q, k, v)  # noqa: E731
    exact = gradients(scaled, shape, torch.bfloat16, at=torch.float64)
    for ours, kernel in zip(errors(attended), errors(definition), strict=True):
        assert ours <= 2 * kernel


@pytest.mark.parametrize(
    ("dtype", "tracked", "ours"),
    [("bfloat16", True, True), ("bfloat16", False, False), ("float32", True, False)],
)
def test_where_it_is_used(dtype, tracked, ours, monkeypatch):
    used = []
    monkeypatch.setattr(attention.PlainBackward, "apply", lambda *qkv: used.append(1) or qkv[0])
    q, k, v, _ = inputs(SHAPES[0], getattr(torch, dtype))
    attended(q.requires_grad_(), k, v) if tracked else attended(q, k, v)
    assert bool(used) == ours
    with torch.no_grad():
        attended(q, k, v)
    with sdpa_kernel(SDPBackend.MATH):  # where FLOPs are counted
        attended(q, k, v)
    assert len(used) == ours
