"""Where a model runs."""

import re

import torch

from tinyreason.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device of `device=`. Raises UserError if it is not there."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"device={name} is unknown; use device=auto, cpu, cuda or cuda:1")
    if name == "cpu":
        return torch.device(name)
    if int(name.partition(":")[2] or 0) >= gpus:
        raise UserError(
            f"device={name}, but there is no such CUDA GPU here "
            f"({gpus} found); use device=cpu or leave it out"
        )
    return torch.device(name)
