"""Files of the reports: only what was written by them is replaced."""

from collections.abc import Sequence
from pathlib import Path

from eval.page import page, write
from eval.report import draw
from tinyreason.errors import UserError

MARK = "<!-- written by eval of tinyreason -->"
STYLE = (
    draw.STYLE
    + """
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
.sheet th[scope=row] { font-weight: 600; padding-right: 1.6rem; }
.sheet td { overflow-wrap: anywhere; min-width: 5rem; }
td.number { white-space: nowrap; }
summary { cursor: pointer; margin: .6rem 0; }
"""
)


def refuse_foreign(path: Path) -> None:
    """Raises UserError for a file that none of these commands wrote."""
    if path.exists() and not (path.is_file() and MARK.encode() in path.read_bytes()):
        raise UserError(f"{path} is there already, and not a report; use out=DIR of another folder")


def write_page(path: Path, title: str, parts: Sequence[str], style: str = "") -> None:
    """With the mark that lets it be replaced. Raises OSError."""
    write(path, page(title, [MARK, *parts], STYLE + style))
