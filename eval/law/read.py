"""Rows of a law from a CSV file, every value checked."""

import csv
import math
from pathlib import Path

import numpy as np

from eval.law.laws import Law, Recurrence, Rows, Saturating
from tinyreason.errors import UserError

MOST_ROWS = 100_000
MOST_BYTES = 1 << 26


def read(path: Path, law: Law) -> tuple[Rows, np.ndarray | None]:
    """The law's columns (n,) by name, and the groups that the file states. Raises UserError."""
    lines = lines_of(path)
    if not lines:
        raise UserError(f"{path}: empty; the first line must be {','.join(law.columns)}")
    head = [name.strip() for name in lines[0][1]]
    for name in head:
        if head.count(name) > 1:
            raise UserError(f"{path}: two columns are called {name}; leave one out")
    if missing := [name for name in law.columns if name not in head]:
        has = f"{path} has the columns {', '.join(head)}"
        raise UserError(f"{has}, and no {missing[0]}; use {','.join(law.columns)}[,group]")
    places = {name: head.index(name) for name in law.columns}
    rows = [numbers(path, number, cells, places, len(head)) for number, cells in lines[1:]]
    table = np.array(rows, float).reshape(len(rows), len(places))
    columns = dict(zip(places, table.T, strict=True))
    groups = None
    if "group" in head:
        names = [cells[head.index("group")].strip() for _, cells in lines[1:]]
        groups = np.unique(names, return_inverse=True)[1]
    refuse_few(path, law, columns)
    return columns, groups


def lines_of(path: Path) -> list[tuple[int, list[str]]]:
    """The lines that are not empty, each with its number."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: larger than {MOST_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8-sig")
        found = list(enumerate(csv.reader(text.splitlines(), strict=True), start=1))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: no CSV file in UTF-8 ({error})") from None
    if len(found) > MOST_ROWS:
        raise UserError(f"{path}: more than {MOST_ROWS:,} rows")
    if found and len(found[0][1]) == 1 and any(mark in found[0][1][0] for mark in ";\t"):
        raise UserError(f"{path}: columns are divided by something else; use commas")
    return [(number, cells) for number, cells in found if any(cell.strip() for cell in cells)]


def numbers(
    path: Path, number: int, cells: list[str], places: dict[str, int], width: int
) -> list[float]:
    """The values of one row. Raises UserError, `file:row: what is wrong`."""
    if len(cells) != width:
        raise UserError(f"{path}:{number}: {len(cells)} cells, and the first line has {width}")
    return [value_of(path, number, name, cells[place]) for name, place in places.items()]


def value_of(path: Path, number: int, name: str, text: str) -> float:
    where = f"{path}:{number}: {name}={text.strip()[:40]}"
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where} is no number") from None
    if not math.isfinite(value) or value > 1e300:
        raise UserError(f"{where} is not finite; leave the row out")
    if value < 0 or (value == 0 and name not in ("n_once", "L", "T", "loss")):
        raise UserError(f"{where} must be above 0")
    if name == "r" and value < 1:
        raise UserError(f"{where} must be 1 or more")
    return value


def refuse_few(path: Path, law: Law, rows: Rows) -> None:
    """Raises UserError where the rows cannot say what is asked of them."""
    count = len(rows["loss"])
    if count < law.least:
        raise UserError(
            f"{path}: {count} rows; a fit of {len(law.names)} numbers takes {law.least}"
        )
    if isinstance(law, Saturating):
        if len(np.unique(rows[law.columns[0]])) < 3:
            raise UserError(
                f"{path}: fewer than 3 different {law.columns[0]}; the curve needs more"
            )
        return
    if (rows["loss"] <= 0).any():
        raise UserError(f"{path}: a loss of 0 has no logarithm; leave the row out")
    if isinstance(law, Recurrence) and "r" in rows and len(np.unique(rows["r"])) < 2:
        what = f"{path}: every row has r={rows['r'][0]:g}, so phi could be anything"
        raise UserError(f"{what}; add runs with another number of recursions, r=1 among them")
    sizes = {"D": rows["D"], "N": rows.get("N", rows.get("n_rec"))}
    for name, values in sizes.items():
        if len(np.unique(values)) < 2:
            raise UserError(
                f"{path}: every row has the same {name}; vary it, or its exponent is lost"
            )


def warnings(rows: Rows) -> list[str]:
    """What a fit cannot be trusted in. The figures were measured on synthetic losses."""
    found = []
    if "r" in rows and rows["r"].min() > 1:
        found.append(
            "no run has r=1: phi and A trade places (sd of phi 0.5 to 0.6 at a noise of 0.35 %, "
            "0.03 with r=1); add some"
        )
    count = len(rows["loss"])
    if "r" in rows and count < 24:
        found.append(f"{count} rows: the interval of phi is wide unless the noise is far below 1 %")
    return found
