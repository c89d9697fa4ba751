"""Which rows of a file are used: as many as are asked for, chosen by seed; the others are not even
looked at.

N records.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from data.table import Record, Table
from data.task import require
from tinyreason.errors import UserError

WHOLE = 3000  # a file of no more rows is read whole, and so checked whole
FIT = {"test": (1000, 5), "valid": (256, 10), "train": (1000, 1)}  # (most, one of so many)
SPARE = 1.25  # looked at for each row that is asked for: some repeat others
SHOWN = 3  # rows that a message names


class Picked:
    """What is to be told about the rows of the files that are read."""

    def __init__(self, bad: str):
        require("bad", bad, bad in ("refuse", "skip"), "refuse or skip")
        self.refuse, self.notes = bad == "refuse", []
        self.skipped: dict[Path, list[tuple[int, str]]] = {}

    def bad(self, path: Path, row: int, why: str) -> None:
        """A row that is no puzzle: refused, or left out and counted."""
        if self.refuse:
            raise UserError(f"{path}:{row}: {why} (task.bad=skip leaves such rows out)")
        self.skipped.setdefault(path, []).append((int(row), why))

    def say(self, note: str) -> None:
        self.notes.append(note)

    def told(self) -> list[str]:
        """The notes, and what was left out."""
        return self.notes + [
            f"{path}: {len(rows)} rows are left out: "
            + "; ".join(f"row {row}: {why}" for row, why in rows[:SHOWN])
            for path, rows in self.skipped.items()
        ]


def records(
    table: Table, wanted: int | None, seed: int, within: tuple[float | None, float | None]
) -> tuple[list[Record], int]:
    """(`wanted` or somewhat more of a table's records, in file order; how many there are).

    None: all. A file of up to WHOLE records is taken whole. `within`: least and most rating.
    """
    head: list[Record] = []
    total = 0
    for record in rated(table, within):
        if total < WHOLE:
            head.append(record)
        total += 1
    some = None if wanted is None else int(wanted * SPARE) + 64
    if total <= WHOLE:
        return head, total
    if some is None or some >= total:
        return list(rated(table, within)), total
    rng = np.random.Generator(np.random.PCG64([seed, total]))
    chosen = np.zeros(total, bool)
    chosen[rng.permutation(total)[:some]] = True
    return [one for one, use in zip(rated(table, within), chosen, strict=True) if use], total


def rated(table: Table, within: tuple[float | None, float | None]) -> Iterable[Record]:
    """The records whose rating is in range. Raises UserError where a table has none."""
    least, most = within
    if (least is not None or most is not None) and not table.rated:
        raise UserError(
            f"{table.path}: no column rating or difficulty, which task.min_rating and "
            "task.max_rating go by"
        )
    for record in table.rows():
        low = least is not None and (record.rating is None or record.rating < least)
        high = most is not None and (record.rating is None or record.rating > most)
        if not low and not high:
            yield record


def fit(total: int, counts: dict[str, Any], where: str) -> dict[str, int]:
    """How many of the `total` puzzles of a file each split gets.

    `counts`: a number; None for all that are left; "auto" for what suits the file. The splits are
    served in the order test, train, valid. Raises UserError if more are asked for than there are.
    """
    numbers = {split: count for split, count in counts.items() if type(count) is int}
    asked = sum(numbers.values())
    if asked > total:
        told = " + ".join(f"task.{split}_puzzles={count}" for split, count in numbers.items())
        raise UserError(
            f"{told} = {asked}, but {where} has {total} puzzles; ask for fewer, or null"
        )
    left, found = total - asked, dict(numbers)
    alone = len(counts) == 1
    for split in ("test", "valid"):
        if counts.get(split) == "auto":
            most, share = FIT[split]
            found[split] = min(most, left if alone else total // share, left)
            left -= found[split]
    if counts.get("train") == "auto":
        found["train"] = min(FIT["train"][0], left)
        left -= found["train"]
    for split in ("test", "train", "valid"):
        if split in counts and counts[split] is None:
            found[split], left = left, 0
    return found


def wanted_of(counts: dict[str, Any]) -> int | None:
    """How many puzzles the splits ask of a file; None: all that it has."""
    if any(count is None for count in counts.values()):
        return None
    return sum(FIT[split][0] if count == "auto" else count for split, count in counts.items())


def choose(total: int, counts: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    """Disjoint random choices among `total` puzzles, in file order each."""
    order, at, chosen = np.random.Generator(np.random.PCG64(seed)).permutation(total), 0, {}
    for split in ("test", "train", "valid"):
        if split in counts:
            chosen[split] = np.sort(order[at : at + counts[split]])
            at += counts[split]
    return chosen
