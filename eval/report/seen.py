"""A run as far as it got, or an exported model, with all that it says of itself."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from eval.cost.model_estimate import without_memory
from eval.load import open_run
from eval.report.log import Log, is_number, read_log, read_result
from tinyreason.errors import UserError
from tinyreason.exported import Exported, folder_of, is_exported
from tinyreason.models import parameter_count
from tinyreason.run import puzzles
from tinyreason.run.chosen import state_of
from tinyreason.run.folder import read_config
from tinyreason.trained import Trained


@dataclass
class Seen:
    """A run, or an exported model."""

    path: Path
    name: str
    config: dict[str, Any]
    trained: Trained | None  # None where too little is saved yet to build it
    log: Log
    result: dict[str, Any] | None
    made: dict[str, Any] = field(default_factory=dict)  # where it was trained, as far as it says
    examples: dict[str, int] = field(default_factory=dict)  # of each split
    notes: list[str] = field(default_factory=list)

    @property
    def exported(self) -> bool:
        return self.trained is not None and isinstance(self.trained.config, Exported)

    @property
    def test(self) -> dict[str, Any]:
        """The metrics on the test puzzles; {} where there are none yet."""
        final = [line for line in self.log.of("final") if line.get("split") == "test"]
        found = self.result["test"] if self.result else (final or [{}])[-1]
        return found if found.get("puzzles") else {}

    def measure(self, key: str) -> float | None:
        """A number among the metrics on the test puzzles."""
        value = self.test.get(key)
        return value if is_number(value) else None

    def chosen(self, key: str) -> int | None:
        """A whole number among the options."""
        value = self.config.get(key)
        return value if type(value) is int else None

    @property
    def steps(self) -> int | None:
        """So far; None where that is not known."""
        if self.exported:
            return self.made.get("step")
        lines = self.log.lines
        logged = lines[-1]["step"] if lines else 0
        done = (self.result or self.made).get("steps" if self.result else "step") or 0
        return max(logged, done)

    @property
    def parameters(self) -> int | None:
        """As papers count them, without the embeddings of puzzles."""
        if self.result and self.result.get("parameters"):
            return self.result["parameters"]
        if self.trained is None:
            return None
        config = self.trained.config
        with without_memory(config, config.facts, torch.float32) as model:
            return parameter_count(model)


def read_seen(run: str) -> Seen:
    """What `run=` names. Raises UserError."""
    path = folder_of(run)
    if not path.exists():
        raise UserError(f"{run}: there is no such run; use run=runs/NAME of a folder in runs/")
    if is_exported(path):
        return of_export(path, run)
    config = read_config(path)
    for group in ("model", "task"):
        options = config.get(group)
        if not isinstance(options, dict) or not isinstance(options.get("name"), str):
            raise UserError(f"{path}/config.yaml: damaged, no {group}.name; leave the run out")
    log, result = read_log(path / "log.jsonl"), read_result(path / "result.json")
    found = Seen(path, path.resolve().name, config, None, log, result)
    found.notes += told_of_files(found)
    try:
        found.trained = open_run(path)
    except UserError as why:  # an earlier version says of its puzzles only what a checkpoint holds
        found.notes.append(f"Its model cannot be built: {why}.")
    remembered = puzzles.read(path)
    if remembered is not None:
        found.examples = counts(remembered.splits)
    found.made = made_by(found)
    return found


def of_export(path: Path, run: str) -> Seen:
    """A folder by `eval.export`, or one on the hub."""
    trained = open_run(path)
    config, made = asdict(trained.config), trained.config.made
    known = {key: config[key] for key in ("model", "gradient", "depth", "halting", "eval", "task")}
    name = run if run.startswith("hub:") else path.resolve().name
    found = Seen(path, name, known, trained, Log([]), None)
    step, versions = made.get("step"), made.get("versions")
    found.made = {
        "step": step if type(step) is int else None,
        "versions": versions if isinstance(versions, dict) else {},
    }
    found.notes.append(
        "An exported model: it has no log and no result.json, so there are no curves, and neither "
        "accuracy nor costs of training."
    )
    return found


def counts(splits: object) -> dict[str, int]:
    """The examples of each split, as `puzzles.json` has them."""
    parts = splits.items() if isinstance(splits, dict) else ()
    numbers = {name: one.get("examples") for name, one in parts if isinstance(one, dict)}
    return {name: count for name, count in numbers.items() if type(count) is int}


def told_of_files(run: Seen) -> list[str]:
    """What is not there, or not whole."""
    told = []
    if run.result is None:
        ended = bool(run.log.of("final"))
        why = "though its log has an end" if ended else "it is still training, or was stopped"
        told.append(f"No result.json: {why}.")
    elif not run.result["finished"]:
        told.append("It has not reached its last step: its time was up.")
    if not run.log.lines:
        told.append("No log.jsonl, or an empty one: there are no curves.")
    if run.log.torn:
        told.append("The last line of its log is not whole, and left out.")
    return told


def made_by(run: Seen) -> dict[str, Any]:
    """On what it was trained: by result.json, else by its last checkpoint."""
    if run.result:
        return {"machine": run.result.get("device"), "versions": run.result.get("versions") or {}}
    try:
        _, state = state_of(run.path, "last")
    except UserError:
        return {}
    made = state["made_on"]
    threads = "" if made["device"] == "cuda" else f", {made['threads']} threads"
    versions = {key: made[key] for key in ("tinyreason", "python", "torch", "numpy") if key in made}
    found = {"machine": f"{made['hardware']}{threads}", "versions": versions}
    return found | {"step": state["step"], "puzzles_seen": state["position"]}
