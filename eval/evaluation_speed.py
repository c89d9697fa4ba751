"""What does stopping early save, in seconds? `python -m eval.evaluation_speed run=runs/NAME`

    python -m eval.evaluation_speed run=pretrained/sudoku6
    python -m eval.evaluation_speed run=runs/maze-trm confidence=0.9 puzzles=200 repeats=5

Solves the first puzzles= (1000) of the test split with all segments and, in turn, with slots that
are refilled where the halting head is as sure as confidence= (0.95) says, repeats= (3) times.
Prints the seconds, which are of the CPU unless the device is another, and the ratio.
"""

import sys
import time
from dataclasses import replace
from statistics import median
from typing import NamedTuple

import torch

from conf import help
from conf.cli import one_line
from eval.cost.report import count_of, split
from eval.load import open_run, puzzles_for
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Rows
from tinyreason.solver import Attempt, Solver

DEFAULTS = {"run": None, "confidence": "0.95", "puzzles": "1000", "repeats": "3"}


class Timed(NamedTuple):
    """One way to solve the same puzzles."""

    seconds: list[float]  # of each repeat
    attempt: Attempt


def timed(solvers: list[Solver], rows: Rows, facts: Facts, repeats: int) -> list[Timed]:
    """All of them in turn, A B A B, after a first puzzle that is not counted."""
    clock = time.process_time if solvers[0].device.type == "cpu" else time.perf_counter
    for solver in solvers:
        solver(Rows(*(field[:1] for field in rows)), facts)
    seconds, attempts = [[] for _ in solvers], [None for _ in solvers]
    for _ in range(repeats):
        for i, solver in enumerate(solvers):
            began = clock()
            attempts[i] = solver(rows, facts)
            seconds[i].append(clock() - began)
    return [Timed(*each) for each in zip(seconds, attempts, strict=True)]


def main(words: list[str]) -> None:
    if help.asked(words):
        print(help.plain_page(__doc__))
        return
    options, others = split(words, DEFAULTS)
    run, confidence = options["run"], number("confidence", options)
    if run is None or others or not 0 <= confidence <= 1:
        usage = "run=runs/NAME [confidence=0.95] [puzzles=1000] [repeats=3]"
        raise UserError(f"usage: python -m eval.evaluation_speed {usage}")
    puzzles, repeats = (count_of(key, options[key]) for key in ("puzzles", "repeats"))
    trained = open_run(run, device=pick_device("auto"))
    examined = puzzles_for(trained, "test", None, puzzles)
    rows, every = examined.puzzles.rows(slice(puzzles)), trained.solver(halt=False)
    sure = replace(every, halt=True, confidence=confidence)
    found = timed([every, sure], rows, examined.task.facts, repeats)
    ratios = sorted(a / b for a, b in zip(found[0].seconds, found[1].seconds, strict=True))
    slots, threads = every.slots(*rows.inputs.shape), torch.get_num_threads()
    print(f"{len(rows.inputs)} puzzles, {slots} at once, threads={threads}, {trained.device}")
    for name, one in zip(("all segments", "refilled"), found, strict=True):
        exact, segments = one.attempt.exact[:, -1].mean(), one.attempt.segments.mean()
        print(f"{name}: {median(one.seconds):.2f} s, {segments:.2f} segments, exact {exact:.1%}")
    print(f"ratio {median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]")


def number(key: str, options: dict[str, str]) -> float:
    """Raises UserError."""
    try:
        return float(options[key])
    except ValueError:
        raise UserError(f"{key}={options[key]} must be a number") from None


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
