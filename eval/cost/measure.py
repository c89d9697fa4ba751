"""Measures any program that trains by autograd: FLOPs, what is kept for the backward pass, the
parameters' side, time.

A `run` is a function without arguments that does one forward pass, loss, backward pass and update,
or a part of it.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import Optimizer
from torch.profiler import ProfilerActivity, profile
from torch.utils.module_tracker import ModuleTracker

from tinyreason.device import waited

os.environ.setdefault(
    "KINETO_LOG_LEVEL", "99"
)  # or the profiler reports each start and stop on stderr
Run = Callable[[], object]
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


def flops(run: Run) -> dict[str, int]:
    """FLOPs of `run` by operator, as `torch.profiler` counts them.

    It knows matrix products, convolutions, and out-of-place additions and multiplications. Scaled
    dot-product attention counts as nothing on a CPU.
    """
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiler:
        run()
    found = Counter()
    for event in (
        profiler.profiler.kineto_results.events()
    ):  # key_averages() says the same, twenty times slower
        found[event.name()] += event.flops()
    return dict(+found)


def matrix_products(by_operator: dict[str, int]) -> int:
    """FLOPs of matrix products among those of `flops`."""
    return sum(by_operator.get(name, 0) for name in PRODUCTS)


@dataclass
class Saved:
    """Bytes that autograd holds for a backward pass."""

    live: int = 0
    peak: int = 0

    def pack(self, tensor: Tensor) -> "Kept":
        self.live += tensor.nbytes
        self.peak = max(self.peak, self.live)
        return Kept(tensor, self)


@dataclass
class Kept:
    """One tensor for as long as a graph holds it."""

    tensor: Tensor
    saved: Saved

    def __del__(self) -> None:
        self.saved.live -= self.tensor.nbytes


def saved_peak(run: Run) -> int:
    """Most bytes that wait for a backward pass at one time during `run`.

    Every save counts, weights included, even of a tensor that is held already; what checkpointing
    computes again inside the backward pass does not.
    """
    saved = Saved()
    with saved_tensors_hooks(saved.pack, lambda kept: kept.tensor):
        run()
    return saved.peak


@dataclass
class Calls:
    """How often modules were called."""

    count: int = 0


@contextmanager
def evaluations(modules: Iterable[nn.Module]) -> Iterator[Calls]:
    """Counts calls of `modules` (NFE), except those by which checkpointing repeats one in the
    backward pass.
    """
    calls, tracker = Calls(), ModuleTracker()

    def hook(*_) -> None:
        calls.count += not tracker.is_bw

    handles = [module.register_forward_pre_hook(hook) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def parameter_bytes(module: nn.Module) -> int:
    """Bytes of the parameters, each once."""
    return sum(p.nbytes for p in module.parameters())


def gradient_bytes(module: nn.Module) -> int:
    """Bytes of the gradients that are there."""
    return sum(p.grad.nbytes for p in module.parameters() if p.grad is not None)


def optimizer_bytes(optimizer: Optimizer) -> int:
    """Bytes of the optimizer's state, after its first step."""
    values = (v for state in optimizer.state.values() for v in state.values())
    return sum(v.nbytes for v in values if isinstance(v, Tensor))


def seconds(run: Run, device: torch.device) -> float:
    """Wall time of `run`, until the device has done it. Warm up before."""
    waited(device)
    start = time.perf_counter()
    run()
    waited(device)
    return time.perf_counter() - start


def available_memory() -> int | None:
    """Bytes that this process can still get, or None where the system does not say (not Linux)."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    return min([available, *container_limits()])


def container_limits() -> Iterator[int]:
    """Bytes that a control group leaves to its processes, where there is one."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            yield int(Path("/sys/fs/cgroup", limit).read_text()) - int(
                Path("/sys/fs/cgroup", used).read_text()
            )
        except (OSError, ValueError):  # no such group, or no limit: "max"
            continue
