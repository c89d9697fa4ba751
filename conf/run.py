"""A run's folder: runs/<name>/ with config.yaml, log.jsonl, result.json and checkpoints/.

A folder is never silently overwritten: a finished run is refused, a started one goes on or is refused.
"""

import json
import re
from hashlib import sha256
from pathlib import Path

import yaml
from hydra.core.hydra_config import HydraConfig

from conf.schema import Config, flat, plain
from tinyreason import checkpoint
from tinyreason.errors import UserError

# Choices that do not change what is learnt: they neither name a run nor keep one from going on
INCIDENTAL = ("name", "resume", "device", "max_minutes", "log_every", "save_every", "compile", "logger", "eval")


def default_name() -> str:
    """task-model and the words that were typed beyond them, so that different runs have different names."""
    choices, words = HydraConfig.get().runtime.choices, HydraConfig.get().overrides.task
    extra = [w.lstrip("+~") for w in words if not w.startswith(("task=", "model=", "scale=small"))]
    extra = [w for w in extra if w.split("=")[0].split(".")[0] not in INCIDENTAL]
    parts = [choices["task"], choices["model"], *(w.replace("=", "_") for w in sorted(extra))]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(parts)).strip("._-")
    return name if len(name) <= 120 else f"{name[:110]}-{sha256(name.encode()).hexdigest()[:8]}"


class RunFolder:
    """runs/<name>/. `start` is the checkpoint to go on from, or None. Nothing is written before `begin`."""

    def __init__(self, config: Config, root: Path = Path("runs")):
        if not re.fullmatch(r"\w[\w.-]*", config.name):
            raise UserError(f"name={config.name} must be letters, digits, '.', '_', '-': it becomes a folder of runs/")
        self.path, self.config = root / config.name, config
        self.checkpoints = self.path / "checkpoints"
        self.start = self.find_start()

    def find_start(self) -> Path | None:
        """What `resume=` asks for. Raises UserError where that is not to be had."""
        resume, begun = self.config.resume, (self.path / "config.yaml").exists()
        if begun and resume == "false":
            raise UserError(f"{self.path} exists; type name=NEW for another run, or resume=auto to go on with it")
        if self.finished():
            raise UserError(f"{self.path} is a finished run; type name=NEW for another, or delete the folder")
        if begun:
            self.refuse_changes()
        newest = checkpoint.newest(self.checkpoints)
        if resume == "true" and newest is None:
            raise UserError(
                f"resume=true, but {self.checkpoints} holds no checkpoint; type resume=auto to start the run"
            )
        return newest if resume in ("auto", "true") else None if resume == "false" else self.named(Path(resume), begun)

    def named(self, path: Path, begun: bool) -> Path:
        """The checkpoint `path`, of this run or to begin a new run from."""
        if not path.is_file():
            raise UserError(f"resume={path}: no such checkpoint; type resume=auto, true, false or a path")
        if begun and path.resolve().parent != self.checkpoints.resolve():
            raise UserError(f"{self.path} exists; type name=NEW to begin a run from {path}")
        return path

    def finished(self) -> bool:
        """The run has reached its last step."""
        path = self.path / "result.json"
        try:
            return path.exists() and bool(json.loads(path.read_text())["finished"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: damaged; delete it to go on, or type name=NEW") from None

    def refuse_changes(self) -> None:
        """A run goes on as it was begun."""
        before, now = flat(read_config(self.path)), flat(plain(self.config))
        keys = [k for k in sorted(before.keys() | now.keys()) if k.split(".")[0] not in INCIDENTAL]
        changed = [f"{k} {before.get(k)} -> {now.get(k)}" for k in keys if before.get(k) != now.get(k)]
        if changed:
            raise UserError(
                f"{self.path} was begun with other options ({', '.join(changed)}); type name=NEW or undo them"
            )

    def begin(self, step: int) -> None:
        """Make the folder what it was after `step`: later checkpoints and log lines are about to be made again."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        checkpoint.write_whole(self.path / "config.yaml", yaml.safe_dump(plain(self.config), sort_keys=False).encode())
        for later in self.checkpoints.glob("step_*.pt"):
            if later > checkpoint.path_of(self.checkpoints, step):
                later.unlink()
        path = self.path / "log.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if step_of(line) <= step]
        checkpoint.write_whole(path, "".join(line + "\n" for line in kept).encode())

    def log(self, record: dict) -> None:
        """Append one line to log.jsonl; a killed process loses none that was written."""
        with (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def finish(self, result: dict) -> None:
        checkpoint.write_whole(self.path / "result.json", (json.dumps(result, indent=1) + "\n").encode())


def step_of(line: str) -> float:
    """The step of a line of log.jsonl; a line torn by a crash comes after all others."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def read_config(run: Path) -> dict:
    """The saved configuration of a run. Raises UserError if there is none."""
    path = run / "config.yaml"
    if not path.is_file():
        raise UserError(f"{run} is not a run (it has no config.yaml); type run=runs/NAME of a folder in runs/")
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        config = None
    if not isinstance(config, dict):
        raise UserError(f"{path}: damaged, no configuration; type name=NEW for a new run")
    return config
