"""The report as numbers for JSON, and as a table for a terminal."""

import math
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

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


# ---- in words


def sentences(report: dict) -> Iterator[str]:
    """The numbers that stand alone, a line each."""
    yield from thinking(report)
    yield f"a low residual finds right answers: AUROC {pair(report, report['residual'])}"
    if "halting" in report:
        yield from halting(report)
    if "settling" in report:
        yield settling(report["settling"])
    if "retention" in report:
        kept = report["retention"]
        parts = [f"{percent(row['still_solved'])} after {row['segments']}" for row in kept["rows"]]
        solved = f"{kept['solved']} solved after {report['about']['at']} segments"
        yield f"of the {solved}, still solved: {', '.join(parts)}"


def thinking(report: dict) -> Iterator[str]:
    """Where it is best, where it begins to hurt, and where the error goes."""
    depth, about = report["depth"], report["about"]
    over = depth["overthinking"]
    best = f"best: {percent(over['best_exact'])} exact after segment {over['best_segment']}"
    worse = "it does not overthink"
    if over["from"]:
        worse = f"it overthinks from segment {over['from']} (McNemar p = {over['p']:.2g})"
    yield f"{best}; {worse}"
    if depth["finished_later"] is not None:
        wrong = f"{report['residual']['wrong']['as_trained']} puzzles wrong after {about['at']}"
        share = percent(depth["finished_later"])
        yield f"of the {wrong} segments, {share} are right at some later one"
    yield f"error: {law(depth['fit'])}"


def law(fit: dict) -> str:
    """The law of the error with its standard errors."""
    if "why" in fit:
        return f"no fit; {fit['why']}"
    values, spread = fit["parameters"], fit["standard_errors"]
    e_inf, A, L = (f"{values[name]:.3g} ({spread[name]:.2g})" for name in ("e_inf", "A", "L"))
    edge = f"; at a bound: {', '.join(fit['at_a_bound'])}" if fit["at_a_bound"] else ""
    return f"{e_inf} + {A} exp(-{L} k), standard errors in (), R2 {fit['R2']:.3f}{edge}"


def halting(report: dict) -> Iterator[str]:
    """What the halting head knows."""
    found, about = report["halting"], report["about"]
    error = ", ".join(
        f"{number(found[f'calibration_error_{name}'])} after {k}" for name, k in moments(about)
    )
    yield f"a sure halting head finds right answers: AUROC {pair(report, found)}"
    yield f"calibration error of the halting head: {error}"
    if not found["halted"]:
        yield "the head never halts"
        return
    false = f"{found['false_accepts']} of them wrongly ({percent(found['false_accept_rate'])})"
    mean = f"after {found['mean_segment']:.1f} segments on average"
    yield f"it halts {found['halted']} of {about['puzzles']} puzzles, {mean}, {false}"


def settling(found: dict) -> str:
    """The table of two by two in a line."""
    counts = {(row["way"], row["answer"]): row["count"] for row in found["table"]}
    ways = (
        f"{way} {counts[way, 'right']} right, {counts[way, 'wrong']} wrong"
        for way in ("settled", "wandering")
    )
    drift = f"a low late drift finds right answers: AUROC {number(found['auroc_of_drift'])}"
    return f"in the last {found['last_segments']} segments: {'; '.join(ways)}; {drift}"


def moments(about: dict) -> list[tuple[str, int]]:
    """The two segments at which such numbers are told, one if they are the same."""
    both = [("as_trained", about["at"]), ("at_the_end", about["segments"])]
    return both[:1] if about["at"] == about["segments"] else both


def pair(report: dict, found: dict) -> str:
    """AUROC at both, and what it rests on."""
    parts = []
    for name, k in moments(report["about"]):
        value = number(found[f"auroc_{name}"])
        parts.append(f"{value} after {k} ({found['wrong'][name]} wrong)")
    return ", ".join(parts)


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


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
