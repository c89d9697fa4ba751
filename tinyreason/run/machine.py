"""What a run stands in: the machine and its versions."""

import platform
import sys

import numpy as np
import torch

from tinyreason import __version__
from tinyreason.run.deterministic import repeats


def peak_memory(device: torch.device) -> int:
    """Bytes: what was allocated on a GPU at most, or what this process took of the machine's
    memory; 0 where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows, which has no such count without another library
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def machine_of(device: torch.device) -> dict:
    """What has to be the same for two runs to be bitwise the same."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    order = {"threads": torch.get_num_threads(), "deterministic": repeats(device)}
    return {"device": device.type, "hardware": name} | order | versions()


def versions() -> dict[str, str]:
    """Of what computes: ours too, which may round otherwise from one to the next."""
    return {
        "tinyreason": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
