"""What this CPU is fast at, by timing: how many threads, and which type of numbers.

N rows, D width, I inner width of a SwiGLU.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

import torch

from tinyreason.functions import rms_norm, swiglu

ROUNDS = 5  # in turn, so that all see the same neighbours
CLEARLY = 1.1  # fewer threads must be faster by so much: they leave cores unused
WORK = 1e9  # FLOPs of what is timed, at most
WIDE = 256  # from this width on products are most of the work, and rounding to bf16 is published
TWICE = 2.0  # bf16 must be faster by so much, since the operations between the products are not
BF16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")  # of x86 and of Arm


def layer(rows: int, width: int, inner: int, dtype: torch.dtype) -> Callable[[], None]:
    """A SwiGLU and a norm, forward and backward."""
    rows = max(1, min(rows, int(WORK / (18 * width * inner))))
    generator = torch.Generator().manual_seed(0)
    shapes = (rows, width), (2 * inner, width), (width, inner)
    drawn = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    x, gate_up, down = (t.requires_grad_() for t in drawn)

    def work() -> None:
        y = rms_norm(swiglu(x, gate_up, down), -1, 1e-5)
        torch.autograd.grad(y, (x, gate_up, down), y.detach())

    return work


def seconds(works: dict, rounds: int = ROUNDS) -> dict:
    """The median of each, timed in turn after one call to warm up."""
    times = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: median(each[1:]) for name, each in times.items()}


def fast_cpu_type(rows: int, width: int, inner: int) -> torch.dtype:
    """bfloat16 where this CPU has units for it and a layer of these sizes gains by them."""
    if width < WIDE or not any(torch.cpu.get_capabilities().get(unit) for unit in BF16_UNITS):
        return torch.float32
    types = torch.float32, torch.bfloat16
    took = seconds({dtype: layer(rows, width, inner, dtype) for dtype in types})
    return faster(took[torch.float32], took[torch.bfloat16])


def faster(wide: float, narrow: float) -> torch.dtype:
    """Of a layer in float32 and in bfloat16, by their seconds."""
    return torch.bfloat16 if wide >= TWICE * narrow else torch.float32


def settle_threads(
    rows: int, width: int, inner: int, dtype: torch.dtype, saved: int | None = None
) -> str | None:
    """Take as many threads as a layer of these sizes gains by, or as many as were `saved`.

    Returns a line for the user, None where there was nothing to choose: OMP_NUM_THREADS is theirs.
    """
    most = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ:
        return None
    if saved is not None:
        torch.set_num_threads(min(saved, most))
        return None
    if most == 1:
        return None
    work = layer(rows, width, inner, dtype)
    took = seconds({n: partial(with_threads, n, work) for n in counts(most)})
    chosen = fewest(took)
    torch.set_num_threads(chosen)
    gain = f"a layer runs {took[1] / took[chosen]:.1f} times as fast as with one"
    if chosen == 1:
        gain = f"{most} are slower here" if took[most] > took[1] else f"{most} gain nothing here"
    return f"{chosen} thread{'s'[: chosen > 1]}: {gain}; OMP_NUM_THREADS={chosen} repeats it"


@contextmanager
def same_threads_after() -> Iterator[None]:
    """The runs of a sweep share a process: what one has chosen is not the most of the next."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def with_threads(count: int, work: Callable[[], None]) -> None:
    torch.set_num_threads(count)
    work()


def counts(most: int) -> list[int]:
    """1, 2, 4, ... and `most`."""
    powers = [1 << k for k in range(most.bit_length()) if 1 << k < most]
    return [*powers, most]


def fewest(took: dict[int, float]) -> int:
    """All threads, or fewer if those are clearly faster."""
    most = max(took)
    best = min(took, key=took.get)
    return best if took[most] > CLEARLY * took[best] else most
