"""Charts of curves, for pages and as a picture; the names of their lines stand beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from eval.charts import COLOURS, as_svg, look, pyplot
from eval.page import figure, text

DASHES = ("-", "--", ":", "-.")  # for more lines than colours
SVG_DASHES = ("", "6 3", "1.5 3", "6 3 1.5 3")
MOST_MARKED = 40  # points of a line that are drawn as dots


@dataclass(frozen=True)
class Line:
    """One of a chart. Lines of one `place` look alike."""

    x: list[float]
    y: list[float]
    place: int = 0
    thin: bool = False  # one of several, or beside the point


def chart(
    title: str,
    lines: Sequence[Line],
    x: str,
    share: bool = False,
    caption: str = "",
    from_zero: bool = False,
) -> str:
    """A figure of a page; "" where there is nothing to draw. `share`: of 1, in percent."""
    lines = [line for line in lines if line.x]
    if not lines:
        return ""
    with look():
        drawing, axis = pyplot().subplots(figsize=(4.6, 2.9), layout="constrained")
        axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
        on_axis(axis, lines, x, share)
        if from_zero:
            axis.set_ylim(bottom=0)
        return figure(as_svg(drawing), caption, title)


def on_axis(axis, lines: Sequence[Line], x: str, share: bool) -> list:
    """Draw the lines; what matplotlib calls their handles comes back."""
    handles = []
    for line in lines:
        colour, dash = look_of(line.place)
        few = len(line.x) <= MOST_MARKED and not line.thin
        handles += axis.plot(
            line.x,
            line.y,
            color=COLOURS[colour],
            linestyle=DASHES[dash],
            linewidth=0.9 if line.thin else 2,
            alpha=0.55 if line.thin else 1,
            marker="." if few or len(line.x) == 1 else None,
        )
    axis.set_xlabel(x)
    if all(isinstance(value, int) for line in lines for value in line.x):
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.18)
    axis.margins(x=0.03)
    if share:
        in_percent(axis, lines)
    return handles


def in_percent(axis, lines: Sequence[Line]) -> None:
    """An axis from 0, to 100 % unless all of it lies far below."""
    from matplotlib.ticker import PercentFormatter

    values = [value for line in lines for value in line.y if isfinite(value)]
    top = max(values, default=0)
    axis.set_ylim(0, 1.02 if top > 0.4 else max(0.02, 1.2 * top))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))


def look_of(place: int) -> tuple[int, int]:
    """The numbers of its colour and of its dashes."""
    return place % len(COLOURS), place // len(COLOURS) % len(DASHES)


def legend(names: Sequence[str]) -> str:
    """Which line is which, for all charts of a page; "" for one name alone."""
    if len(names) < 2:
        return ""
    return f'<ul class="legend">{"".join(map(entry, range(len(names)), names))}</ul>'


def entry(place: int, name: str) -> str:
    """One of a legend."""
    colour, dash = look_of(place)
    stroke = f'stroke="{COLOURS[colour]}" stroke-width="3" stroke-dasharray="{SVG_DASHES[dash]}"'
    sample = f'<svg width="30" height="10" aria-hidden="true"><path d="M1 5H29" {stroke}/></svg>'
    return f"<li>{sample} {text(name)}</li>"


STYLE = """
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.3rem; padding: 0;
  margin: .4rem 0; }
.legend li { overflow-wrap: anywhere; }
.row > figure { margin: .3rem 0; min-width: 0; }
"""
