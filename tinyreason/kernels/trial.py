"""A kernel is tried where it is to run: against plain PyTorch, at the run's own shapes.

It is refused where it does not compile, where what it gives or any of its gradients is not what
plain PyTorch gives, or where it is not faster, forward and backward together.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

# distance of two results, relative to the plain one: some roundings of a type, summed
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
Outcome = dict[str, Tensor]


class Found(NamedTuple):
    """What a trial came to."""

    taken: bool
    why: str  # for the user


def drawn(shape: tuple[int, ...], seed: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Normal numbers, of a generator of their own: a run's random numbers stay its own."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=device).to(dtype)


def trial(
    layer: nn.Module,
    x: Tensor,
    dy: Tensor,
    kernel: Callable[..., Tensor],
    compiled: bool,
    timed: bool,
) -> Found:
    """Of `kernel` in place of a layer's `fused`, on an input and the gradient after it (B S D)."""

    def run(fused: Callable[..., Tensor] | None) -> Callable[[], Outcome]:
        def function(x: Tensor) -> Tensor:
            return layer(x)

        call = torch.compile(function, dynamic=False) if compiled else function

        def once() -> Outcome:
            layer.fused = fused
            return outcome(call, layer, x, dy)

        return once

    try:
        return judged(run(None), run(kernel), TOLERANCE[x.dtype], milliseconds if timed else None)
    finally:
        layer.fused = None


def outcome(call: Callable[[Tensor], Tensor], layer: nn.Module, x: Tensor, dy: Tensor) -> Outcome:
    """What a layer gives, and every gradient."""
    x = x.detach().requires_grad_()
    y = call(x)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    gradients = torch.autograd.grad(y, (x, *parameters), dy)
    return dict(zip(("output", "x", *names), (y.detach(), *gradients), strict=True))


def judged(
    plain: Callable[[], Outcome],
    other: Callable[[], Outcome],
    tolerance: float,
    clock: Callable[[Callable[[], Outcome]], float] | None,
) -> Found:
    """Whether to take the `other`. `clock` gives the milliseconds of a call; None: as soon as it is
    right.
    """
    expected = plain()
    try:
        found = other()
    except Exception as error:  # of the compiler, the driver or the launch: any of many types
        reason = str(error).strip().split("\n")[0][:120]
        return Found(False, f"not taken, it failed ({type(error).__name__}: {reason})")
    for name, tensor in expected.items():
        apart = distance(found[name], tensor)
        if not apart <= tolerance:  # NaN too
            return Found(False, f"not taken, it is wrong in {name} by {apart:.1e}")
    del expected, found
    if clock is None:
        return Found(True, "taken, equal to plain")
    slow, fast = clock(plain), clock(other)
    how = f"{fast:.3f} ms against {slow:.3f} ms forward and backward"
    return Found(True, f"taken, {how}") if fast < slow else Found(False, f"not taken, {how}")


def distance(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|, in float32."""
    a, b = a.detach().float(), b.detach().float()
    return float((a - b).norm() / b.norm().clamp(min=1e-30))


def milliseconds(call: Callable[[], Outcome]) -> float:
    """The median of a tenth of a second of calls, on CUDA."""
    from triton.testing import do_bench

    return do_bench(call, warmup=25, rep=100, return_mode="median")
