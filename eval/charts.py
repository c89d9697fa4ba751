"""matplotlib, where it is installed: pictures come with the viz extra, numbers without it."""

import io
import re
from pathlib import Path

from tinyreason.errors import UserError

# becomes the colour of the text around a chart, in the dark too
INK = "#010203"
LOOK = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "tinyreason",  # the same file for the same numbers
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
}
# told apart on white and on black, and by people who see red and green alike (Okabe and Ito)
COLOURS = ("#2f7fd0", "#e07b00", "#009e73", "#cc6699", "#7a6fd6", "#a08000")


class NoPictures(UserError):
    """There is no matplotlib; the message says how to get it."""


def pyplot():
    """matplotlib, without a screen. Raises NoPictures."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise NoPictures("for pictures, pip install -e '.[viz]'") from None
    return pyplot


def look():
    """A context in which figures look as those on our pages. Raises NoPictures."""
    pyplot()
    import matplotlib
    from cycler import cycler

    return matplotlib.rc_context(LOOK | {"axes.prop_cycle": cycler(color=COLOURS)})


def as_svg(figure) -> str:
    """A figure for a page, in the colours of the page; the figure is closed."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # which has links in it
    figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    pyplot().close(figure)
    svg = text.getvalue()
    return inline(svg[svg.index("<svg") :]).replace(INK, "currentColor")


def inline(svg: str) -> str:
    """Less what only a file by itself needs: addresses of standards, and names that would be there
    twice on a page with several.
    """
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: sans-serif", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    return re.sub(r'<g id="[a-z0-9.]+_\d+">', "<g>", svg)


def save_png(figure, path: Path) -> None:
    """A figure by itself, on white; the figure is closed. Raises OSError."""
    figure.savefig(path, dpi=140, facecolor="white")
    pyplot().close(figure)
