"""Write a data set once, for this project or for HRM's and TRM's own code: `python -m data.build task=sudoku out=DIR`.

Takes the `task=` and `task.<option>=` words of `train.py`. What is written is what a run with these words would train
and be tested on, each puzzle once: symmetries are applied when a puzzle is drawn. `tinyreason/folder.py` has the
format; `task.source=DIR` reads it back.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from conf.cli import choose_scale, command
from conf.schema import BuildConfig, typed
from data.registry import load_task
from tinyreason import folder


def build(options: Mapping[str, Any], out: Path) -> dict[str, int]:
    """Write the puzzles of the `task:` config `options` to `out`, new or empty; returns the examples in each split.

    The options are noted beside the puzzles. Raises UserError where one is wrong, a source malformed, or `out` taken.
    """
    folder.refuse_taken(out)  # before minutes of generating
    task, splits = load_task(options)
    names = getattr(task, "identifiers", lambda: ["<blank>"])()
    notes = {"task": dict(options), "notes": getattr(task, "notes", [])}
    folder.write(out, splits, task.facts, names, notes=notes)
    return {name: len(puzzles) for name, puzzles in splits.items()}


def main(words: DictConfig) -> None:
    """The command line."""
    options = typed(
        BuildConfig, OmegaConf.masked_copy(words, ["task", "scale", "out"])
    )  # a scale sets more than a task
    counts = build(options.task, Path(options.out))
    print(f"{options.out}: {', '.join(f'{count} {name}' for name, count in counts.items())}")


if __name__ == "__main__":
    choose_scale()
    command("build", main)
