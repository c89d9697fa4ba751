"""What the reports have in common: the words that a user types, and a table that is printed, kept
and written.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from eval.charts import NoPictures
from eval.cost.charts import pyplot
from tinyreason.errors import UserError

MIB = 2**20
FILES = {"json": None, "out": None}  # options of every report


def split(
    words: list[str], own: Mapping[str, str | None]
) -> tuple[dict[str, str | None], list[str]]:
    """The options of a report, `own` with its defaults, and the other words.

    Raises UserError for one given twice.
    """
    mine = [word for word in words if word.partition("=")[0] in own]
    keys = [word.partition("=")[0] for word in mine]
    for word, key in zip(mine, keys, strict=True):
        if "=" not in word:
            raise UserError(f"{word} needs a value; use {key}=VALUE")
        if keys.count(key) > 1:
            raise UserError(f"{key}= is given twice; give it once")
    given = dict(word.split("=", 1) for word in mine)
    return {**own, **given}, [word for word in words if word not in mine]


def refuse(words: list[str], *keys: str) -> None:
    """Raises UserError for an option that is a column of the table."""
    for word in words:
        if word.partition("=")[0] in keys:
            raise UserError(
                f"{word} is a row of the table already; leave "
                "it out, and use gradients= for the schemes"
            )


def refuse_bare(words: list[str]) -> None:
    """Raises UserError for a word without a value."""
    for word in words:
        if "=" not in word:
            raise UserError(f"{word} is no option here; write key=value, as in model=trm")


def count_of(key: str, value: str | int, example: int = 2) -> int:
    """A whole number from 1. Raises UserError for anything else."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,30}", str(value)):
        raise UserError(
            f"{key}={value} is not a size; use a whole number from 1, as in {key}={example}"
        )
    return int(value)


def writable(key: str, name: str | None) -> Path | None:
    """The file to write, if one is named. Raises UserError now rather than after the work."""
    if name is None:
        return None
    path = Path(name)
    if not path.parent.is_dir():
        raise UserError(
            f"{key}={name}: there is no folder {path.parent}; run mkdir -p {path.parent} first"
        )
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"{key}={name} cannot be written; use the name of a file that can")
    return path


def folder(name: str | None) -> Path | None:
    """The folder to write to, made if it is not there."""
    if name is None:
        return None
    try:
        Path(name or "/").mkdir(parents=True, exist_ok=True)
        good = bool(name) and os.access(name, os.W_OK)
    except OSError:
        good = False
    if not good:
        raise UserError(f"out={name} cannot be written; use the name of a folder, as in out=cost")
    pyplot()  # refuse now rather than after the work
    return Path(name)


class Report:
    """A Markdown table, printed line by line; in the end its numbers go to `json`, and everything
    to `out`.
    """

    def __init__(self, name: str, options: Mapping[str, str | None]):
        self.name, self.lines = name, []
        self.json, self.out = writable("json", options["json"]), folder(options["out"])

    def say(self, text: str) -> None:
        """Some lines of text."""
        print(text, flush=True)
        self.lines.append(text)

    def head(self, columns: str) -> None:
        """The first two lines of the table; `columns` are divided by " | "."""
        self.say(f"| {columns} |\n|" + " --- |" * (columns.count("|") + 1))

    def finish(self, numbers: dict, draw: Callable[[Path], None] | None) -> None:
        """Write what was asked for; `draw` makes the picture, if there is one."""
        content = json.dumps(numbers, indent=1) + "\n"
        if self.json:
            self.write(self.json, content)
        if self.out:
            self.write(self.out / f"{self.name}.json", content)
            self.write(self.out / f"{self.name}.md", "\n".join(self.lines) + "\n")
            if draw:
                self.picture(self.out / f"{self.name}.png", draw)

    def picture(self, path: Path, draw: Callable[[Path], None]) -> None:
        """Made by `draw`, where matplotlib is installed."""
        try:
            draw(path)
            print(f"wrote {path}")
        except NoPictures as reason:
            print(f"{path} is left out; {reason}")

    def write(self, path: Path, content: str) -> None:
        path.write_text(content)
        print(f"wrote {path}")
