"""A run's folder: runs/<name>/ with config.yaml, log.jsonl, result.json and checkpoints/.

A folder is never silently overwritten: a finished run is refused, a started one goes on or is
refused.
"""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from tinyreason import earlier
from tinyreason.errors import UserError
from tinyreason.options import flat
from tinyreason.run import checkpoint
from tinyreason.run.atomic import append, sync, write_whole
from tinyreason.run.console import warn
from tinyreason.run.lock import Lock
from tinyreason.run.manifest import NAME, path_of
from tinyreason.run.plain_yaml import read_yaml

# Choices that do not change what is learnt: they neither name a run nor keep one from going on
INCIDENTAL = (
    "name",
    "resume",
    "resume_override",
    "device",
    "max_minutes",
    "log_every",
    "eval_every",
    "save_every",
)
INCIDENTAL += (
    "logger",
    "eval",
    "checkpoint",
    "compile",
    "kernels",
    "graph",
    "deterministic",
    "micro_batch",
    "model.recompute",
)


class Finished(UserError):
    """The run has reached its last step, with these options."""

    def __init__(self, path: Path):
        self.what = f"{path} is a finished run"
        more = f"name=NEW init={path} for more steps from its weights"
        super().__init__(f"{self.what}; use {more}, name=NEW for another, or delete the folder")


class RunFolder:
    """runs/<name>/, for this process alone. Nothing but the lock is written before `begin`."""

    def __init__(self, config: dict[str, Any], root: Path = Path("runs")):
        if not re.fullmatch(r"\w[\w.-]*", config["name"]):
            raise UserError(
                f"name={config['name']} must be letters, digits, "
                "'.', '_', '-': it becomes a folder of runs/"
            )
        self.path, self.config = root / config["name"], config
        self.checkpoints, self.full, self.saved = self.path / "checkpoints", False, None
        self.begun = (self.path / "config.yaml").exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{self.path}: {error.strerror}; use name=NEW, or make room there for a folder"
            ) from None
        self.lock = Lock(self.path)

    def start(self) -> tuple[Path, dict] | None:
        """The checkpoint that `resume=` asks for and what is in it.

        Raises UserError if there is none.
        """
        resume, begun = self.config["resume"], self.begun
        if begun and resume == "false":
            raise UserError(
                f"{self.path} exists; use name=NEW for another run, or resume=auto to go on with it"
            )
        changed = self.changes() if begun else ""
        if self.finished():
            finished = f"{self.path} is finished, and was begun{changed}"
            more = f"name=NEW init={self.path} to go on from its weights"
            other = f"{finished}; use {more}, or name=NEW to begin anew"
            raise UserError(other) if changed else Finished(self.path)
        if changed and not self.config["resume_override"]:
            raise UserError(
                f"{self.path} was begun{changed}; use name=NEW, "
                "undo them, or use resume_override=true"
            )
        if not begun and checkpoint.steps(self.checkpoints) and not self.config["resume_override"]:
            raise UserError(
                f"{self.path} has lost its config.yaml; restore it, or use resume_override=true"
            )
        path = None if resume in ("auto", "true", "false") else Path(resume)
        if path and self.owns(path):
            return path, self.own(path)
        found = checkpoint.newest_good(self.checkpoints, warn) if resume != "false" else None
        if (
            found is None and path
        ):  # a run that begins from another's checkpoint, and then resumes from its own
            return path, checkpoint.load(existing(path))
        if found is None and resume == "true":
            raise UserError(
                f"resume=true, but {self.checkpoints} has no "
                "checkpoint; use resume=auto to start the run"
            )
        if found is None and begun:
            warn(f"{self.path} was begun, but there is no checkpoint; it starts again at step 0")
        return found

    def owns(self, path: Path) -> bool:
        return path.resolve().parent == self.checkpoints.resolve()

    def own(self, path: Path) -> dict:
        """What is in a checkpoint of this run.

        Raises UserError where steps after it would be forgotten.
        """
        newest = checkpoint.newest(self.checkpoints)
        if newest and existing(path).name != newest.name and not self.config["resume_override"]:
            branch = f"name=NEW resume={path} to branch off"
            raise UserError(
                f"{newest.name} is newer than resume={path}; use "
                f"{branch}, or resume_override=true to go back"
            )
        return checkpoint.load(existing(path))

    def finished(self) -> bool:
        """The run has reached its last step."""
        path = self.path / "result.json"
        try:
            return path.exists() and bool(json.loads(path.read_text())["finished"])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: damaged; delete it to go on, or use name=NEW") from None

    def changes(self) -> str:
        """What is not as it was when the run was begun, if anything."""
        before, now = flat(read_config(self.path)), flat(self.config)
        keys = [k for k in sorted(before.keys() | now.keys()) if not incidental(k)]
        changed = [
            f"{k} {before.get(k)} -> {now.get(k)}" for k in keys if before.get(k) != now.get(k)
        ]
        return f" with other options ({', '.join(changed)})" if changed else ""

    def begin(self, step: int) -> None:
        """Make the folder what it was after `step`: later checkpoints and log lines are about to be
        made again.
        """
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.checkpoints):
            checkpoint.sweep(folder)
        checkpoint.set_aside_after(self.checkpoints, step)
        write_whole(
            self.path / "config.yaml", yaml.safe_dump(self.config, sort_keys=False).encode()
        )
        self.rewind_log(step)

    def rewind_log(self, step: int) -> None:
        """Keep the lines up to `step`; say where some are missing, and keep what is not ours in
        another file.
        """
        path = self.path / "log.jsonl"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        records = [parsed(line) for line in lines]
        lost = records.count(None)
        if lost or (lines and not step):
            write_whole(path.with_name(f"{path.name}.aside"), path.read_bytes())
        if lost:
            warn(
                f"{path}: {lost} of {len(lines)} lines are damaged "
                f"and dropped; {path.name}.aside has all of it"
            )
        if self.begun and step and not path.exists():
            warn(f"{path} is missing, so the log goes on from step {step}")
        kept = [
            (line, r)
            for line, r in zip(lines, records, strict=True)
            if r and r["step"] <= step and r["kind"] != "final"
        ]
        write_whole(path, "".join(line + "\n" for line, _ in kept).encode())
        self.evaluated = {(r.get("split"), r["step"]) for _, r in kept if r["kind"] == "eval"}

    def release(self) -> None:
        """Let others have it."""
        self.lock.release()

    def leave(self) -> None:
        """Nothing came of it: do not leave an empty folder behind."""
        if not (self.path / "config.yaml").exists():
            self.lock.remove()
            with suppress(OSError):  # somebody's files are in it
                self.path.rmdir()
                self.path.parent.rmdir()
        self.lock.release()

    def advice(self, bad: int) -> str:
        """Where to begin again for a run that went wrong at the step `bad`: from the last one but
        that was good.

        The very last may be what made `bad` bad: weights that are finite and enormous.
        """
        found = [step for step in checkpoint.steps(self.checkpoints) if step < bad - 1]
        if not found:
            return "nothing was saved before; use name=NEW and a lower optim.lr="
        good = path_of(self.checkpoints, found[0])
        return f"use name=NEW resume={good} and a lower optim.lr= to go on from there"

    def save(self, step: int, state: dict, best: int | None) -> bool:
        """A checkpoint of `step`, once; on a full disk the old ones stay, and False is returned."""
        if step == self.saved:
            return True
        try:
            # or a power cut could take lines that the checkpoint resumes after
            sync(self.path / "log.jsonl")
            checkpoint.save(self.checkpoints, step, state)
            self.full, self.saved = False, step
        except OSError as error:
            self.complain(
                f"step {step} could not be saved ({error.strerror}); "
                "the checkpoints before it are kept"
            )
            return False
        with suppress(OSError):  # what cannot be deleted now will be later
            checkpoint.prune(self.checkpoints, self.config["checkpoint"]["keep_last"], best)
        return True

    def log(self, record: dict) -> None:
        """Append one line to log.jsonl; a killed process loses none that was written."""
        try:
            append(self.path / "log.jsonl", json.dumps(record).encode() + b"\n")
        except OSError as error:
            self.complain(f"log.jsonl could not be written ({error.strerror})")

    def complain(self, message: str) -> None:
        """Once, until it works again."""
        if not self.full:
            warn(f"{self.path}: {message}; training goes on, make room on the disk")
        self.full = True

    def finish(self, result: dict) -> None:
        write_whole(self.path / "result.json", (json.dumps(result, indent=1) + "\n").encode())


def existing(path: Path) -> Path:
    if not path.is_file() or not NAME.fullmatch(path.name) or path.suffix != ".pt":
        raise UserError(
            f"resume={path}: no such checkpoint; use resume=auto, "
            "true, false or a path as NAME/step_00000123.pt"
        )
    return path


def incidental(key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in INCIDENTAL)


def parsed(line: str) -> dict | None:
    """A line of log.jsonl; None for one that was torn by a crash, or is not ours."""
    try:
        record = json.loads(line)
        return record if type(record["step"]) is int and isinstance(record["kind"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def read_config(run: Path) -> dict:
    """The saved configuration of a run. Raises UserError if there is none."""
    path = run / "config.yaml"
    if not path.is_file():
        raise UserError(
            f"{run} is not a run (it has no config.yaml); use run=runs/NAME of a folder in runs/"
        )
    config = earlier.options(read_yaml(path))
    for key, value in earlier.ADDED_TO_RUNS.items():
        *groups, last = key.split(".")
        place = config
        for group in groups:
            place = place.setdefault(group, {})
        if isinstance(place, dict):
            place.setdefault(last, value)
    return config
