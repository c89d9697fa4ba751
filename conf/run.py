"""A run's folder: runs/<name>/ with config.yaml, log.jsonl, result.json and checkpoints/.

A folder is never silently overwritten: a finished run is refused, a started one goes on or is refused.
"""

import json
import re
from pathlib import Path

import yaml
from hydra.core.hydra_config import HydraConfig

from conf.schema import Config, flat, plain
from tinyreason import checkpoint
from tinyreason.errors import UserError

# Choices that do not change what is learnt: they neither name a run nor keep one from going on
INCIDENTAL = ("name", "resume", "device", "max_minutes", "log_every", "save_every", "compile", "logger")


def default_name() -> str:
    """task-model and the words that were typed beyond them, so that different runs have different names."""
    choices, words = HydraConfig.get().runtime.choices, HydraConfig.get().overrides.task
    extra = [w.lstrip("+~") for w in words if not w.startswith(("task=", "model=", "scale=small"))]
    extra = [w for w in extra if w.split("=")[0].split(".")[0] not in INCIDENTAL]
    parts = [choices["task"], choices["model"], *(w.replace("=", "_") for w in sorted(extra))]
    return re.sub(r"[^\w.-]+", "_", "-".join(parts)).strip("._")[:150]


class RunFolder:
    """runs/<name>/. `start` is the checkpoint to go on from, or None."""

    def __init__(self, config: Config, root: Path = Path("runs")):
        if not re.fullmatch(r"\w[\w.-]*", config.name):
            raise UserError(
                f"name={config.name} must be letters, digits, '.', '_' and '-'; it becomes a folder of runs/"
            )
        self.path = root / config.name
        self.checkpoints = self.path / "checkpoints"
        self.start = self.find_start(config)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        (self.path / "config.yaml").write_text(yaml.safe_dump(plain(config), sort_keys=False))

    def find_start(self, config: Config) -> Path | None:
        """What `resume=` asks for. Raises UserError where that is not to be had."""
        result, begun = self.path / "result.json", (self.path / "config.yaml").exists()
        if config.resume == "false":
            if begun:
                raise UserError(f"{self.path} exists; type name=NEW for another run, or resume=auto to go on with it")
            return None
        if result.exists() and json.loads(result.read_text()).get("finished"):
            raise UserError(f"{self.path} is a finished run; type name=NEW for another, or delete the folder")
        if config.resume not in ("auto", "true"):
            if not Path(config.resume).is_file():
                raise UserError(f"resume={config.resume}: no such checkpoint; type resume=auto, true, false or a path")
            return Path(config.resume)
        newest = checkpoint.newest(self.checkpoints)
        if config.resume == "true" and newest is None:
            raise UserError(
                f"resume=true, but {self.checkpoints} holds no checkpoint; type resume=auto to start the run"
            )
        if newest:
            self.refuse_changes(config)
        return newest

    def refuse_changes(self, config: Config) -> None:
        """A run goes on as it was begun."""
        before, now = flat(read_config(self.path)), flat(plain(config))
        keys = [k for k in sorted(before.keys() | now.keys()) if k.split(".")[0] not in INCIDENTAL]
        changed = [f"{k} {before.get(k)} -> {now.get(k)}" for k in keys if before.get(k) != now.get(k)]
        if changed:
            raise UserError(
                f"{self.path} was begun with other options ({', '.join(changed)}); type name=NEW or undo them"
            )

    def log(self, record: dict) -> None:
        """Append one line to log.jsonl, on disk before this returns to the caller."""
        with (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def rewind_log(self, step: int) -> None:
        """Drop the lines of steps after `step`: they are about to be made again."""
        path = self.path / "log.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        path.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))

    def finish(self, result: dict) -> None:
        (self.path / "result.json").write_text(json.dumps(result, indent=1) + "\n")


def read_config(run: Path) -> dict:
    """The saved configuration of a run. Raises UserError if there is none."""
    path = run / "config.yaml"
    if not path.is_file():
        raise UserError(f"{run} is not a run (it has no config.yaml); type run=runs/NAME of a folder in runs/")
    config = yaml.safe_load(path.read_text())
    if not isinstance(config, dict):
        raise UserError(f"{path}: not a configuration")
    return config
