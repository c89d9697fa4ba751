"""The charts of the report; each draws a part of it on an axis of matplotlib."""

import math
from collections.abc import Callable
from pathlib import Path

from eval.charts import COLOURS, as_svg, look, pyplot, save_png
from eval.diagnose.curves import error_at
from eval.diagnose.words import moments

BLUE, ORANGE, GREEN, PINK, VIOLET, OCHRE = COLOURS
SIZE = (4.8, 3.1)  # inches


def depth(axis, report: dict) -> None:
    """Solved now, ever solved, and what keeps the rules."""
    found = report["depth"]
    rows = {"ever solved": found["ever_solved"], "exact": found["exact"]}
    rows |= report.get("rules", {})
    colours = {"ever solved": GREEN, "exact": BLUE, "valid": ORANGE, "optimal": PINK}
    styles = {"exact": "-", "ever solved": "-", "valid": "--", "optimal": ":"}
    for name, values in rows.items():
        axis.plot(
            *over(values), color=colours.get(name, OCHRE), ls=styles.get(name, "-."), label=name
        )
    segments(axis, report)
    axis.set(ylabel="puzzles, %")
    headed(axis, "accuracy after each segment")


def errors(axis, report: dict) -> None:
    """The error and its law, on two logarithmic axes."""
    found = report["depth"]
    k = range(1, len(found["exact"]) + 1)
    error = [100 * (1 - value) for value in found["exact"]]
    axis.plot(k, error, ".", color=BLUE, label="1 - exact")
    ever = [100 * (1 - value) for value in found["ever_solved"]]
    axis.plot(k, ever, color=GREEN, label="never solved so far")
    axis.plot(k, [100 * value for value in found["regressions"]], color=PINK, label="regressions")
    if "parameters" in found["fit"]:
        law = [100 * float(error_at(x, **found["fit"]["parameters"])) for x in k]
        axis.plot(k, law, "--", color=ORANGE, label="e_inf + A exp(-k L)")
    segments(axis, report)
    axis.set(ylabel="puzzles, %", ylim=(0, None))
    axis.set_yscale("symlog", linthresh=1)
    axis.set_yticks((0, 1, 10, 100), ("0", "1", "10", "100"))
    headed(axis, "what is not solved")


def residual(axis, report: dict) -> None:
    """Medians with their quartiles, of puzzles solved at the end and of the others."""
    for kind, colour in (("solved", BLUE), ("unsolved", ORANGE)):
        if quartiles := report["residual"][kind]:
            low, middle, high = quartiles
            k = range(1, len(middle) + 1)
            axis.plot(k, numbers(middle), color=colour, label=f"{kind} at the end")
            axis.fill_between(k, numbers(low), numbers(high), color=colour, alpha=0.2, lw=0)
    segments(axis, report)
    axis.set(yscale="log", ylabel="relative residual")
    headed(axis, "how far the latent still moves")


def reliability(axis, report: dict) -> None:
    """Accuracy by confidence."""
    axis.plot((0, 1), (0, 1), color="gray", lw=1, ls=":")
    styles = ((BLUE, "o"), (ORANGE, "s"))
    for (name, k), (colour, mark) in zip(moments(report["about"]), styles, strict=False):
        rows = [row for row in report["halting"][f"bins_{name}"] if row["count"]]
        x, y, counts = ([r[key] for r in rows] for key in ("confidence", "accuracy", "count"))
        sizes = [area(count) for count in counts]
        label = f"after {k} segments"
        axis.scatter(x, y, sizes, color=colour, marker=mark, alpha=0.8, label=label, clip_on=False)
    axis.set(xlabel="confidence (larger: more puzzles)", ylabel="share that is right")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    headed(axis, "reliability of the head")


def halts(axis, report: dict) -> None:
    """How right it is where it halts, by segment."""
    rows = report["halting"]["by_segment"]
    k = [row["segment"] for row in rows]
    sizes = [area(row["count"]) for row in rows]
    axis.scatter(k, [100 * row["accuracy"] for row in rows], sizes, color=BLUE, alpha=0.8)
    for row in rows:
        at = (row["segment"], 100 * row["accuracy"])
        axis.annotate(row["count"], at, (0, 8), textcoords="offset points", ha="center", fontsize=8)
    segments(axis, report)
    axis.set(ylabel="right, %", ylim=(0, 112))
    headed(axis, "where it first halts (with counts)")


def one_blank(axis, report: dict) -> None:
    """Puzzles with one blank beside those of the split."""
    axis.plot(*over(report["one_blank"]["exact"]), color=VIOLET, label="one blank cell")
    axis.plot(*over(report["depth"]["exact"]), color=BLUE, label="puzzles as they are")
    segments(axis, report)
    axis.set(ylabel="exact, %", ylim=(0, 104))
    headed(axis, "all but one cell is given")


def sensitivity(axis, report: dict) -> None:
    """A pair of bars for each disturbance."""
    rows = report["sensitivity"]["rows"]
    places = range(len(rows))
    for key, shift, colour in (("exact", -0.2, BLUE), ("same", 0.2, OCHRE)):
        values = [100 * row[key] for row in rows]
        label = "exact" if key == "exact" else "same answer"
        axis.barh([y + shift for y in places], values, 0.38, color=colour, label=label)
    axis.set_yticks(list(places), [row["what"] for row in rows])
    axis.set(xlim=(0, 102), xlabel="puzzles, %")
    axis.invert_yaxis()
    headed(axis, "disturbed")


def tokens(axis, report: dict) -> None:
    """Correlation of the cells."""
    axis.plot(*over(report["tokens"]["correlation"], 1), color=BLUE)
    segments(axis, report)
    axis.set(ylabel="correlation")
    headed(axis, "how alike the cells are")


def difficulty(axis, report: dict) -> None:
    """Bars of the first measure of difficulty."""
    one = report["difficulty"][0]
    names = [f"{row['bucket']}\n({row['puzzles']})" for row in one["rows"]]
    places = range(len(names))
    for key, shift, colour in (("exact_as_trained", -0.2, OCHRE), ("exact_at_the_end", 0.2, BLUE)):
        values = [100 * row[key] for row in one["rows"]]
        about = report["about"]
        k = about["at"] if key == "exact_as_trained" else about["segments"]
        axis.bar([x + shift for x in places], values, 0.38, color=colour, label=f"after {k}")
    axis.set_xticks(list(places), names)
    axis.set(ylabel="exact, %", ylim=(0, 104), xlabel=one["by"])
    headed(axis, "by difficulty (puzzles)")


CHARTS: dict[str, tuple[str, Callable]] = {
    "depth": ("depth", depth),
    "errors": ("depth", errors),
    "residual": ("residual", residual),
    "reliability": ("halting", reliability),
    "halts": ("halting", halts),
    "one_blank": ("one_blank", one_blank),
    "sensitivity": ("sensitivity", sensitivity),
    "tokens": ("tokens", tokens),
    "difficulty": ("difficulty", difficulty),
}  # name -> part of the report, what draws it


def drawn(report: dict) -> dict[str, Callable]:
    """Those whose part is there."""
    return {name: draw for name, (part, draw) in CHARTS.items() if report.get(part)}


def svgs(report: dict) -> dict[str, list[str]]:
    """The charts of each part for a page. Raises NoPictures."""
    plt, found = pyplot(), {}
    for name, draw in drawn(report).items():
        with look():
            figure, axis = plt.subplots(figsize=SIZE, layout="constrained")
            draw(axis, report)
            found.setdefault(CHARTS[name][0], []).append(as_svg(figure))
    return found


def png(report: dict, path: Path) -> None:
    """All charts in one picture. Raises NoPictures and OSError."""
    plt, charts = pyplot(), drawn(report)
    rows = -(-len(charts) // 2)
    with look():
        size = (2 * SIZE[0], rows * SIZE[1])
        figure, axes = plt.subplots(rows, 2, figsize=size, layout="constrained", squeeze=False)
        for axis, draw in zip(axes.flat, charts.values(), strict=False):
            draw(axis, report)
        for axis in axes.flat[len(charts) :]:
            axis.axis("off")
        figure.suptitle(report["about"]["run"])
        save_png(figure, path)


def area(count: int) -> float:
    """Of a mark that stands for so many puzzles."""
    return 15 + 30 * math.log10(count)


def headed(axis, title: str) -> None:
    """A title at the left, and the legend, if there is one, above the plot at the right."""
    axis.set_title(title, loc="left", fontsize=11)
    handles, names = axis.get_legend_handles_labels()
    if handles:
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.12), "borderaxespad": 0}
        axis.legend(ncols=min(len(names), 2), columnspacing=1.2, handlelength=1.5, **place)


def over(values: list, scale: float = 100) -> tuple:
    """Segments from 1, and values."""
    return range(1, len(values) + 1), [scale * value for value in numbers(values)]


def numbers(values: list) -> list[float]:
    """What is None is a gap."""
    return [float("nan") if value is None else value for value in values]


def segments(axis, report: dict) -> None:
    """The axis of segments, logarithmic, with the trained number marked."""
    about = report["about"]
    axis.set_xscale("log", base=2)
    ticks = [2**i for i in range(about["segments"].bit_length())]
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.minorticks_off()
    axis.axvline(about["at"], color="gray", lw=1, ls=":")
    axis.set_xlabel(f"segments (dotted: {about['at']}, as trained)")
