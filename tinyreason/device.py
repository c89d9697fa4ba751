"""Where a model runs."""

import re

import torch

from tinyreason.errors import UserError
from tinyreason.run.console import say
from tinyreason.run.place import place


def pick_device(name: str) -> torch.device:
    """The device of `device=`; of several ranks, each has a GPU of its own. Raises UserError if it
    is not there.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    name = name_of_rank(name, gpus)
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


def name_of_rank(name: str, gpus: int) -> str:
    """`device=` of one of several ranks: the GPU that has its number on this machine."""
    here = place()
    if here.world == 1 or not (name.startswith("cuda") or (name == "auto" and gpus)):
        return name
    if ":" in name:
        raise UserError(f"device={name} is one GPU for {here.world} ranks; use device=cuda")
    if here.local >= gpus:
        told = f"there are more ranks on this machine than its {gpus} GPUs"
        raise UserError(f"{told}; use torchrun --nproc-per-node {gpus}, or device=cpu")
    return f"cuda:{here.local}"


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
