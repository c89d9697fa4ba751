"""What `eval.think` is asked, and what of it makes sense for a run.

N puzzles.
"""

from dataclasses import dataclass
from typing import Any

from data.maze import Maze
from data.task import Task
from eval.load import Examined, model_for, puzzles_for
from eval.think.methods import CHAINS, METHODS, Setting, refuse_method
from eval.think.select import SELECTORS
from tinyreason.errors import UserError
from tinyreason.options import Options, option
from tinyreason.trained import Trained

LONGER, DEEPEST = 8, 512  # times the trained segments, and at most so many


@dataclass
class ThinkConfig(Options):
    """What to spend, and how."""

    run: str
    checkpoint: str  # best | last | a step
    method: str = option(choices=("segments", *METHODS))
    select: str | None
    chains: int | None = option(least=1, most=CHAINS)
    segments: int | None = option(least=1)
    recursions: int | None = option(least=1)
    sigma: float = option(least=0)
    seed: int = option(least=0)
    source: Any  # other files for the task's
    task: dict[str, Any]  # how they are to be read; null: as it is seen in them
    split: str
    max_puzzles: int | None = option(least=1)
    batch: int | None = option(least=1)
    device: str
    weights: str  # ema | raw
    embedding: str  # own | mean
    json: str | None
    out: str | None
    answers: str | None

    def check_together(self, prefix: str) -> None:
        of_segments = self.method == "segments"
        if of_segments and self.chains is not None:
            raise UserError("method=segments has one chain; leave chains= out, or use segments=")
        names = [n for n, one in SELECTORS.items() if of_segments or not one.of_segments]
        if self.select is not None and self.select not in names:
            told = f"select={self.select} is unknown for method={self.method}"
            raise UserError(f"{told}; use one of {', '.join(names)}")
        if self.answers and self.select is None:
            raise UserError("answers= are those of one selector; use select=vote, or another")


def setting_of(trained: Trained, options: ThinkConfig) -> tuple[Setting, Examined]:
    """The model, how it runs and on which puzzles. Raises UserError for what makes no sense."""
    segments = options.segments or trained.usual_segments
    if options.method == "segments":
        segments = options.segments or trained.deeper(LONGER, DEEPEST)
    if trained.config.model.one_segment and (options.method == "segments" or segments > 1):
        name = f"model.name={trained.config.model.name}"
        raise UserError(f"{name} takes one segment only; use method=noise without segments=")
    chosen = options.split, options.source, options.max_puzzles
    examined = puzzles_for(trained, *chosen, options.task)
    trained.model = model_for(trained, examined.task, options.embedding)
    solver = trained.solver(segments, False, options.batch, options.recursions)
    rows = examined.puzzles.rows(slice(options.max_puzzles))
    if not len(rows.inputs):
        raise UserError(f"split={options.split} has no puzzles")
    setting = Setting(solver, examined.task, rows, options.seed, options.sigma)
    refuse_method(setting, options.method)
    return setting, examined


def selectors_of(options: ThinkConfig, learns: bool) -> list[str]:
    """Those that make sense. Raises UserError where the one asked for does not."""
    why = "no halting head was trained"
    if options.select and SELECTORS[options.select].needs_head and not learns:
        raise UserError(f"select={options.select}: {why}; use select=vote or select=residual")
    return [
        name
        for name, one in SELECTORS.items()
        if (learns or not one.needs_head) and (options.method == "segments" or not one.of_segments)
    ]


def has_ties(task: Task) -> bool:
    """Whether answers that are as good as the label may count as wrong."""
    return isinstance(task, Maze) and (task.source != "generate" or task.how["ties"] == "bfs")


def notes_of(
    setting: Setting, examined: Examined, trained: Trained, options: ThinkConfig
) -> list[str]:
    """What a reader of the numbers should know."""
    notes, model = [], trained.config.model
    if options.method == "restarts" and setting.begins == "fixed":
        notes.append(
            f"model.name={model.name} was trained with a fixed start, not with random ones"
        )
    if not setting.solver.halting.learns:
        notes.append("no halting head was trained: select=halt and select=first are left out")
    if options.method == "symmetries" and has_ties(setting.task):
        told = "these mazes may have several shortest paths"
        notes.append(
            f"{told}; an image may be answered with another than the label, which is wrong"
        )
    if options.recursions not in (None, model.recursions):
        told = f"{options.recursions} recursions a segment"
        notes.append(f"{told}; it was trained with {model.recursions}")
    if not setting.solver.gradient.plain:
        notes.append("its gradient scheme looks for a fixed point; recursions are as configured")
    count = len(setting.rows.inputs)
    seen = 0 if examined.trained_on is None else int(examined.trained_on[:count].sum())
    if seen:
        notes.append(f"{seen} of these {count} puzzles were trained on (up to symmetry)")
    return notes
