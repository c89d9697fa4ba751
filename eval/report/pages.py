"""The page of a run, or of several."""

from collections.abc import Sequence
from math import isnan
from typing import Any

from eval.page import paragraph, section, table, text
from eval.report import draw, examples
from eval.report.costs import COST
from eval.report.curves import Curve, curve, pace, segments_of
from eval.report.draw import Line, chart
from eval.report.log import number
from eval.report.options import differences
from eval.report.outcome import HALTING, RESULT, exact
from eval.report.seen import Seen
from eval.report.sheets import rows_of, sheet
from eval.report.what import WHAT
from tinyreason.errors import UserError
from tinyreason.options import flat


def page_of(runs: Sequence[Seen], most: int | None, words: str) -> list[str]:
    """The parts of a page. `most`: examples solved and failed; None: some, where it can be.

    Raises UserError for examples that were asked for and cannot be had.
    """
    names = [run.name for run in runs]
    return [
        *notes(runs),
        section("What it is", sheet(names, rows_of(runs, WHAT))),
        *outcome(runs, names),
        *curves(runs, names),
        *solved(runs, most),
        section("What it cost", sheet(names, rows_of(runs, COST)), paragraph(COSTS)),
        section("Configuration", *map(options, runs)),
        f'<p class="soft">Made by <code>{text(words)}</code>.</p>',
    ]


COSTS = (
    "A slot-segment is one segment of one puzzle, forward and backward. Seconds are of the clock, "
    "evaluations in them. Matrix products are those of eval.cost, without evaluations."
)


def notes(runs: Sequence[Seen]) -> list[str]:
    """The line to read first of each run, and what is missing of it."""
    told = []
    for run in runs:
        head = f"{run.name}: " if len(runs) > 1 else ""
        found = exact(run)
        puzzles = f" of {run.measure('puzzles'):,} test puzzles" if found else ""
        first = [f"Solves {found}{puzzles} exactly."] if found else ["Not examined on test yet."]
        told.append(paragraph(" ".join([f"{head}{first[0]}", *run.notes])))
    return told


def outcome(runs: Sequence[Seen], names: list[str]) -> list[str]:
    """Accuracy and halting."""
    parts = []
    if any(run.test or run.log.held_out for run in runs):
        parts.append(section("What came of it", sheet(names, rows_of(runs, RESULT))))
    halts = rows_of(runs, HALTING)
    if any(value is not None for _, values in halts for value in values):
        told = paragraph("On the test puzzles; each would stop where the head says it is finished.")
        parts.append(section("Halting", sheet(names, halts), told))
    elif any(run.test for run in runs):
        parts.append(section("Halting", paragraph("No head is trained: puzzles get all segments.")))
    return parts


# ---- curves


def curves(runs: Sequence[Seen], names: list[str]) -> list[str]:
    """All charts, and the evaluations in numbers."""
    charts = [
        of_log(runs, "Training loss", "loss"),
        accuracy(runs),
        by_segment(runs),
        of_log(runs, "Learning rate", "lr"),
        of_log(runs, "Gradient norm", "grad_norm", from_zero=True),
        chart("Seconds a step", lines_of(paces(runs), "seconds"), "step", from_zero=True),
        stays(runs),
        chart("Steps against seconds", clocks(runs), "seconds"),
    ]
    if not any(charts):
        return []
    row = f'<div class="row">{"".join(charts)}</div>'
    return [section("Curves", draw.legend(names), row, *numbers(runs))]


def lines_of(found: Sequence[Curve], key: str, thin: bool = False) -> list[Line]:
    return [Line(one["step"], one[key], place, thin) for place, one in enumerate(found)]


def of_log(runs: Sequence[Seen], title: str, key: str, from_zero: bool = False) -> str:
    """A value of the lines about training against steps."""
    found = [curve(run.log.of("train"), key) for run in runs]
    return chart(title, lines_of(found, key), "step", from_zero=from_zero)


def stays(runs: Sequence[Seen]) -> str:
    """How long puzzles stayed, where some left."""
    left = [[line for line in run.log.of("train") if line.get("puzzles")] for run in runs]
    lines = lines_of([curve(some, "segments") for some in left], "segments")
    return chart("Segments until a puzzle leaves", lines, "step", from_zero=True)


def accuracy(runs: Sequence[Seen]) -> str:
    """On held-out puzzles, and thin beside it in training."""
    key, own = "exact_accuracy", "exact"
    held_out = lines_of([curve(run.log.held_out, key) for run in runs], key)
    training = [curve(run.log.of("train"), own) for run in runs]
    caption = "Held-out puzzles; thin: training puzzles as they leave their slot."
    lines = [*lines_of(training, own, thin=True), *held_out]
    return chart("Exact accuracy", lines, "step", share=True, caption=caption)


def by_segment(runs: Sequence[Seen]) -> str:
    """On the test puzzles."""
    lines = []
    for place, run in enumerate(runs):
        found = segments_of(run.test)
        lines.append(Line(found["step"], found["exact"], place))
    return chart("Exact accuracy after each segment, test", lines, "segment", share=True)


def paces(runs: Sequence[Seen]) -> list[Curve]:
    return [pace(run.log) for run in runs]


def clocks(runs: Sequence[Seen]) -> list[Line]:
    """Steps against seconds."""
    found = [curve(run.log.of("train"), "seconds") for run in runs]
    return [Line(one["seconds"], one["step"], place) for place, one in enumerate(found)]


def numbers(runs: Sequence[Seen]) -> list[str]:
    """The evaluations while training."""
    rows = [
        [run.name, line["step"], f"{line['seconds']:.0f}", *map(told, shares(line))]
        for run in runs
        for line in run.log.held_out
    ]
    if not rows:
        return []
    head = ["run", "step", "seconds", "exact", "blank cells", "where the head stops"]
    summary = "<summary>The evaluations in numbers</summary>"
    return [f"<details>{summary}{table(head, rows)}</details>"]


def shares(line: dict[str, Any]) -> list[float]:
    keys = ("exact_accuracy", "blank_accuracy", "exact_when_halted")
    return [number(line, key) for key in keys]


def told(share: float) -> str | None:
    return None if isnan(share) else f"{share:.1%}"


# ---- examples and options


def solved(runs: Sequence[Seen], most: int | None) -> list[str]:
    """Pictures of each run's puzzles."""
    if most == 0:
        return []
    parts = []
    for run in runs:
        title = "Examples" if len(runs) == 1 else f"Examples: {run.name}"
        try:
            shown = examples.examples(run, most or examples.USUAL)
        except UserError as why:
            if most is not None:
                raise
            shown = paragraph(f"Left out: {why}.")
        parts.append(section(title, paragraph(by_whom(run)), shown))
    return parts


def by_whom(run: Seen) -> str:
    """How the examples came about."""
    step = None if run.result else run.made.get("step")
    when = "" if step is None else f" with the weights of step {step:,}"
    looks = "Blue: what the model filled in; red outline: wrong."
    return f"Puzzles of the test split, solved anew{when}. {looks}"


def options(run: Seen) -> str:
    """What is not as usual, and all of it."""
    found = differences(run.config) if not run.exported else None
    parts = []
    if found is not None:
        words, changed = found
        head = f"Other than with {' '.join(['python train.py', *words])}:"
        rows = [(key, [shown(ours), shown(usual)]) for key, (ours, usual) in changed.items()]
        nothing = paragraph("As that command has it by default, but for its name.")
        parts.append(paragraph(head))
        parts.append(sheet(["here", "by default"], rows, run.name) if rows else nothing)
    every = "\n".join(f"{key}={shown(value)}" for key, value in flat(run.config).items())
    parts.append(f"<details><summary>All of it: {text(run.name)}</summary>")
    parts.append(f"<pre>{text(every)}</pre></details>")
    return "".join(parts)


def shown(value: object) -> str:
    """As it would be typed."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
