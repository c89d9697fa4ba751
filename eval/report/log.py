"""What a run wrote down: `log.jsonl` and `result.json`, every number checked.

A line of the log is a JSON object with `kind` ("train", "eval", "final"), `step` and `seconds`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyreason.errors import UserError
from tinyreason.run.folder import parsed
from tinyreason.untrusted import read_object

KINDS = ("train", "eval", "final")
COUNTS = (
    "steps",
    "segments",
    "puzzles_seen",
    "seconds",
    "parameters",
    "peak_memory",
)  # of a result


@dataclass(frozen=True)
class Log:
    """The lines of a log in the order of their steps."""

    lines: list[dict[str, Any]]
    torn: bool = False  # the last line is not whole, and left out

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["kind"] == kind]

    @property
    def held_out(self) -> list[dict[str, Any]]:
        """Evaluations while training, on puzzles that are not the test puzzles."""
        return [line for line in self.of("eval") if line.get("split") != "test"]


def read_log(path: Path) -> Log:
    """A log; an empty one where there is no file. Raises UserError for a damaged one.

    The last line may be torn: it is being written, or its process was killed.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    texts = text.splitlines()
    records = [parsed(one) for one in texts]
    torn = bool(records) and records[-1] is None and not text.endswith("\n")
    if torn:
        records.pop()
    for number, record in enumerate(records, start=1):
        if record is None or not all(map(is_number, (record["step"], record.get("seconds")))):
            advice = "delete the line, or leave the run out"
            raise UserError(f"{path}:{number}: damaged, not a line of a log; {advice}")
        check_numbers(f"{path}:{number}", record, record.keys() - {"kind", "split"})
    return Log(in_order(record for record in records if record["kind"] in KINDS), torn)


def in_order(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that count: a run that went back made those after that step again."""
    kept: list[dict[str, Any]] = []
    for record in records:
        while kept and not older(kept[-1], record):
            kept.pop()
        kept.append(record)
    return kept


def older(one: dict[str, Any], record: dict[str, Any]) -> bool:
    """A line stands before `record` in a run that never went back."""
    places = [(line["step"], KINDS.index(line["kind"])) for line in (one, record)]
    same = places[0] == places[1] and one.get("split") == record.get("split")
    return places[0] <= places[1] and not same


def read_result(path: Path) -> dict[str, Any] | None:
    """What a run came to; None where it has not come to anything yet. Raises UserError for a
    damaged file.
    """
    if not path.is_file():
        return None
    try:
        found = read_object(path)
    except UserError as why:
        raise UserError(f"{path}: damaged ({why}); leave the run out") from None
    if not isinstance(found.get("test"), dict) or not isinstance(found.get("finished"), bool):
        raise UserError(f"{path}: damaged, not a result of training; leave the run out")
    if not isinstance(found.get("versions", {}), dict):
        raise UserError(f"{path}: damaged, versions is no object; leave the run out")
    check_numbers(str(path), found, COUNTS)
    check_numbers(str(path), found["test"], found["test"].keys() - {"solved", "puzzles_sha256"})
    return found


def check_numbers(where: str, record: dict[str, Any], keys: Iterable[str]) -> None:
    """Raises UserError for a value that is neither a number nor null nor a list of numbers."""
    for key in keys:
        value = record.get(key)
        good = all(map(is_number, value)) if isinstance(value, list) else is_number(value)
        if value is not None and not good:
            raise UserError(f"{where}: damaged, {key} is no number; leave the run out")


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(record: dict[str, Any], key: str) -> float:
    """A value of a line; not a number (NaN) where it is missing."""
    value = record.get(key)
    return float(value) if is_number(value) else math.nan
