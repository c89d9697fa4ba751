"""A data set on disk, in the folder format of HRM and TRM (`PuzzleDataset` of either reads what is
written here).

    identifiers.json                           names of the puzzle identifiers, [0] = "<blank>"
    tinyreason.json                            what the references do not know: grid, box, origin
    {train,valid,test}/dataset.json            the facts of the split
    {train,valid,test}/all__inputs.npy         (N, S) uint8
    {train,valid,test}/all__labels.npy         (N, S) uint8
    {train,valid,test}/all__puzzle_indices.npy (P + 1,) int32
    {train,valid,test}/all__group_indices.npy  (G + 1,) int32
    {train,valid,test}/all__puzzle_identifiers.npy (P,) int32

An empty split has no folder. Folders come from anywhere, so reading trusts nothing: sizes are
checked before memory is asked for, nothing is unpickled, and every index stays in range. Each
refusal is a UserError, `path: what is wrong`.

N examples, S cells, P puzzles, G groups.
"""

import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tinyreason.errors import UserError
from tinyreason.puzzle import SPLITS, Facts, Puzzles
from tinyreason.untrusted import read_json, read_npy, read_object, refuse_links, shown

ARRAYS = {  # name: (dtype, dimensions)
    "inputs": (np.uint8, 2),
    "labels": (np.uint8, 2),
    "puzzle_identifiers": (np.int32, 1),
    "puzzle_indices": (np.int32, 1),
    "group_indices": (np.int32, 1),
}
NOTES = "tinyreason.json"
LINKS = (".json", ".npy", *SPLITS)  # what is read, by the end of its name
MAX_FACTS = 1 << 20  # bytes of dataset.json and tinyreason.json
MAX_NAME = 200  # characters of the name of an identifier
ROWS = 1 << 16  # examples looked at together


def write(
    out: Path,
    splits: dict[str, Puzzles],
    facts: Facts,
    identifiers: list[str],
    set_name: str = "all",
    notes: dict[str, Any] | None = None,
) -> None:
    """Write a data set to `out`, which must be new or empty: all of it or, after a failure,
    nothing.

    `notes` (JSON types: generator, seed, kind of rating ...) goes to a file of its own, because the
    references refuse a `dataset.json` with a field that they do not know. Raises UserError where
    `out` is taken or cannot be written.
    """
    if len(identifiers) != facts.num_puzzle_identifiers:
        raise ValueError(f"{len(identifiers)} names for {facts.num_puzzle_identifiers} identifiers")
    partial = out.parent / f".{out.name}.{os.getpid()}.partial"
    try:
        refuse_taken(out)
        partial.mkdir(parents=True)
        try:
            for name, puzzles in splits.items():
                if len(puzzles):
                    _write_split(partial / name, puzzles, facts, set_name)
            _dump(partial / "identifiers.json", identifiers)
            _dump(partial / NOTES, {"grid": facts.grid, "box": facts.box, **(notes or {})})
            partial.rename(out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error}") from None


def refuse_taken(out: Path) -> None:
    """Raise UserError unless `out` is free: no such path yet, or an empty directory."""
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UserError(
            f"{out}: exists already and is not an empty directory; remove it or name another"
        )


def read(path: Path) -> tuple[Facts, dict[str, Puzzles], list[str]]:
    """The facts, the three splits (without a folder: empty) and the names of the identifiers.

    Inputs and labels are mapped from disk, read-only. Folders built by HRM, which lack
    `total_puzzles`, are accepted.
    """
    if not (path / "train" / "dataset.json").is_file():
        raise UserError(f"{path}: no train/dataset.json in it")
    present = [name for name in SPLITS if (path / name).is_dir()]
    for directory in (path, *(path / name for name in present)):
        refuse_links(path, directory, LINKS)
    stated = {name: _facts(path / name / "dataset.json", read_notes(path)) for name in present}
    facts = stated["train"]
    for name, other in stated.items():
        if other != facts:
            raise UserError(
                f"{path / name / 'dataset.json'}: does not agree with train/dataset.json"
            )
    splits = {
        name: _read_split(path / name, facts) if name in present else _empty(facts)
        for name in SPLITS
    }
    return facts, splits, _identifiers(path / "identifiers.json", facts)


def read_notes(path: Path) -> dict[str, Any]:
    """What `tinyreason.json` says of how the data set was made; {} in a folder that another program
    wrote.
    """
    return read_object(path / NOTES, MAX_FACTS) if (path / NOTES).is_file() else {}


def _write_split(path: Path, puzzles: Puzzles, facts: Facts, set_name: str) -> None:
    path.mkdir()
    for name, (dtype, _) in ARRAYS.items():
        array = getattr(puzzles, name)
        if array.dtype != dtype:
            raise ValueError(f"{name} must be {np.dtype(dtype)}, not {array.dtype}")
        np.save(path / f"{set_name}__{name}.npy", np.ascontiguousarray(array))
    groups, count = len(puzzles.group_indices) - 1, len(puzzles.puzzle_identifiers)
    stated = {
        "pad_id": facts.pad_id,
        "ignore_label_id": facts.ignore_label_id,
        "blank_identifier_id": facts.blank_identifier_id,
        "vocab_size": facts.vocab_size,
        "seq_len": facts.seq_len,
        "num_puzzle_identifiers": facts.num_puzzle_identifiers,
        "total_groups": groups,
        "mean_puzzle_examples": len(puzzles) / count,
        "total_puzzles": count,
        "sets": [set_name],
    }
    _dump(path / "dataset.json", stated)


def _dump(path: Path, value: Any) -> None:
    path.write_text(
        json.dumps(value, indent=None if isinstance(value, list) else 2) + "\n", encoding="utf-8"
    )


def _empty(facts: Facts) -> Puzzles:
    nothing = np.zeros((0, facts.seq_len), np.uint8)
    return Puzzles.single(nothing, nothing)


def _read_split(path: Path, facts: Facts) -> Puzzles:
    stated = read_object(path / "dataset.json", MAX_FACTS)
    set_name = _set_name(path / "dataset.json", stated)
    files = {name: path / f"{set_name}__{name}.npy" for name in ARRAYS}
    arrays = {name: read_npy(files[name], *ARRAYS[name]) for name in ARRAYS}
    for name in ("inputs", "labels"):
        _check_shape(files[name], arrays[name], (len(arrays["inputs"]), facts.seq_len))
    identifiers = arrays["puzzle_identifiers"]
    _check_edges(
        files["puzzle_indices"], arrays["puzzle_indices"], len(identifiers), len(arrays["inputs"])
    )
    _check_edges(
        files["group_indices"], arrays["group_indices"], stated["total_groups"], len(identifiers)
    )
    if identifiers.min() < 0 or identifiers.max() >= facts.num_puzzle_identifiers:
        raise UserError(
            f"{files['puzzle_identifiers']}: identifiers "
            f"outside 0..{facts.num_puzzle_identifiers - 1}"
        )
    for name in ("inputs", "labels"):  # last, since they may be large
        _check_tokens(files[name], arrays[name], facts.vocab_size)
    return Puzzles(**arrays)


def _check_shape(path: Path, array: np.ndarray, shape: tuple[int, int]) -> None:
    if array.shape != shape:
        raise UserError(f"{path}: shape {array.shape}, not {shape}")


def _check_tokens(path: Path, array: np.ndarray, vocab_size: int) -> None:
    for start in range(0, len(array), ROWS):
        largest = array[start : start + ROWS].max(1)
        if largest.max() >= vocab_size:
            row = int(np.argmax(largest >= vocab_size))
            raise UserError(
                f"{path}: example {start + row} has a token "
                f"of {largest[row]}, vocab_size is {vocab_size}"
            )


def _check_edges(path: Path, edges: np.ndarray, count: int, end: int) -> None:
    """Edges must cut 0..end into `count` pieces, none of them empty: a draw picks one item of each
    piece.
    """
    if len(edges) != count + 1:
        raise UserError(f"{path}: {len(edges)} entries, not {count + 1}")
    if edges[0] != 0 or edges[-1] != end or (np.diff(edges.astype(np.int64)) <= 0).any():
        raise UserError(f"{path}: must rise strictly from 0 to {end}")


def _identifiers(path: Path, facts: Facts) -> list[str]:
    names = read_json(path)
    if not isinstance(names, list) or not all(_is_name(name) for name in names):
        raise UserError(f"{path}: not a list of names of 1 to {MAX_NAME} printable characters")
    if len(names) != facts.num_puzzle_identifiers:
        raise UserError(
            f"{path}: {len(names)} names, num_puzzle_identifiers is {facts.num_puzzle_identifiers}"
        )
    return names


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= MAX_NAME and value.isprintable()


def _set_name(path: Path, stated: dict[str, Any]) -> str:
    sets = stated.get("sets")
    name = sets[0] if isinstance(sets, list) and len(sets) == 1 else None
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]{1,64}", name, re.ASCII):
        raise UserError(
            f"{path}: sets must be a list of one plain name, "
            f"not {shown(sets if name is None else name)}"
        )
    return name


def _facts(path: Path, notes: dict[str, Any]) -> Facts:
    stated = read_object(path, MAX_FACTS)
    vocab = _integer(path, stated, "vocab_size", 1, 256)
    cells = _integer(path, stated, "seq_len", 1, 1 << 16)
    identifiers = _integer(path, stated, "num_puzzle_identifiers", 1, 1 << 31)
    _integer(path, stated, "total_groups", 1, 1 << 31)
    ignored = stated.get("ignore_label_id")
    grid = _grid(path, cells, notes)
    return Facts(
        vocab_size=vocab,
        grid=grid,
        box=_box(path, grid, notes),
        pad_id=_integer(path, stated, "pad_id", 0, vocab - 1),
        ignore_label_id=None
        if ignored is None
        else _integer(path, stated, "ignore_label_id", 0, 255),
        blank_identifier_id=_integer(path, stated, "blank_identifier_id", 0, identifiers - 1),
        num_puzzle_identifiers=identifiers,
    )


def _integer(path: Path, stated: dict[str, Any], key: str, low: int, high: int) -> int:
    value = stated.get(key)
    if type(value) is not int or not low <= value <= high:  # a bool is an int too
        raise UserError(f"{path}: {key} must be an integer in {low}..{high}, not {shown(value)}")
    return value


def _grid(path: Path, cells: int, notes: dict[str, Any]) -> tuple[int, int]:
    """The references store only the number of cells; unless noted, the grid is square."""
    side = math.isqrt(cells)
    grid = _pair(path, notes, "grid") or (side, side)
    if grid[0] * grid[1] != cells:
        raise UserError(f"{path}: seq_len {cells} is not a grid of {grid[0]} x {grid[1]} cells")
    return grid


def _box(path: Path, grid: tuple[int, int], notes: dict[str, Any]) -> tuple[int, int] | None:
    box = _pair(path, notes, "box")
    if box and (grid[0] % box[0] or grid[1] % box[1]):
        raise UserError(
            f"{path.parents[1] / NOTES}: no grid of {grid[0]} "
            f"x {grid[1]} has boxes of {box[0]} x {box[1]}"
        )
    return box


def _pair(path: Path, notes: dict[str, Any], key: str) -> tuple[int, int] | None:
    """(rows, columns) that `tinyreason.json`, beside the split of `path`, notes under a key; None
    without it.
    """
    value = notes.get(key)
    if value is None:
        return None
    fits = (
        isinstance(value, list)
        and len(value) == 2
        and all(type(n) is int and 1 <= n <= 1 << 16 for n in value)
    )
    if not fits:
        raise UserError(
            f"{path.parents[1] / NOTES}: {key} must be [rows,columns], not {shown(value)}"
        )
    return value[0], value[1]
