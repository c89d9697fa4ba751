"""The tasks by name. A new one is a file beside this, a line here and a yaml in `conf/task/`."""

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from data.arc import ARC
from data.grid import Grid
from data.maze import Maze
from data.sudoku import Sudoku
from data.task import Task
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Puzzles

TASKS: dict[str, type[Task]] = {"sudoku": Sudoku, "maze": Maze, "arc": ARC, "grid": Grid}


def make_task(config: Mapping[str, Any]) -> Task:
    """The task of a `task:` config, nothing loaded yet.

    Raises UserError for a wrong name or option.
    """
    options = dict(config)
    name, seed = options.pop("name", None), options.pop("seed", None)
    if not isinstance(name, str) or name not in TASKS:
        raise UserError(f"task={name} is unknown; use one of {', '.join(TASKS)}")
    if type(seed) is not int or seed < 0:
        raise UserError(f"task.seed={seed} must be a whole number, 0 or more")
    refuse_misfits(name, options)
    return TASKS[name](**options)


def refuse_misfits(name: str, options: Mapping[str, Any]) -> None:
    """Raises UserError unless the options have the names that the task takes, and its sources are
    names too.
    """
    wanted = signature(TASKS[name]).parameters
    for key in sorted(options.keys() - wanted.keys(), key=str):
        raise UserError(f"task.{key} is no option of task={name}; it has {', '.join(wanted)}")
    for key in sorted(wanted.keys() - options.keys()):
        raise UserError(f"task.{key} is missing from the options of task={name}")
    source = options["source"]
    sources = source if isinstance(source, list | tuple) else [source]
    if not sources or not all(isinstance(one, str | Path) for one in sources):
        raise UserError(f"task.source={source} must be a name, or a list of names")


def load_task(config: Mapping[str, Any]) -> tuple[Task, dict[str, Puzzles]]:
    """The task of a `task:` config and its splits.

    Raises UserError, one line, for a source that is wrong.
    """
    task = make_task(config)
    return task, task.load(config["seed"])


def facts_of(config: Mapping[str, Any]) -> Facts:
    """What every puzzle of a `task:` config shares, nothing loaded.

    Raises UserError where only the files say it.
    """
    facts = make_task(config).facts
    if facts is None:
        files = "the size of the puzzles is seen in their files, which are not read here"
        raise UserError(f"task.source={config['source']}: {files}; use task.side=9, or the like")
    return facts
