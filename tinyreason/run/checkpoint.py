"""A training run on disk, complete: what is needed to go on as if it had not stopped.

A checkpoint is `step_00000123.pt`, from `torch.save`, and its manifest `step_00000123.json`. While
one is made or deleted, its manifest stands under a temporary name; what a killed process leaves in
that state does not count and is swept. Any other that is not exactly what its manifest says is
damaged, and that is told.

A file is read once, compared with its manifest, and the very bytes that were compared are loaded,
with `weights_only=True` and no fallback: a checkpoint cannot run code.
"""

import hashlib
import io
import os
import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from tinyreason.errors import Damaged
from tinyreason.run.atomic import leftovers, rename, staged, temporary_of, write_whole
from tinyreason.run.manifest import (
    NAME,
    Content,
    content_of,
    encode,
    intact,
    manifest_of,
    path_of,
    seems_good,
)


def steps(directory: Path) -> list[int]:
    """The steps of all checkpoints, newest first; damaged ones count, those that are being made or
    deleted do not.
    """
    names = set(os.listdir(directory)) if directory.is_dir() else set()
    unfinished = {name.partition(".tmp.")[0] for name in names if ".json.tmp." in name} - names
    found = {int(match[1]) for match in map(NAME.fullmatch, names) if match}
    return sorted(
        (s for s in found if manifest_of(path_of(directory, s)).name not in unfinished),
        reverse=True,
    )


def newest(directory: Path) -> Path | None:
    """The checkpoint of the highest step, unread, if there is one."""
    return next((path_of(directory, step) for step in steps(directory)), None)


# ---- writing


def save(directory: Path, step: int, state: dict) -> Path:
    """Write `state` (tensors, numbers, strings, lists, dicts) as the checkpoint of `step`, on disk
    before this returns.

    Raises OSError where that fails, as on a full disk, and leaves nothing behind; but where a good
    checkpoint of the same step was being replaced, it may be either of the two that stands there
    then.
    """
    data = serialized(state)
    path = path_of(directory, step)
    directory.mkdir(parents=True, exist_ok=True)
    new, old = content_of(data), standing(path)
    with staged(path, data) as temporary:
        if old:
            write_whole(manifest_of(path), encode(step, [new, *old]))
        with staged(manifest_of(path), encode(step, [new])) as note:
            try:
                rename(temporary, path)
                rename(note, manifest_of(path))
            except BaseException:
                if not old and not temporary.exists():
                    with suppress(OSError):
                        remove(path)
                raise
    return path


def serialized(state: dict) -> memoryview:
    """What goes to disk. Raises TypeError if it could not be loaded again."""
    # not the file: there, torch takes a full disk for a RuntimeError about positions
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(buffer):
        raise TypeError(
            f"a checkpoint holds tensors and plain values only, not {', '.join(sorted(unsafe))}"
        )
    return buffer.getbuffer()


def standing(path: Path) -> list[Content]:
    """The content of the good checkpoint at `path`, if there is one.

    Raises OSError if it cannot be read.
    """
    try:
        return [content_of(intact(path))]
    except Damaged:
        return []


def remove(path: Path) -> None:
    """Delete a checkpoint, good or damaged; it counts no more from the moment its manifest is
    renamed.
    """
    mark = temporary_of(manifest_of(path))
    if manifest_of(path).exists():
        rename(manifest_of(path), mark)
    path.unlink(missing_ok=True)
    mark.unlink(missing_ok=True)


def prune(directory: Path, keep: int, best: int | None = None) -> None:
    """Delete what is older than the `keep` newest that seem good, oldest first, but for the step
    `best`.

    What never had a manifest stays: we have not made it. Raises OSError.
    """
    if keep < 2:
        raise ValueError("keep at least two: the newest may be found damaged")
    found = steps(directory)
    good = [step for step in found if seems_good(path_of(directory, step))]
    if len(good) < keep:
        return
    for step in reversed(found):
        path = path_of(directory, step)
        if step < good[keep - 1] and step != best and manifest_of(path).exists():
            remove(path)


def set_aside_after(directory: Path, step: int) -> None:
    """Rename the checkpoints of later steps, damaged or unwanted, the newest first: they do not
    count any more.
    """
    for later in steps(directory):
        path = path_of(directory, later)
        for file in (path, manifest_of(path)):
            if later > step and file.exists():
                rename(file, file.with_name(f"{file.name}.aside"))


def sweep(directory: Path) -> None:
    """Delete what dead processes left: temporary files, and checkpoints that they were making or
    deleting.

    For the one process that may write to `directory`; a run holds its lock.
    """
    for temporary in leftovers(directory):
        final = directory / temporary.name.partition(".tmp.")[0]
        if NAME.fullmatch(final.name) and final.suffix == ".json" and not final.exists():
            final.with_suffix(".pt").unlink(missing_ok=True)
        temporary.unlink(missing_ok=True)


# ---- reading


def newest_good(directory: Path, warn: Callable[[str], None]) -> tuple[Path, dict] | None:
    """The newest checkpoint that is not damaged, and what it holds; None if there are no
    checkpoints.

    `warn` gets a line for each newer one: file, reason, which is taken instead. Raises Damaged if
    all are.
    """
    damaged: list[Damaged] = []
    for step in steps(directory):
        path = path_of(directory, step)
        try:
            state = load(path)
        except Damaged as error:
            damaged.append(error)
            continue
        for error in damaged:
            warn(f"{error}; taking {path.name} instead")
        return path, state
    if damaged:
        others = (
            f"no older one is good ({len(damaged)} tried)"
            if len(damaged) > 1
            else "there is no other"
        )
        raise Damaged(
            f"{damaged[0]}, and {others}; restore the files or use name=NEW for a new run"
        )
    return None


def load(path: Path) -> dict:
    """What `save` wrote to the checkpoint `path`, on the CPU. Raises Damaged, `path: reason`."""
    try:
        data = intact(path)
    except OSError as error:
        raise Damaged(f"{path}: cannot be read: {error.strerror}") from None
    if not data.startswith(b"PK"):  # keeps torch from its older formats, of which `save` makes none
        raise Damaged(f"{path}: not a checkpoint: not a zip file")
    try:
        with warnings.catch_warnings(action="ignore"):  # ours is the one line about this file
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # torch raises a dozen kinds
        raise Damaged(f"{path}: not a checkpoint: {type(error).__name__}") from None
    if not isinstance(state, dict):
        raise Damaged(f"{path}: not a checkpoint: {type(state).__name__}, not dict")
    return state


def digest(module: nn.Module) -> str:
    """sha256 of all parameters and persistent buffers, in name order: equal exactly if the weights
    are.
    """
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


# ---- random numbers


def random_states() -> dict:
    """The global random generators (Python, torch, CUDA)."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def set_random_states(saved: dict) -> None:
    random.setstate(saved["python"])
    torch.set_rng_state(saved["torch"])
    if len(saved["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved["cuda"])
