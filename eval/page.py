"""HTML pages that need nothing but themselves: no network, readable in the dark and on a phone.

    write(path, page("A run", [section("What it cost", table(["what", "how much"], rows))]))

What is not made here is escaped: texts by `text`, JSON by `data`.
"""

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyreason.run.atomic import write_whole

NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?( ?%)?( \[.*\])?( - \d[\d.,]*( ?%)?)?")
# nothing is fetched, whatever a file says
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
)
# text on its ground has at least 4.5 : 1 in both schemes
STYLE = """
:root { color-scheme: light dark; --ink: #1b1d21; --soft: #565b64; --ground: #fbfaf7;
  --card: #ffffff; --line: #d9d6cf; --accent: #1a5fb4; --good: #1a7431; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --soft: #a8adb6; --ground: #16181c;
  --card: #1f2228; --line: #3a3e46; --accent: #8ab8f5; --good: #7fd08f; --bad: #f2938c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem; max-width: 62rem; background: var(--ground);
  color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .2rem 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p, li { max-width: 46rem; }
a { color: var(--accent); }
code, pre { font: .88em/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { overflow-x: auto; padding: .7rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3rem 0; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; }
figure { margin: .8rem 0; }
figure svg, figure img { max-width: 100%; height: auto; }
figcaption { max-width: 46rem; }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
"""


def page(title: str, parts: Sequence[str], style: str = "", script: str = "") -> str:
    """A whole document of `parts`, which are HTML already."""
    body = "\n".join(parts)
    code = f"<script>{script}</script>" if script else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}{style}</style>
</head>
<body>
<h1>{text(title)}</h1>
{body}
{code}
</body>
</html>
"""


def write(path: Path, document: str) -> None:
    """To disk, whole or not at all. Raises OSError."""
    write_whole(path, document.encode())


def text(value: Any) -> str:
    """As HTML."""
    return html.escape(str(value))


def data(name: str, value: Any) -> str:
    """JSON for a script: `JSON.parse(document.getElementById(name).textContent)`."""
    # nothing in it ends the element or begins a comment
    content = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{text(name)}">{content}</script>'


def section(title: str, *parts: str) -> str:
    """With a heading; `parts` are HTML already."""
    return "\n".join([f"<section><h2>{text(title)}</h2>", *parts, "</section>"])


def paragraph(words: str) -> str:
    return f"<p>{text(words)}</p>"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Numbers stand to the right; None is an empty cell."""
    above = f"<caption>{text(caption)}</caption>" if caption else ""
    numbers = [any(is_number(row[i]) for row in rows) for i in range(len(head))]
    titles = "".join(cell("th", name, number) for name, number in zip(head, numbers, strict=True))
    lines = [
        "<tr>" + "".join(cell("td", v, n) for v, n in zip(row, numbers, strict=True)) + "</tr>"
        for row in rows
    ]
    inside = f"{above}<thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table>{inside}</table></div>'


def cell(tag: str, value: Any, number: bool) -> str:
    """One of a table."""
    kind = ' class="number"' if number else ""
    return f"<{tag}{kind}>{'' if value is None else text(value)}</{tag}>"


def is_number(value: Any) -> bool:
    """It is one, or reads like one: 98.7 %, 1,000, -3.2e-5, 65.9% [62.9, 68.8]."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or bool(NUMBER.fullmatch(str(value)))


def figure(picture: str, caption: str = "", label: str = "") -> str:
    """A picture as HTML, an <svg> or an <img>; `label` is what it shows, for those who listen."""
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f'<figure role="group" aria-label="{text(label or caption)}">{picture}{below}</figure>'
