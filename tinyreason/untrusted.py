"""Reading npy and JSON files that anybody may have written: sizes first, then contents, and never a
pickle.

Each refusal is a UserError, `path: what is wrong`.
"""

import errno
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from tinyreason.errors import UserError

MAX_JSON = 64 << 20  # bytes; the names of a million ARC identifiers take about 30 MB
# fewer on average in a file of the largest size, and it is no grid but an attack on the memory
BYTES_A_LIST = 20


def read_npy(path: Path, dtype: type, dimensions: int) -> np.ndarray:
    """The array in an npy file, mapped read-only, after its header was held against the file's
    size.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing, or not a file")
    with path.open("rb") as file:
        shape, found = _plain(path, file, np.dtype(dtype), dimensions)
        offset, actual = file.tell(), os.fstat(file.fileno()).st_size
        expected = offset + math.prod(shape) * found.itemsize
        if expected != actual:
            asked = expected if expected < 1 << 63 else "more"
            raise UserError(f"{path}: {actual} bytes, its header asks for {asked}")
        if not math.prod(shape):
            raise UserError(f"{path}: empty")
        return np.asarray(np.memmap(file, found, "r", offset, shape))


def read_npy_any(path: Path) -> np.ndarray:
    """An array of whole numbers, of any width and two or three dimensions, mapped read-only."""
    refused = None
    for dtype in (np.uint8, np.int8, np.int16, np.int32, np.int64):
        for dimensions in (2, 3):
            try:
                return read_npy(path, dtype, dimensions)
            except UserError as error:
                refused = error
                if "dimension(s)" not in str(error):
                    raise
    raise UserError(str(refused).split(", not ")[0] + ", not whole numbers (N, S) or (N, R, C)")


def read_json(path: Path, most: int = MAX_JSON) -> Any:
    """The value in a JSON file of at most `most` bytes.

    A name twice in an object and absurd nesting are refused.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: missing, or not a file")
        if path.stat().st_size > most:
            raise UserError(f"{path}: larger than {most >> 20} MiB")
        content = path.read_bytes()
        if (
            content.count(b"[") + content.count(b"{") > most // BYTES_A_LIST
        ):  # each takes up to 200 bytes of memory
            raise UserError(f"{path}: holds more than {most // BYTES_A_LIST} lists and objects")
        return json.loads(content, object_pairs_hook=_unique)
    except RecursionError:
        raise UserError(f"{path}: not readable JSON: nested too deep") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not readable JSON: {str(error)[:200]}") from None


def read_object(path: Path, most: int = MAX_JSON) -> dict[str, Any]:
    """The object in a JSON file."""
    value = read_json(path, most)
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object")
    return value


def shown(value: Any) -> str:
    """A JSON value for a message: a few characters, whatever it is."""
    return type(value).__name__ if isinstance(value, dict | list) else repr(value)[:40]


def refuse_links(root: Path, directory: Path, names: tuple[str, ...]) -> None:
    """Raise UserError for a link in `directory` that leads out of `root`, or nowhere but to itself,
    if its name ends in one of `names`.
    """
    homes = homes_of(root)
    with os.scandir(directory) as entries:
        links = [
            Path(entry.path)
            for entry in entries
            if entry.is_symlink() and entry.name.endswith(names)
        ]
    for link in links:
        if wrong := wrong_link(link, homes):
            raise UserError(wrong)


def homes_of(root: Path) -> list[Path]:
    """Where links in `root` may lead: into it, the first, and of a snapshot in the Hugging Face
    cache, where every file is a link, to the blobs that lie beside the snapshots.
    """
    home = root.resolve()
    return [home, home.parents[1] / "blobs"] if home.parent.name == "snapshots" else [home]


def wrong_link(link: Path, homes: list[Path]) -> str:
    """Why a link is not followed; "" where it is."""
    try:
        os.stat(link)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return f"{link}: a link that leads to itself; remove it"
    if any(link.resolve().is_relative_to(home) for home in homes):
        return ""
    return f"{link}: a link that leads out of {homes[0]}; put there what it points to"


def _plain(
    path: Path, file: BinaryIO, dtype: np.dtype, dimensions: int
) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type in the header of a row-major array that must be of `dtype` and so many
    dimensions.
    """
    try:
        with warnings.catch_warnings(
            action="error"
        ):  # a header that only Python 2 could have written
            shape, fortran, found = _header(file)
    except Exception as error:  # numpy parses the header as Python source and fails in as many ways
        raise UserError(f"{path}: not a readable npy file: {str(error)[:200]}") from None
    if (
        found != dtype
        or len(shape) != dimensions
        or fortran
        or not all(type(n) is int and n >= 0 for n in shape)
    ):
        raise UserError(
            f"{path}: {str(found)[:40]} of shape {str(shape)[:40]}, "
            f"not {dtype} in {dimensions} dimension(s), row-major"
        )
    return shape, found


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether column-major, and type.

    Later versions of the format are for names that no plain array has.
    """
    version = npy.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"version {version} of the format, not (1, 0)")
    return npy.read_array_header_1_0(file)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"an object has a name twice, among {sorted(found)[:3]}")
    return found
