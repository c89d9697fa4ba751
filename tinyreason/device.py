"""Where a model runs."""

import re

import torch

from tinyreason.errors import UserError
from tinyreason.run.console import say


def pick_device(name: str) -> torch.device:
    """The device of `device=`. Raises UserError if it is not there."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UserError(f"device={name} is unknown; use device=auto, cpu, cuda, cuda:1 or mps")
    if name == "cpu":
        return torch.device(name)
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise UserError("device=mps, but PyTorch finds no Apple GPU here; use device=cpu")
        say("note: device=mps is taken as it is; this project has not been tested on it")
        return torch.device(name)
    if int(name.partition(":")[2] or 0) >= gpus:
        raise UserError(
            f"device={name}, but there is no such CUDA GPU here "
            f"({gpus} found); use device=cpu or leave it out"
        )
    return torch.device(name)


AMPERE = (8, 0)  # the first compute capability whose matrix units multiply bfloat16


def fast_type(device: torch.device) -> torch.dtype:
    """The type of activations that a device multiplies fast: what `model.dtype=auto` means."""
    if device.type != "cuda":
        return torch.float32
    return fast_type_of_cuda(torch.cuda.get_device_capability(device))


def fast_type_of_cuda(capability: tuple[int, int]) -> torch.dtype:
    """Of a GPU of that compute capability. Older ones have bfloat16 by emulation, slower than
    float32.
    """
    return torch.bfloat16 if capability >= AMPERE else torch.float32


def widest(device: torch.device) -> torch.dtype:
    """The most exact type of floating point that a device has: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def waited(device: torch.device) -> None:
    """Once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
