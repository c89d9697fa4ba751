"""What was this run, and what came of it? One page, which needs no network.

    python -m eval.report run=runs/sudoku-trm
    python -m eval.report runs/a runs/b out=report
    python -m eval.report run=pretrained/sudoku6 out=report examples=8

What it is, its configuration, curves, accuracy by segment, halting, puzzles that it solves and
fails, and what it cost; with several runs, their curves side by side. Runs that are still training
or were stopped have a page of what is there; exported models have no curves. Needs the viz extra.

run=        runs/NAME | several, with commas | a folder by eval.export | hub:owner/name
out=DIR     where report.html goes; default: the run's own folder
examples=4  puzzles solved, and as many failed, in pictures; 0: none
"""

import os
import re
import sys
from pathlib import Path

from conf import help
from conf.cli import one_line
from eval.charts import NoPictures, pyplot
from eval.cost.report import split
from eval.picture import need_pillow
from eval.report.examples import STYLE
from eval.report.file import refuse_foreign, write_page
from eval.report.pages import page_of
from eval.report.seen import Seen, read_seen
from tinyreason.errors import UserError

OWN = {"run": None, "out": None, "examples": None}
USAGE = "python -m eval.report run=runs/NAME [out=DIR] [examples=4]"
FILE = "report.html"


def main(words: list[str]) -> None:
    if help.asked(words):
        print(help.plain_page(__doc__))
        return
    own, others = split(words, OWN)
    if strange := [word for word in others if "=" in word and not Path(word).exists()]:
        raise UserError(f"{strange[0]} is no option here; usage: {USAGE}")
    names = [name for word in (*others, own["run"]) for name in listed(word)]
    if not names:
        raise UserError(f"no runs given; usage: {USAGE}")
    most = count(own["examples"])
    refuse_without_pictures()
    path = place(names, own["out"])
    refuse_foreign(path)
    runs = [read_seen(name) for name in names]
    name_apart(runs)
    told = " ".join(["python -m eval.report", *words])
    parts = page_of(runs, most, told)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(path, title(runs), parts, STYLE)
    print(f"wrote {path}, {path.stat().st_size / 1000:,.0f} kB")


def listed(value: str | None) -> list[str]:
    """The runs of a word: one, or several with commas."""
    if not value:
        return []
    return [value] if Path(value).exists() else [one for one in value.split(",") if one]


def title(runs: list[Seen]) -> str:
    """Of the page."""
    if len(runs) > 1:
        return ", ".join(run.name for run in runs)
    config = runs[0].config
    return f"{runs[0].name}: {config['model']['name']} on {config['task']['name']}"


def count(value: str | None) -> int | None:
    """Of examples. Raises UserError."""
    if value is not None and not re.fullmatch("[0-9]{1,3}", value):
        raise UserError(f"examples={value} must be a whole number, from 0 to 999")
    return None if value is None else int(value)


def refuse_without_pictures() -> None:
    """Raises UserError without the viz extra."""
    try:
        pyplot()
    except NoPictures as why:
        raise UserError(str(why)) from None
    need_pillow()


def place(names: list[str], out: str | None) -> Path:
    """The file to write. Raises UserError where that cannot be."""
    if out is None and (len(names) > 1 or names[0].startswith("hub:")):
        raise UserError("give a folder for the page, as in out=report")
    folder = Path(names[0] if out is None else out).expanduser()
    if out == "" or (out and folder.exists() and not folder.is_dir()):
        raise UserError(f"out={out} is not a folder; use the name of one, as in out=report")
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise UserError(f"{folder} cannot be written to; use out=DIR of another folder")
    return folder / FILE


def name_apart(runs: list[Seen]) -> None:
    """By their paths, where folders have the same name. Raises UserError for a run given twice."""
    paths = [run.path.resolve() for run in runs]
    names = [run.name for run in runs]
    for run, path in zip(runs, paths, strict=True):
        if paths.count(path) > 1:
            raise UserError(f"{run.path} is given twice; give it once")
    for run, name in zip(runs, names, strict=True):
        if names.count(name) > 1:
            run.name = str(run.path)


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
