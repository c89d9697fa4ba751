"""The page of a comparison, and its picture: a thin line a run, a thick one the mean of an arm."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.charts import look, pyplot, save_png
from eval.page import paragraph, section, table, text
from eval.report import draw
from eval.report.curves import Curve, mean_curve
from eval.report.draw import Line, chart

AXES = {"segments": "slot-segments", "seconds": "seconds"}
HELD_OUT = "Exact accuracy on held-out puzzles"
Arms = dict[str, list[Curve]]  # the curves of the runs of each arm


def parts_of(report: dict[str, Any], losses: Arms, by_segment: Arms, words: str) -> list[str]:
    """What the page holds."""
    head = ["arm", "runs", "exact on test, mean", "sd", "min - max", "slot-segments", "seconds"]
    rows = [[arm, *row(found)] for arm, found in report["arms"].items()]
    return [
        table([*head, "parameters"], rows),
        *tests(report["mcnemar"]),
        section("Curves", *curves(report["curves"], losses, by_segment)),
        f'<p class="soft">Made by <code>{text(words)}</code>.</p>',
    ]


def row(found: dict[str, Any]) -> list[Any]:
    """Of the table, as it is printed."""
    sd = None if found["exact_sd"] is None else f"{found['exact_sd']:.1%}"
    spread = f"{found['exact_min']:.1%} - {found['exact_max']:.1%}"
    costs = [f"{found[key]:,.0f}" for key in ("segments", "seconds", "parameters")]
    return [found["runs"], f"{found['exact_mean']:.1%}", sd, spread, *costs]


def tests(pairs: Sequence[dict[str, Any]]) -> list[str]:
    """McNemar's, puzzle by puzzle."""
    if not pairs:
        return []
    head = ["a", "b", "solved by a alone", "by b alone", "p"]
    rows = [[p["a"], p["b"], p["only_a"], p["only_b"], f"{p['p']:.2g}"] for p in pairs]
    told = "Exact McNemar tests of runs with the same seed, on the same test puzzles."
    return [section("Puzzle by puzzle", paragraph(told), table(head, rows))]


def curves(found: Arms, losses: Arms, by_segment: Arms) -> list[str]:
    """The charts, and what their lines are."""
    ways = AXES.items()
    charts = [
        *(chart(HELD_OUT, lines(found, x, "exact"), name, share=True) for x, name in ways),
        *(chart("Training loss", lines(losses, x, "loss"), name) for x, name in ways),
        chart(
            "Exact after each segment, test", lines(by_segment, "step", "exact"), "segment", True
        ),
    ]
    told = "A thin line is a run, a thick one the mean of its arm, at the steps that all have."
    row = f'<div class="row">{"".join(charts)}</div>'
    return [draw.legend(list(found)), paragraph(told), row]


def lines(arms: Arms, x: str, y: str) -> list[Line]:
    """The runs thin, the means thick and above them."""
    runs = [
        Line(one[x], one[y], place, thin=True)
        for place, found in enumerate(arms.values())
        for one in found
        if len(found) > 1
    ]
    means = [mean_curve(found, x, y) for found in arms.values()]
    return runs + [Line(one[x], one[y], place) for place, one in enumerate(means)]


def save_picture(arms: Arms, path: Path) -> None:
    """Accuracy on held-out puzzles, as PNG. Raises NoPictures without the viz extra."""
    with look():
        figure, axes = pyplot().subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
        for axis, (x, name) in zip(axes, AXES.items(), strict=True):
            handles = draw.on_axis(axis, lines(arms, x, "exact"), name, True)
        axes[0].set_ylabel(HELD_OUT.lower())
        axes[0].legend(handles[-len(arms) :], [plain(arm) for arm in arms])
        save_png(figure, path)


def plain(name: str) -> str:
    """As matplotlib shows it: a dollar would begin a formula, an underscore hide the line."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")
