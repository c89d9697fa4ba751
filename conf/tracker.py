"""Trackers beside log.jsonl.

None of them can stop a run: whatever goes wrong is one warning, and training goes on.
"""

import os
from pathlib import Path

from conf.schema import Config, plain
from tinyreason.run import console as say

# seconds that wandb may take to reach its server, and at the end to send the rest
WANDB_SECONDS = 10


class NoTracker:
    """log.jsonl is enough."""

    def log(self, record: dict) -> None:
        pass

    def finish(self) -> None:
        pass


class Wandb:
    """Weights & Biases, online with a key or WANDB_MODE=offline."""

    def __init__(self, run) -> None:
        self.run = run

    def log(self, record: dict) -> None:
        self.run.log(record, step=record["step"])

    def finish(self) -> None:
        self.run.finish(quiet=True)


class Fallback:
    """A tracker that is dropped at its first failure."""

    def __init__(self, tracker):
        self.tracker = tracker

    def log(self, record: dict) -> None:
        self.attempt(lambda: self.tracker.log(record))

    def finish(self) -> None:
        self.attempt(self.tracker.finish)

    def attempt(self, call) -> None:
        try:
            call()
        except Exception as error:  # a tracker's own failures are of every kind
            warn(error)
            self.tracker = NoTracker()


def make_tracker(config: Config, folder: Path) -> Fallback:
    """The tracker of `logger=`; a wandb that cannot be reached becomes none, with one warning."""
    if config.logger.tracker == "none":
        return Fallback(NoTracker())
    try:
        return Fallback(Wandb(start_wandb(config, folder)))
    except Exception as error:  # no package, no key, no network: all the same to the run
        warn(error)
        return Fallback(NoTracker())


def start_wandb(config: Config, folder: Path):
    """A run over there, or the one that this folder has begun."""
    import wandb  # slow to import and needed by few

    note = folder / "wandb-id"
    identity = (note.exists() and note.read_text()) or None
    settings = wandb.Settings(init_timeout=WANDB_SECONDS, finish_timeout=WANDB_SECONDS, silent=True)
    mode = os.environ.get("WANDB_MODE")
    where = {
        "project": config.logger.project,
        "name": config.name,
        "id": identity,
        "resume": "allow",
        "mode": mode,
    }
    run = wandb.init(**where, config=plain(config), settings=settings)
    note.write_text(run.id)
    return run


def warn(error: Exception) -> None:
    reason = " ".join(str(error).split())[:100]
    say.warn(f"wandb is off ({type(error).__name__}: {reason}); log.jsonl has everything")
