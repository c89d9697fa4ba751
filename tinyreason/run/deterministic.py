"""The same sums in the same order: what makes a run on CUDA bitwise repeatable, at a price
in speed.

A GPU's fastest kernels add in whatever order their threads arrive, and compiled ones are chosen by
timing them. On a CPU the order is fixed by the number of threads; neither that nor the number type
is then chosen by timing. Source: PyTorch's notes on reproducibility,
https://docs.pytorch.org/docs/stable/notes/randomness.html
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tinyreason.errors import UserError

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"  # read when cuBLAS is first used
WORKSPACE = ":4096:8"  # 8 buffers of 4 MiB, taken in turn


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """While `on`, this process takes deterministic kernels alone.

    Raises UserError for an operation that has none.
    """
    before = torch.are_deterministic_algorithms_enabled()
    if on and os.environ.get(VARIABLE) != WORKSPACE:
        if torch.cuda.is_initialized():
            late = "deterministic=true comes too late, CUDA is in use"
            raise UserError(f"{late}; put {VARIABLE}={WORKSPACE} before python")
        os.environ[VARIABLE] = WORKSPACE
    switch(on)
    try:
        yield
    except RuntimeError as error:
        if not on or "deterministic" not in str(error):
            raise
        raise UserError(f"{str(error).split('.')[0][:150]}; use deterministic=false") from None
    finally:
        switch(before)


def switch(on: bool) -> None:
    """Leave torch alone where nothing changes: its switch loads the compiler, for a second."""
    if on != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(on)


def repeats(device: torch.device) -> bool:
    """Whether a step on `device` gives the same bits each time."""
    return device.type == "cpu" or torch.are_deterministic_algorithms_enabled()
