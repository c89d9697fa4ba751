"""Memory as it is taken: each storage once, and the most at one time. `measure` counts every save,
as the post does.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from eval.cost.measure import available_memory


@contextmanager
def storages(ignored: Iterable[Tensor]) -> Iterator[dict[int, int]]:
    """Bytes by storage of all that autograd saves in the block, but for `ignored`; nothing of it is
    freed inside.
    """
    known, found, alive = {identity(t) for t in ignored}, {}, []

    def pack(tensor: Tensor) -> Tensor:
        if identity(tensor) not in known:
            found[identity(tensor)] = tensor.untyped_storage().nbytes()
            alive.append(tensor)  # or its identity would be used again
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found


def identity(tensor: Tensor) -> int:
    """That of a storage, also of one without memory, whose address is 0."""
    return tensor.untyped_storage()._cdata


def free(device: torch.device) -> int | None:
    """Bytes that can still be had, or None where the system does not say."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()


def peak_increase(run: Callable[[], object], device: torch.device) -> int:
    """Most bytes that `run` has at one time beyond those that were there before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most
