"""Tables with a column for each run."""

from collections.abc import Callable, Sequence
from typing import Any

from eval.page import cell, text
from eval.report.seen import Seen

Told = Callable[[Seen], Any]  # what a run says of something; None where it does not


def sheet(names: Sequence[str], rows: Sequence[tuple[str, Sequence[Any]]], head: str = "") -> str:
    """A table of rows (name, a value for each of `names`); those without any value are left out."""
    titles = cell("td", head, False)
    titles += "".join(f'<th scope="col">{text(name)}</th>' for name in names)
    lines = [
        f'<tr><th scope="row">{text(name)}</th>'
        + "".join(cell("td", value, False) for value in values)
        + "</tr>"
        for name, values in rows
        if any(value is not None for value in values)
    ]
    above = f"<thead><tr>{titles}</tr></thead>" if len(names) > 1 or head else ""
    body = f"<tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table class="sheet">{above}{body}</table></div>'


def rows_of(runs: Sequence[Seen], told: dict[str, Told]) -> list[tuple[str, list[Any]]]:
    """What `told` says of each run."""
    return [(name, [say(run) for run in runs]) for name, say in told.items()]
