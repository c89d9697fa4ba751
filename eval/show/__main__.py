"""How does a model solve this puzzle? `python -m eval.show run=runs/NAME [puzzle=|index=] out=DIR`

Writes puzzle.png (question, answer and truth side by side), thinking.gif (the answer segment by
segment), trace.html (a page to step through it, which needs no network) and trace.json (what the
page shows; the format is stated in `eval/show/trace.py`).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from conf.cli import command
from conf.schema import at_least, typed
from eval import page
from eval.load import open_run
from eval.picture import as_png, beside, need_pillow, picture
from eval.show import puzzle as puzzles
from eval.show.animation import everything, gif, told, truth_of
from eval.show.page import document
from eval.show.trace import FORMAT, trace
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.rules import Rules
from tinyreason.run.atomic import write_whole
from tinyreason.run.console import say
from tinyreason.trained import Trained
from tinyreason.untrusted import read_object

JSON, GIF, PNG, HTML = "trace.json", "thinking.gif", "puzzle.png", "trace.html"


@dataclass
class ShowConfig:
    """Which model, which puzzle, how deep, and where to."""

    run: str
    out: str
    checkpoint: str
    puzzle: Any
    index: int | None
    split: str
    source: Any
    task: dict[str, Any]
    segments: int | None
    recursions: int | None
    device: str
    weights: str
    embedding: str


def main(words: DictConfig) -> None:
    options = typed(ShowConfig, words)
    at_least(1, segments=options.segments, recursions=options.recursions)
    at_least(0, index=options.index)
    need_pillow()
    out = Path(options.out)
    refuse_others_files(out)
    device = pick_device(options.device)
    trained = open_run(options.run, options.checkpoint, options.weights, device)
    shown = chosen(trained, options)
    for note in shown.notes:
        say(f"note: {note}")
    solver = trained.solver(options.segments, False, None, options.recursions)
    found = trace(trained, solver, shown.rules, shown.rows, shown.number)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / JSON, (json.dumps(found) + "\n").encode())
    write_whole(out / PNG, still(found, shown.rules))
    write_whole(out / GIF, gif(found, shown.rules))
    page.write(out / HTML, document(found))
    say(f"{shown.name}: {ending(found)}")
    say(f"wrote {', '.join(str(out / name) for name in (HTML, GIF, PNG, JSON))}")


def chosen(trained: Trained, options: ShowConfig) -> puzzles.Shown:
    """The puzzle that the options name. Raises UserError."""
    if options.puzzle is None:
        split, index = options.split, options.index or 0
        how = options.task, options.embedding
        return puzzles.numbered(trained, split, index, options.source, *how)
    if options.source is not None:
        raise UserError("puzzle= and source= are two ways to ask; leave one out")
    asked = str(options.puzzle), options.index
    return puzzles.asked(trained, *asked, options.task, options.embedding)


def refuse_others_files(out: Path) -> None:
    """Raises UserError for a folder that has files, none of them a trace of this command."""
    if out.exists() and not out.is_dir():
        raise UserError(f"out={out}: a file; name a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not is_ours(out / JSON):
        raise UserError(f"out={out}: not empty, and not from this command; name another folder")


def is_ours(path: Path) -> bool:
    """A trace of this command."""
    try:
        return path.is_file() and read_object(path).get("format") == FORMAT
    except UserError:
        return False


def still(found: dict[str, Any], rules: Rules) -> bytes:
    """PNG of question, answer and, where it is known, truth."""
    question, last = np.array(found["question"]), found["steps"][-1]
    truth, shown = truth_of(found), everything(found)
    answer = np.array(last["answer"])
    shade = np.array(last["shade"]) / 1000
    titled = [
        ("question", picture(rules, question, question, shown=shown)),
        ("answer", picture(rules, question, answer, truth, shade=shade, shown=shown)),
    ]
    if truth is not None:
        truth = np.array(found["truth"])
        titled.append(("truth", picture(rules, question, truth, shown=shown)))
    return as_png(beside(titled, ending(found)))


def ending(found: dict[str, Any]) -> str:
    """How it ended, in a line."""
    last = found["steps"][-1]
    segments = last["segment"]
    return f"{told(last)}, {segments} segment{'s' if segments > 1 else ''}"


if __name__ == "__main__":
    command("show", main)
