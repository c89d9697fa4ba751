"""Compiled cores, and where the compiler keeps what it has made.

On two cores of a Xeon the first step of the small model takes about a minute to compile and later
runs begin within seconds; PyTorch's own place for it, the system's temporary folder, is empty after
a restart.
"""

import os
from contextlib import suppress
from pathlib import Path

from torch import nn

from tinyreason.layers import Core

WHERE = "TORCHINDUCTOR_CACHE_DIR"  # what is set already stays


def keep_what_is_compiled() -> None:
    """Before anything is: the compiler then settles on a place. Where there is no home that can be
    written to, as in a container, that is PyTorch's own.
    """
    with suppress(OSError, RuntimeError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            os.environ.setdefault(WHERE, str(folder))


def compile_cores(model: nn.Module) -> None:
    """Compile the tied networks: one graph for all recursions, whatever the depth of a step."""
    for module in model.modules():
        if isinstance(module, Core):
            module.compile()


def cache_folder() -> Path:
    """Of this user, for all runs: what is found there is checked against code and versions."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tinyreason" / "compiled"
