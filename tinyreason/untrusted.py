"""Reading npy and JSON files that anybody may have written: sizes first, then contents, and never a pickle.

Each refusal is a UserError, `path: what is wrong`.
"""

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from tinyreason.errors import UserError

MAX_JSON = 256 << 20  # bytes; the names of a million ARC identifiers take about 30 MB


def read_npy(path: Path, dtype: type, dimensions: int) -> np.ndarray:
    """The array in an npy file, mapped read-only, after its header was held against the file's size."""
    if not path.is_file():
        raise UserError(f"{path}: missing")
    try:
        with path.open("rb") as file:
            shape, fortran, found = _header(file)
            offset = file.tell()
    except Exception as error:  # numpy parses the header as Python source and fails in as many ways
        raise UserError(f"{path}: not a readable npy file: {' '.join(str(error).split())[:200]}") from None
    if found != dtype or len(shape) != dimensions or fortran or min(shape) < 0:
        raise UserError(
            f"{path}: {found} of shape {shape}, not {np.dtype(dtype)} in {dimensions} dimension(s), row-major"
        )
    expected, actual = offset + math.prod(shape) * found.itemsize, path.stat().st_size
    if expected != actual:
        raise UserError(f"{path}: {actual} bytes, its header asks for {expected}")
    if not math.prod(shape):
        raise UserError(f"{path}: empty")
    return np.asarray(np.memmap(path, found, "r", offset, shape))


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether column-major, and type. Later versions of the format are for names that no plain array has."""
    version = npy.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"version {version} of the format, not (1, 0)")
    return npy.read_array_header_1_0(file)


def read_json(path: Path) -> Any:
    """The value in a JSON file of at most MAX_JSON bytes."""
    try:
        if not path.is_file():
            raise UserError(f"{path}: missing")
        if path.stat().st_size > MAX_JSON:
            raise UserError(f"{path}: larger than {MAX_JSON >> 20} MiB")
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: not readable JSON: {str(error)[:200]}") from None


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object")
    return value
