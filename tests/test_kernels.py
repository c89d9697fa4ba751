"""The Triton kernels equal plain PyTorch: in Triton's interpreter, for real where a GPU is.

The interpreter multiplies bfloat16 as if it were whole numbers, so there the type of two bytes is
float16.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.speed import random_trainer
from tests import tiny
from tests.marks import hostile
from tinyreason.kernels import fuse, kernel_of, layers_of
from tinyreason.kernels.trial import Found, distance, trial
from tinyreason.kernels.trial import drawn as drawn_as_the_run
from tinyreason.layers import Inner, SwiGLU, TokenMixer

pytest.importorskip("triton", reason="Triton is not here; it comes with the dev extra on Linux")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
with pytest.MonkeyPatch.context() as patch:  # read where a kernel is defined
    if DEVICE.type == "cpu":
        patch.setenv("TRITON_INTERPRET", "1")
    from tinyreason.kernels.mixer import token_mixer, token_mixer_backward, token_mixer_op
    from tinyreason.kernels.swiglu import gated, gated_backward, swiglu

HALF = torch.bfloat16 if DEVICE.type == "cuda" else torch.float16
# relative to float64: one rounding of the result, a few of float32 sums
TOLERANCE = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def plain_mixer(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = (x.transpose(1, 2) @ gate_up.T).chunk(2, dim=-1)
    return ((F.silu(gate) * up) @ down.T).transpose(1, 2)


def plain_swiglu(x: Tensor, gate_up: Tensor) -> Tensor:
    gate, up = (x @ gate_up.T).chunk(2, dim=-1)
    return F.silu(gate) * up


def drawn(*shape: int, scale: float = 1.0) -> Tensor:
    """float64, but of numbers that every type has."""
    return (scale * torch.randn(shape, dtype=torch.float64)).to(torch.float16).double().to(DEVICE)


def mixer_inputs(slots: int, tokens: int, width: int, inner: int) -> list[Tensor]:
    shapes = (slots, tokens, width), (2 * inner, tokens), (tokens, inner)
    return [drawn(*shape, scale=shape[-1] ** -0.5 if i else 1) for i, shape in enumerate(shapes)]


def everything(function: Callable, inputs: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """What it gives and every gradient, at a fixed gradient of what it gives."""
    inputs = [t.to(dtype).requires_grad_() for t in inputs]
    y = function(*inputs)
    torch.manual_seed(1)
    return [y, *torch.autograd.grad(y, inputs, drawn(*y.shape).to(dtype))]


def assert_equal(fused: Callable, plain: Callable, inputs: list[Tensor], dtype: torch.dtype):
    truth = everything(plain, inputs, torch.float64)
    found = everything(fused, inputs, dtype)
    for one, expected in zip(found, truth, strict=True):
        assert one.dtype == dtype
        assert one.shape == expected.shape
        error = (one.double() - expected).norm() / expected.norm()
        assert error < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, HALF])
@pytest.mark.parametrize("tokens", [7, 36, hostile(97)])
def test_the_mixer_and_every_gradient_are_those_of_plain_torch(tokens, dtype):
    torch.manual_seed(0)
    assert_equal(token_mixer, plain_mixer, mixer_inputs(3, tokens, 32, 40), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, HALF])
@pytest.mark.parametrize("shape", [(3, 7, 32), (5, 50), (130, 24)])
def test_the_swiglu_and_every_gradient_are_those_of_plain_torch(shape, dtype):
    torch.manual_seed(0)
    gate_up = drawn(80, shape[-1], scale=shape[-1] ** -0.5)
    assert_equal(swiglu, plain_swiglu, [drawn(*shape), gate_up], dtype)


@pytest.mark.hostile
def test_more_slots_than_shares_and_a_width_of_many_blocks():
    torch.manual_seed(0)
    assert_equal(token_mixer, plain_mixer, mixer_inputs(17, 5, 36, 24), torch.float32)


def test_nothing_need_be_contiguous():
    torch.manual_seed(0)
    x, gate_up, down = mixer_inputs(3, 7, 32, 24)
    strided = [x.transpose(0, 2).contiguous().transpose(0, 2), gate_up.T.contiguous().T, down]
    found, expected = (
        everything(token_mixer, t, torch.float32) for t in (strided, [x, gate_up, down])
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    rows = drawn(6, 40)[:, ::2]
    weights = drawn(24, 20)
    found, expected = (
        everything(swiglu, [t, weights], torch.float32) for t in (rows, rows.clone())
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    x = x.float().requires_grad_()
    token_mixer(x, gate_up.float(), down.float()).sum().backward()  # a gradient with strides of 0
    summed = x.grad.clone()
    x.grad = None
    plain_mixer(x, gate_up.float(), down.float()).sum().backward()
    assert distance(summed, x.grad) < TOLERANCE[torch.float32]


def test_the_operators_are_what_the_compiler_is_told():
    torch.manual_seed(0)
    x, gate_up, down = (t.float().requires_grad_() for t in mixer_inputs(2, 5, 16, 16))
    rows, weights = drawn(3, 16).float().requires_grad_(), drawn(32, 16).float().requires_grad_()
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    told = partial(torch.library.opcheck, test_utils=checks)
    told(token_mixer_op, (x, gate_up, down))
    told(gated, (rows, weights))
    told(token_mixer_backward, [t.detach() for t in (x, x, gate_up, down)])
    told(gated_backward, [t.detach() for t in (drawn(3, 16).float(), rows, weights)])


def test_a_second_derivative_is_refused_and_not_wrong():
    torch.manual_seed(0)
    inputs = [t.float().requires_grad_() for t in mixer_inputs(2, 5, 16, 16)]
    (dx, *_) = torch.autograd.grad(token_mixer(*inputs).sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="autograd"):
        dx.sum().backward()


@pytest.mark.hostile
def test_a_model_trains_on_them_as_on_plain_ones():
    words = ("task=sudoku", "scale=small", "task.side=4", "batch=3", "model.width=16", "steps=9")
    words += ("model.heads=2", "model.mix=mixer", "model.layers=1", "model.dtype=float32")
    words += ("model.prefix=1", "model.L_cycles=1", "kernels=plain", "graph=false")
    trainers = []
    for fused in (False, True):
        torch.manual_seed(0)
        trainer = random_trainer(tiny.config(*words))
        found = layers_of(trainer.model, 17)
        assert [" ".join(name.split()[:2]) for name in found] == ["Triton token", "Triton SwiGLU"]
        for layers in found.values() if fused else ():
            fuse(layers)
        trainers.append(tiny.steps(trainer, 2))
    plain, fused = (trainer.meter.read() for trainer in trainers)
    assert plain["loss"] == pytest.approx(fused["loss"], rel=1e-5)
    assert plain["grad_norm"] == pytest.approx(fused["grad_norm"], rel=1e-4)


def test_they_compile_with_what_is_around_them():
    torch.manual_seed(0)
    inputs = [*mixer_inputs(2, 5, 16, 16), drawn(24, 16)]

    def block(x: Tensor, gate_up: Tensor, down: Tensor, after: Tensor) -> Tensor:
        return swiglu(x + token_mixer(x, gate_up, down), after)

    whole = torch.compile(block, backend="aot_eager", fullgraph=True, dynamic=False)
    found, expected = (everything(f, inputs, torch.float32) for f in (whole, block))
    assert all(distance(a, b) < 1e-6 for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("mixes", [True, False])
def test_a_trial_finds_them_equal_to_a_real_layer(mixes):
    layer = TokenMixer(9, Inner(2, 8)) if mixes else SwiGLU(12, Inner(2, 8))
    x, dy = (drawn_as_the_run((2, 9, 12), seed, torch.float32, tiny.CPU) for seed in range(2))
    found = trial(layer, x, dy, kernel_of(layer), compiled=False, timed=False)
    assert found == Found(True, "taken, equal to plain")
    assert layer.fused is None


def test_a_trial_finds_a_kernel_that_forgets_a_gradient():
    layer = TokenMixer(9, Inner(2, 8))

    def forgetful(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        return token_mixer(x, gate_up, 2 * down - down.detach())  # the same, twice the gradient

    x, dy = (drawn_as_the_run((2, 9, 12), seed, torch.float32, tiny.CPU) for seed in range(2))
    found = trial(layer, x, dy, forgetful, compiled=False, timed=False)
    assert not found.taken
    assert "mlp.down.weight by 1.0e+00" in found.why


@pytest.mark.hostile
def test_they_compile_for_cards_that_are_not_here(tmp_path):
    """For RTX 30 and H100, at the published sizes: they fit, and have tensor cores."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.compiled", "86", "90"],
        env=os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [json.loads(line) for line in told.stdout.splitlines()]
    assert len(rows) == 8
    for row in rows:
        assert row["shared"] <= row["has"], row
        assert row["tensor cores"], row
