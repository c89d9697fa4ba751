"""A training run on disk, complete: what is needed to go on as if it had not stopped.

Files are written beside their final place, flushed to disk and renamed, so a killed run leaves the old file or the new
one, and are read with `weights_only=True` and no fallback: a checkpoint cannot run code.
"""

import hashlib
import io
import os
from pathlib import Path

import torch
from torch import nn

from tinyreason.errors import UserError


def save(path: Path, state: dict) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts) to `path`, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getbuffer())


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Replace the file at `path`, on disk before this returns; a killed process leaves the old one or the new one."""
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> dict:
    """What `save` wrote, on the CPU. Raises UserError if the file is missing, damaged or not a checkpoint."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except Exception as error:  # torch raises a dozen kinds for damaged files
        kind = type(error).__name__
        raise UserError(f"{path}: damaged, or no checkpoint ({kind}); delete it to use the one before") from None


def path_of(directory: Path, step: int) -> Path:
    """The checkpoint of a step."""
    return directory / f"step_{step:08d}.pt"


def newest(directory: Path) -> Path | None:
    """The checkpoint of the highest step, if there is one."""
    return max(directory.glob("step_*.pt"), default=None)


def prune(directory: Path, keep: int) -> None:
    """Delete all but the `keep` newest checkpoints."""
    for old in sorted(directory.glob("step_*.pt"))[:-keep]:
        old.unlink()


def digest(module: nn.Module) -> str:
    """sha256 of all parameters and persistent buffers, in name order: equal exactly if the weights are."""
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def sync_directory(directory: Path) -> None:
    """Make a rename in `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
