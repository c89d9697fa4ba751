"""Write a data set once, for this project or for HRM's and TRM's own code: `python -m data.build task=sudoku out=DIR`.

Takes the options of `train.py` that decide which puzzles there are: `task=...`, `task.<option>=...` and `seed=...`.
What is written is what a run with those options would train and test on, each puzzle once: symmetries are applied when
a puzzle is drawn. `tinyreason/folder.py` has the format; `task.source=DIR` reads it back.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from data import registry
from data.task import Task
from tinyreason import folder


def build(task: Task, seed: int, out: Path) -> dict[str, int]:
    """Write the puzzles of `task` to `out`, a new or empty directory; returns the number of examples in each split.

    Raises UserError where the source is malformed or `out` is taken.
    """
    folder.refuse_taken(out)  # before minutes of generating
    splits = task.load(seed)
    names = getattr(task, "identifiers", lambda: ["<blank>"])()
    notes = {"task": type(task).__name__.lower(), "seed": seed, **getattr(task, "origin", dict)()}
    folder.write(out, splits, task.facts, names, notes=notes)
    return {name: len(puzzles) for name, puzzles in splits.items()}


@hydra.main(config_path="../conf", config_name="build", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """The command line."""
    counts = build(registry.make(cfg.task), cfg.seed, Path(cfg.out))
    print(f"{cfg.out}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


if __name__ == "__main__":
    from conf.cli import run

    run(main)
