"""What a checkpoint must be like, in a JSON file beside it that is written last: no manifest, no
checkpoint.

    {"format": 1, "step": 123, "contents": [{"size": 4567, "sha256": "89ab..."}]}

`contents` has two entries while a good checkpoint is replaced by another of the same step: either
will do until the second has come to stand. The digest finds damage; it is no protection from
somebody who can write to the directory.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

from tinyreason.errors import Damaged

NAME = re.compile(r"step_([0-9]{8}|[1-9][0-9]{8,})\.(pt|json)")
FORMAT = 1  # counts up when a checkpoint changes such that older programs could not read it
MAX_BYTES = 4096  # of a manifest; two entries take 240


class Content(NamedTuple):
    """A file's bytes, as far as a manifest tells."""

    size: int
    sha256: str


def path_of(directory: Path, step: int) -> Path:
    """The checkpoint of a step."""
    return directory / f"step_{step:08d}.pt"


def manifest_of(path: Path) -> Path:
    """The manifest of a checkpoint."""
    return path.with_suffix(".json")


def content_of(data: bytes | memoryview) -> Content:
    return Content(len(data), hashlib.sha256(data).hexdigest())


def encode(step: int, contents: list[Content]) -> bytes:
    record = {
        "format": FORMAT,
        "step": step,
        "contents": [content._asdict() for content in contents],
    }
    return json.dumps(record).encode() + b"\n"


def decode(raw: bytes, step: int) -> list[Content]:
    """The contents that the manifest of `step` allows. Raises ValueError with the reason where
    `raw` is not one.

    It must be what `encode` writes, byte for byte, so that no flipped bit goes unseen.
    """
    try:
        record = json.loads(raw)
        found, contents = record["step"], [Content(**entry) for entry in record["contents"]]
        numbers = [found, *(content.size for content in contents)]
        good = all(type(number) is int for number in numbers) and encode(found, contents) == raw
    except (ValueError, KeyError, TypeError, RecursionError):
        good = False
    if not good:
        raise ValueError(f"manifest damaged, or not of format {FORMAT}")
    if found != step:
        raise ValueError(f"manifest of another step ({found})")
    return contents


def read(path: Path, step: int) -> list[Content]:
    """As `decode`, from a file. Raises OSError, too, where that cannot be read."""
    if not path.is_file():
        raise ValueError(
            f"no manifest {path.name} beside it (an unfinished copy, or saved by an older version)"
        )
    with path.open("rb") as file:
        return decode(file.read(MAX_BYTES), step)


def intact(path: Path) -> bytes:
    """The bytes of a checkpoint if they are what its manifest says.

    Raises Damaged; OSError where it cannot tell.
    """
    allowed = expected(path)
    with path.open("rb") as file:
        data = file.read(allowed[0].size + 1)  # one more, in case it has grown since
    if content_of(data) not in allowed:
        raise Damaged(f"{path}: sha256 differs from its manifest's")
    return data


def expected(path: Path) -> list[Content]:
    """What by the manifest may be in a checkpoint, and has its size; it is not read. Raises as
    `intact`.
    """
    match = NAME.fullmatch(path.name)
    if match is None or match[2] != "pt":
        raise Damaged(f"{path}: not a checkpoint's name, as in step_00000123.pt")
    if not path.is_file():
        raise Damaged(f"{path}: {'not a file' if path.exists() else 'missing'}")
    try:
        contents = read(manifest_of(path), int(match[1]))
    except ValueError as error:
        raise Damaged(f"{path}: {error}") from None
    size = path.stat().st_size
    allowed = [content for content in contents if content.size == size]
    if not allowed:
        raise Damaged(
            f"{path}: size differs from its manifest's ({size} bytes)" if size else f"{path}: empty"
        )
    return allowed


def seems_good(path: Path) -> bool:
    """A checkpoint has a manifest and the size in it; it is not read. Raises OSError where it
    cannot tell.
    """
    try:
        return bool(expected(path))
    except Damaged:
        return False
