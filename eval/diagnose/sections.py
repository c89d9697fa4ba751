"""The parts of the report that are arithmetic on the one long look: each takes a Subject and
returns plain numbers, or raises LeftOut.

N puzzles, K segments.
"""

import numpy as np

from data.sudoku import Sudoku
from eval.diagnose import curves, measures
from eval.diagnose.subject import LeftOut, Subject
from tinyreason.rules.maze import MazeRules, is_way, shortest

LARGEST = 9  # side up to which guesses are counted: beyond, a puzzle may take minutes


def depth(subject: Subject) -> dict:
    """Accuracy after each segment, far beyond the trained ones."""
    exact, scored = subject.exact, subject.scored
    ignored = subject.task.facts.ignore_label_id
    right = subject.way.right(subject.rows.labels, ignored) & scored[:, None]
    cells = (right.sum(2) / scored.sum(1)[:, None]).mean(0)
    now, ever = exact.mean(0), curves.ever_solved(exact).mean(0)
    return {
        "exact": now,
        "cells": cells,
        "ever_solved": ever,
        "regressions": ever - now,
        "finished_later": curves.finished_later(exact, subject.at),
        "overthinking": curves.overthinking(exact),
        "fit": curves.fit_error(1 - now),
    }


def residual(subject: Subject) -> dict:
    """How far the latent still moves, and whether that tells right from wrong."""
    left, solved = subject.way.residual, subject.exact[:, -1]
    found = {
        "solved": measures.quartiles(left[solved]),
        "unsolved": measures.quartiles(left[~solved]),
        "wrong": wrong(subject),
    }
    return found | by_depth(subject, -left)


def halting(subject: Subject) -> dict:
    """What the halting head is worth."""
    if not subject.solver.halting.learns:
        raise LeftOut("no halting head is trained (halting.rule=fixed)")
    sure = subject.way.confidence
    found = by_depth(subject, sure) | {"wrong": wrong(subject)}
    for name, k in moments(subject).items():
        bins = measures.reliability(sure[:, k], subject.exact[:, k])
        found[f"bins_{name}"] = bins
        found[f"calibration_error_{name}"] = measures.calibration_error(bins)
    trained = slice(subject.at)
    found["stopping"] = measures.stopping(sure[:, trained], subject.exact[:, trained])
    return found | measures.first_halts(subject.way.wants[:, trained], subject.exact)


def settling(subject: Subject) -> dict:
    """Does it fail by settling on something wrong, or by wandering?"""
    if subject.segments < 2:
        raise LeftOut("one segment has none to change from; use segments=2 or more")
    right, way = subject.exact[:, -1], subject.way
    settled = measures.late_changes(way.answers, subject.scored) == 0
    drift = way.residual[:, -measures.late(subject.segments) :].mean(1)
    spurious = int((settled & ~right).sum())
    return {
        "last_segments": measures.late(subject.segments),
        "table": measures.settle_table(settled, right, drift),
        "spurious": spurious / len(right),
        "spurious_of_settled": spurious / int(settled.sum()) if settled.any() else None,
        "auroc_of_drift": measures.auroc(-drift, right),
    }


def retention(subject: Subject) -> dict:
    """Does what is solved stay solved?"""
    rows = curves.still_solved(subject.exact, subject.at)
    if not rows:
        raise LeftOut(f"needs twice the trained segments; use segments={2 * subject.at} or more")
    return {"solved": int(subject.exact[:, subject.at - 1].sum()), "rows": rows}


def rules(subject: Subject) -> dict:
    """The share of answers that keep the rules, after each segment."""
    answers, inputs = subject.way.answers, subject.rows.inputs
    kept = subject.task.check(inputs, answers[:, 0])
    if not kept:
        raise LeftOut("the task has no rules to check; an answer is right or not")
    rates = {name: [one.mean()] for name, one in kept.items()}
    for k in range(1, answers.shape[1]):
        new = (answers[:, k] != answers[:, k - 1]).any(1)  # the others are as they were
        for name, one in subject.task.check(inputs[new], answers[new, k]).items():
            kept[name][new] = one
        for name, one in kept.items():
            rates[name].append(one.mean())
    return rates


def difficulty(subject: Subject) -> list[dict]:
    """Accuracy by how hard a puzzle is."""
    found = [tabled(subject, by, buckets) for by, buckets in difficulties(subject)]
    return [one for one in found if one["rows"]]


def difficulties(subject: Subject) -> list[tuple]:
    """What makes a puzzle hard, and which puzzles are how hard. Raises LeftOut."""
    task, inputs = subject.task, subject.rows.inputs
    if isinstance(task, Sudoku):
        givens = (inputs != task.rules.blank).sum(1)
        found = [("givens", measures.ranges(givens, measures.each(givens)))]
        if task.facts.grid[0] <= LARGEST:
            guesses = task.guesses(inputs)
            found.insert(0, ("guesses", measures.ranges(guesses, measures.GUESSES)))
        return found
    if isinstance(task.rules, MazeRules):
        steps = shortest(is_way(inputs), inputs, task.facts.grid)
        return [("steps of the shortest path", measures.ranges(steps, measures.quarters(steps)))]
    cells = (inputs != task.facts.pad_id).sum(1)
    if np.ptp(cells) == 0:
        raise LeftOut("all grids are of one size, and nothing else says how hard they are")
    return [("cells that are not padding", measures.ranges(cells, measures.quarters(cells)))]


def tabled(subject: Subject, by: str, buckets: list[tuple]) -> dict:
    """Accuracy in each bucket that is not empty."""
    rows = []
    for name, inside in buckets:
        if inside.any():
            row = {"bucket": name, "puzzles": int(inside.sum())}
            accuracy = {
                f"exact_{k}": subject.exact[inside, i].mean() for k, i in moments_of(subject)
            }
            rows.append(row | accuracy)
    return {"by": by, "rows": rows}


# ---- at the trained depth and at the end


def moments(subject: Subject) -> dict[str, int]:
    """Where in K to look."""
    return {"as_trained": subject.at - 1, "at_the_end": subject.segments - 1}


def moments_of(subject: Subject) -> list[tuple[str, int]]:
    return list(moments(subject).items())


def by_depth(subject: Subject, score: np.ndarray) -> dict:
    """How well `score` (N, K) tells right from wrong."""
    exact = subject.exact
    return {
        f"auroc_{name}": measures.auroc(score[:, k], exact[:, k])
        for name, k in moments(subject).items()
    }


def wrong(subject: Subject) -> dict:
    """How many puzzles such a number rests on."""
    return {name: int((~subject.exact[:, k]).sum()) for name, k in moments(subject).items()}
