"""What a run stands in: the machine, its versions, and generators that belong to nobody."""

import platform
import random
import resource
import sys

import numpy as np
import torch

from tinyreason.deterministic import repeats


def random_states() -> dict:
    """Of the generators that belong to nobody."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def set_random_states(saved: dict) -> None:
    random.setstate(saved["python"])
    torch.set_rng_state(saved["torch"])
    if len(saved["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved["cuda"])


def peak_memory(device: torch.device) -> int:
    """Bytes: what was allocated on a GPU at most, or what this process took of the machine's memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def surroundings(device: torch.device) -> dict:
    """What has to be the same for two runs to be the same to the last bit."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    order = {"threads": torch.get_num_threads(), "deterministic": repeats(device)}
    return {"device": device.type, "hardware": name} | order | versions()


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
