"""Who is examined, on what, and how deep; and the one long look that most of the report is about.

N puzzles, K segments, S cells.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from tqdm import tqdm

from data.task import Task
from eval.trajectory import Disturb, Trajectories, follow
from tinyreason.puzzle import Rows
from tinyreason.solver import Solver
from tinyreason.trained import Trained


class LeftOut(Exception):
    """A part of the report makes no sense here; the message says why."""


@dataclass
class Subject:
    """A trained model with N puzzles whose answers are known."""

    trained: Trained
    solver: Solver  # of all K segments
    task: Task
    split: str
    own: bool  # the puzzles are those of the run's own task
    rows: Rows
    at: int  # segments as trained, at most K
    sigmas: list[float] = field(default_factory=list)
    seed: int = 0

    @property
    def segments(self) -> int:
        """K."""
        return self.solver.segments

    @cached_property
    def way(self) -> Trajectories:
        """Undisturbed, through all segments."""
        return self.follow(self.rows, "all segments")

    @cached_property
    def exact(self) -> np.ndarray:
        """(N, K) bool."""
        return self.way.exact(self.rows.labels, self.task.facts.ignore_label_id)

    @cached_property
    def scored(self) -> np.ndarray:
        """(N, S) bool: cells whose answer is known."""
        return scored(self.task, self.rows)

    def follow(
        self, rows: Rows, what: str, segments: int | None = None, disturb: Disturb | None = None
    ) -> Trajectories:
        """Some rows through the first `segments` (None: all), `what` beside the bar."""
        solver = replace(self.solver, segments=segments or self.segments)
        return followed(solver, rows, self.task, what, disturb)


def followed(
    solver: Solver, rows: Rows, task: Task, what: str, disturb: Disturb | None = None
) -> Trajectories:
    """With a bar, where somebody watches."""
    hidden = {"disable": None, "leave": False}
    with tqdm(total=len(rows.inputs), desc=what, unit="puzzle", **hidden) as bar:
        return follow(solver, rows, task.facts, disturb, bar.update)


def scored(task: Task, rows: Rows) -> np.ndarray:
    """(N, S) bool: cells whose answer is known."""
    if task.facts.ignore_label_id is None:
        return np.ones(rows.labels.shape, bool)
    return rows.labels != task.facts.ignore_label_id


def answered(task: Task, rows: Rows) -> Rows:
    """The rows with a known answer."""
    known = scored(task, rows).any(1)
    return Rows(*(part[known] for part in rows))


def rng_of(seed: int, stream: int) -> np.random.Generator:
    """Random numbers of one probe, so that no other changes them."""
    return np.random.Generator(np.random.PCG64([seed, stream]))
