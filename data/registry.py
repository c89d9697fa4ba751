"""The tasks by name. A new task is a file beside this one, a line here, and a yaml in `conf/task/`."""

from collections.abc import Mapping
from typing import Any

from data.arc import ARC
from data.maze import Maze
from data.sudoku import Sudoku
from data.task import Task
from tinyreason.errors import UserError
from tinyreason.puzzle import Puzzles

TASKS: dict[str, type[Task]] = {"sudoku": Sudoku, "maze": Maze, "arc": ARC}


def make_task(config: Mapping[str, Any]) -> Task:
    """The task of a `task:` config, nothing loaded yet. Raises UserError for a wrong name or option."""
    options = dict(config)
    name, seed = options.pop("name"), options.pop("seed")
    if name not in TASKS:
        raise UserError(f"task={name} is unknown; type one of {', '.join(TASKS)}")
    if not isinstance(seed, int) or seed < 0:
        raise UserError(f"task.seed={seed} must be a whole number, 0 or more")
    return TASKS[name](**options)


def load_task(config: Mapping[str, Any]) -> tuple[Task, dict[str, Puzzles]]:
    """The task of a `task:` config and its splits. Raises UserError, one line, for a source that is wrong."""
    task = make_task(config)
    return task, task.load(config["seed"])
