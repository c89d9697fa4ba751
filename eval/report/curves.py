"""Curves of runs, as numbers: what a log says against steps, and the mean over seeds.

A curve is a dict of columns of one length, "step" first.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median
from typing import Any

from eval.report.log import Log, is_number, number

Curve = dict[str, list[float]]


def curve(lines: Sequence[dict[str, Any]], *keys: str) -> Curve:
    """The columns `keys` of the lines that have the first of them."""
    having = [line for line in lines if is_number(line.get(keys[0]))]
    columns: Curve = {"step": [line["step"] for line in having]}
    return columns | {key: [number(line, key) for line in having] for key in keys}


def segments_of(found: dict[str, Any]) -> Curve:
    """Accuracy after each segment, counted from 1, in the metrics of some puzzles; empty for one
    segment alone, which is no curve.
    """
    values = found.get("exact_by_segment")
    several = isinstance(values, list) and len(values) > 1
    values = [float(one) for one in values] if several else []
    return {"step": list(range(1, len(values) + 1)), "exact": values}


def mean_curve(curves: Sequence[Curve], *keys: str) -> Curve:
    """The mean of the columns `keys` over runs, at the steps that all of them have."""
    shared = sorted(set.intersection(*(set(one["step"]) for one in curves)))
    places = [{step: i for i, step in enumerate(one["step"])} for one in curves]
    found: Curve = {"step": shared}
    for key in keys:
        found[key] = [
            mean(one[key][place[step]] for one, place in zip(curves, places, strict=True))
            for step in shared
        ]
    return found


def intervals(log: Log) -> list[tuple[int, int, float, bool]]:
    """(first step, last step, seconds, whether puzzles were examined in it) between two lines about
    training.
    """
    edges = [(line["step"], line["seconds"]) for line in log.of("train")]
    examined = [line["step"] for line in log.of("eval")]
    found = []
    for (step, seconds), (later, then) in pairwise(edges):
        inside = any(step <= one < later for one in examined)
        found.append((step, later, then - seconds, inside))
    return found


def pace(log: Log) -> Curve:
    """Seconds a step, without the time of evaluations: intervals that have one are left out, unless
    all do.
    """
    found = intervals(log)
    kept = [one for one in found if not one[3]] or found
    each = [seconds / (later - step) for step, later, seconds, _ in kept]
    return {"step": [later for _, later, _, _ in kept], "seconds": each}


def evaluations(log: Log) -> tuple[float, int] | None:
    """Seconds of evaluations while training, and of how many: the intervals with one less the
    median pace of the others. None where every interval has one, or none has.

    Checkpoints written in the same intervals are in it. The last evaluation and the one on test,
    after which nothing is logged, are not.
    """
    found = intervals(log)
    plain = [seconds / (later - step) for step, later, seconds, inside in found if not inside]
    having = [one for one in found if one[3]]
    if not plain or not having:
        return None
    usual = median(plain)
    more = [seconds - usual * (later - step) for step, later, seconds, _ in having]
    return sum(max(0.0, one) for one in more), len(having)
