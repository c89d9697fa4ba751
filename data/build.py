"""Write a data set once, for this project or for HRM's and TRM's own code:
`python -m data.build task=sudoku out=DIR [copies=1001] [workers=8] [task.key=value ...]`

Takes the `task=`, `scale=` and `task.key=` words of train.py and writes what a run with them trains
and is tested on. HRM's and TRM's code draws no symmetries of its own: for it, write as many
`copies` of each training puzzle as they published, the first as it is and 1,000 under random
symmetries. ARC's are set by `task.copies` and always written. `data/dataset.py` has the format;
`task.source=DIR` reads it back. The bytes are the same for any number of `workers`, processes that
share the making of Sudokus and of ARC's copies; the rest takes seconds, and one process.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from conf.cli import choose_scale, command
from conf.schema import BuildConfig, at_least, typed
from data import dataset as folder
from data.arc import ARC
from data.registry import make_task
from data.task import Task
from data.workers import Spread, workers
from tinyreason.errors import UserError
from tinyreason.puzzle import Puzzles, Rows


def build(
    options: Mapping[str, Any], out: Path, copies: int = 1, spread: Spread = map
) -> dict[str, int]:
    """Write the puzzles of the `task:` config `options` to `out`, new or empty; returns the
    examples in each split.

    The options are noted beside the puzzles. `spread` shares the work. Raises UserError where one
    is wrong, a source malformed, or `out` taken.
    """
    folder.refuse_taken(out)  # before minutes of generating
    if copies > 1 and not options["augment"]:
        raise UserError(
            f"copies={copies} with task.augment=false "
            f"would be the same {copies} times; leave one out"
        )
    task = make_task(options)
    task.spread = spread
    splits = task.load(options["seed"])
    rng = np.random.Generator(np.random.PCG64([options["seed"], copies]))
    if isinstance(task, ARC):
        splits, names = task.written_out(rng), task.identifiers()
    else:
        splits, names = (
            splits | {"train": with_copies(task, splits["train"], copies, rng)},
            ["<blank>"],
        )
    folder.write(
        out,
        splits,
        task.facts,
        names,
        notes={"task": dict(options), "copies": copies, "notes": task.notes},
    )
    return {name: len(puzzles) for name, puzzles in splits.items()}


def with_copies(task: Task, puzzles: Puzzles, copies: int, rng: np.random.Generator) -> Puzzles:
    """Each puzzle as it is and `copies - 1` times under random symmetries, as a group: the layout
    of HRM's builders.
    """
    if copies == 1:
        return puzzles
    n = len(puzzles)
    rows = puzzles.rows(np.repeat(np.arange(n), copies))
    turned = task.augment(rows, rng.integers(0, puzzles.copies, n * copies), rng)
    first = (np.arange(n * copies) % copies == 0)[:, None]
    inputs, labels = (np.where(first, a, b) for a, b in zip(rows[:2], turned[:2], strict=True))
    edges = np.arange(n * copies + 1, dtype=np.int32)
    return Puzzles(*Rows(inputs, labels, rows.puzzle_ids), edges, edges[::copies].copy())


def main(words: DictConfig) -> None:
    """The command line."""
    # a recipe sets more than a task
    mine = OmegaConf.masked_copy(words, ["task", "scale", "out", "copies", "workers"])
    options = typed(BuildConfig, mine)
    at_least(1, copies=options.copies, workers=options.workers)
    with workers(options.workers) as spread:
        counts = build(options.task, Path(options.out), options.copies, spread)
    print(f"{options.out}: {', '.join(f'{count} {name}' for name, count in counts.items())}")


if __name__ == "__main__":
    choose_scale()
    command("build", main)
