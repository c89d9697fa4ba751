"""Load a trained model for use: of a run, of a folder that `eval.export` wrote, or of one on the
hub.

trained = open_run("runs/sudoku-trm")
task, splits = trained.puzzles()
model = trained.model(task.facts, "ema", device)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from conf.schema import Config, typed
from data.registry import load_task
from data.task import Task
from eval import exported
from eval.exported import Exported
from tinyreason.depth import make_depth
from tinyreason.errors import UserError
from tinyreason.models import RecursiveModel
from tinyreason.puzzle import Facts, Puzzles
from tinyreason.recursion import Depth, Gradient, make_gradient
from tinyreason.run import checkpoint
from tinyreason.run.console import say, warn
from tinyreason.run.folder import read_config
from tinyreason.weights import build


@dataclass
class Trained:
    """A run or an exported model, and what it says of itself, every value checked."""

    path: Path
    config: Config | Exported

    def puzzles(self, source: Any = None) -> tuple[Task, dict[str, Puzzles]]:
        """Its task and its splits, read from `source` if one is given."""
        task = self.config.task
        if source is None and task.get("source") is None:
            files = "its puzzles were files where it was trained"
            raise UserError(f"{self.path}: {files}; use source=PATH of yours")
        return load_task(task if source is None else task | {"source": source})

    def gradient(self) -> Gradient:
        """Its gradient scheme, which also makes the last recursions of an evaluation."""
        return make_gradient(self.config.gradient, self.config.model.cycle)

    def depth(self) -> Depth:
        """The recursions of a segment of an evaluation."""
        return make_depth(self.config.depth, self.config.model.recursions, self.gradient()).full

    def model(self, facts: Facts, weights: str, device: torch.device) -> RecursiveModel:
        """The model, with its averaged weights ("ema") or its raw ones.

        Raises UserError if it has none.
        """
        if isinstance(self.config, Exported):
            return self.exported_model(facts, weights, device)
        path, state = newest_state(self.path)
        where = f"{path} does not fit {self.path}/config.yaml"
        return build(self.config.model, facts, weights_of(state, weights), device, where)

    def exported_model(self, facts: Facts, weights: str, device: torch.device) -> RecursiveModel:
        """Of an export, which holds one kind of weights."""
        if weights != self.config.weights:
            note = f"{self.path} holds the {self.config.weights} weights alone"
            if weights != "ema":  # what is asked for when nothing is typed
                raise UserError(f"{note}; leave weights= out")
            say(f"note: {note}")
        return exported.load(self.path, self.config, facts, device)


def open_run(run: str | Path) -> Trained:
    """What `run=` names: runs/NAME, an exported folder or hub:owner/name[@revision].

    Raises UserError.
    """
    path = exported.folder_of(str(run))
    if exported.is_exported(path):
        return Trained(path, exported.read(path))
    config = typed(Config, read_config(path))
    config.check()
    return Trained(path, config)


def newest_state(run: Path) -> tuple[Path, dict]:
    """The newest good checkpoint of a run and what is in it.

    Raises UserError if the run has none.
    """
    found = checkpoint.newest_good(run / "checkpoints", warn)
    if found is None:
        raise UserError(f"{run} has no checkpoint yet; train longer or use a smaller save_every=")
    return found


def weights_of(state: dict, weights: str) -> dict:
    """The averaged or the raw weights in a checkpoint; where nothing was averaged, they are the
    same.
    """
    if weights not in ("ema", "raw"):
        raise UserError(f"weights={weights} is unknown; use weights=ema or weights=raw")
    found = (weights == "ema" and state.get("ema")) or state.get("model")
    if not isinstance(found, dict):
        raise UserError("the checkpoint has no weights of a model")
    return found
