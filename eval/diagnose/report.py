"""The report as numbers for JSON, and as a table for a terminal."""

import math
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from eval.diagnose.words import percent, sentences

DIGITS = 5  # that count, in JSON
WIDTH = 24  # of the first column
LINE = 100  # columns


def plain(value: Any) -> Any:
    """As JSON takes it: lists, rounded floats, and None for what is not finite."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def table(report: dict) -> str:
    """What a terminal shows, about forty lines."""
    parts = (head, by_segment, sentences, tables, left)
    lines = [line for part in parts for line in part(report)]
    return "\n".join(wrapped(line) for line in lines)


def wrapped(line: str) -> str:
    """A long line as several, those after the first indented."""
    if len(line) <= LINE:
        return line
    whole = {"break_long_words": False, "break_on_hyphens": False}
    return "\n".join(textwrap.wrap(line, LINE, subsequent_indent="    ", **whole))


def head(report: dict) -> Iterator[str]:
    """Who was examined."""
    about = report["about"]
    what = f"{about['run']}: {about['model']} on {about['task']}"
    yield f"{what}, {about['puzzles']} puzzles of {about['split']}"
    yield f"trained with {about['trained_segments']} segments, followed through {about['segments']}"
    if about["trained_on"]:
        yield f"note: {about['trained_on']} of these puzzles were trained on (up to symmetry)"
    yield ""


# ---- after each segment


def shown(report: dict) -> list[int]:
    """The segments that have a column: powers of two, the trained number and the last."""
    about = report["about"]
    last = about["segments"]
    powers = {2**i for i in range(last.bit_length()) if 2**i <= last}
    return sorted(powers | {about["at"], last})


def by_segment(report: dict) -> Iterator[str]:
    """A row for each number that changes with the segments."""
    columns = shown(report)
    yield "after segment".ljust(WIDTH) + "".join(f"{k:>7}" for k in columns)
    for name, values in curves(report).items():
        cells = (told(name, values[k - 1]) for k in columns)
        yield name.ljust(WIDTH) + "".join(f"{cell:>7}" for cell in cells)
    yield ""


def curves(report: dict) -> dict[str, list]:
    """name -> (K,) of the rows."""
    depth = report["depth"]
    found = {"exact %": depth["exact"], "ever solved %": depth["ever_solved"]}
    found |= {"regressions %": depth["regressions"], "cells %": depth["cells"]}
    found |= {f"{name} %": values for name, values in report.get("rules", {}).items()}
    if "one_blank" in report:
        found["one blank, exact %"] = report["one_blank"]["exact"]
    for kind in ("solved", "unsolved"):
        if report["residual"][kind]:
            found[f"residual, {kind}"] = report["residual"][kind][1]
    if "tokens" in report:
        found["token correlation"] = report["tokens"]["correlation"]
    return found


def told(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name.endswith("%"):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if abs(value) >= 0.01 else f"{value:.0e}".replace("e-0", "e-")


# ---- small tables


def tables(report: dict) -> Iterator[str]:
    """Sensitivity, difficulty and memory, a line for each row or two."""
    yield ""
    if "sensitivity" in report:
        found = report["sensitivity"]
        title = f"disturbed, after {found['segments']} segments"
        yield f"{title:<{WIDTH + 8}}{'exact':>8}{'same answer':>14}"
        for row in found["rows"]:
            values = f"{percent(row['exact']):>8}{percent(row['same']):>14}"
            yield f"  {row['what']:<{WIDTH + 6}}{values}"
    for one in report.get("difficulty", [])[:1]:
        rows = (f"{row['bucket']}: {percent(row['exact_at_the_end'])}" for row in one["rows"])
        yield f"exact by {one['by']}: {', '.join(rows)}"
    if "memory" in report:
        yield from memory(report["memory"])


def memory(found: dict) -> Iterator[str]:
    """On training puzzles and others."""
    parts = [f"{row['split']} {percent(row['exact'])} of {row['puzzles']}" for row in found["now"]]
    yield f"memory, after {found['segments']} segments: {', '.join(parts)}"
    for row in found.get("checkpoints", []):
        splits = (f"{name} {percent(value)}" for name, value in row.items() if name != "step")
        yield f"  step {row['step']}: {', '.join(splits)}"
    if found.get("log"):
        where = f"from step {found['onset']}" if found["onset"] else "at no step"
        yield f"  by its log, training stays 10 points ahead of held-out puzzles {where}"


def left(report: dict) -> Iterator[str]:
    """What makes no sense here, and why."""
    for name, why in left_out(report):
        yield f"left out: {name}: {why}"


def left_out(report: dict) -> list[tuple[str, str]]:
    """Parts, and what is missing in parts."""
    found = [(row["what"], row["why"]) for row in report["left_out"]]
    for name in ("sensitivity", "memory"):
        found += [(name, why) for why in report.get(name, {}).get("left_out", [])]
    return found
