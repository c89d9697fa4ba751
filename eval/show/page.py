"""The page of a trace: one file, to step through recursions and segments."""

from pathlib import Path
from typing import Any

from eval import page

HERE = Path(__file__).parent
STYLE = (HERE / "viewer.css").read_text(encoding="utf-8")
VIEWER = "\n".join((HERE / f"{n}.js").read_text(encoding="utf-8") for n in ("board", "viewer"))
BEGIN = """
view(document.getElementById("viewer"), JSON.parse(document.getElementById("trace").textContent));
document.querySelector(".controls input").focus({ preventScroll: true });
"""


def document(trace: dict[str, Any]) -> str:
    """HTML."""
    parts = [
        page.paragraph(told(trace)),
        '<div id="viewer"></div>',
        page.data("trace", trace),
    ]
    return page.page(f"{trace['run']}, recursion by recursion", parts, STYLE, VIEWER + BEGIN)


def told(trace: dict[str, Any]) -> str:
    """What is seen, in a sentence or two."""
    deep = trace["trained"]
    trained = f"{deep['segments']} segments of {deep['recursions']} recursions"
    return f"How model={trace['model']} refines its answer; it was trained with {trained}."
