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


class TensorBoard:
    """Event files in the run's folder, for `tensorboard --logdir runs`."""

    def __init__(self, writer) -> None:
        self.writer = writer

    def log(self, record: dict) -> None:
        head = record.get("split", record["kind"])
        for key, value in record.items():
            if isinstance(value, int | float) and key != "step":
                self.writer.add_scalar(f"{head}/{key}", value, record["step"])

    def finish(self) -> None:
        self.writer.close()


class Fallback:
    """A tracker that is dropped at its first failure."""

    def __init__(self, tracker, name: str = "none"):
        self.tracker, self.name = tracker, name

    def log(self, record: dict) -> None:
        self.attempt(lambda: self.tracker.log(record))

    def finish(self) -> None:
        self.attempt(self.tracker.finish)

    def attempt(self, call) -> None:
        try:
            call()
        except Exception as error:  # a tracker's own failures are of every kind
            warn(self.name, error)
            self.tracker = NoTracker()


def make_tracker(config: Config, folder: Path) -> Fallback:
    """The tracker of `logger=`; one that cannot be had becomes none, with one warning."""
    name = config.logger.tracker
    try:
        return Fallback(TRACKERS[name](config, folder), name)
    except Exception as error:  # no package, no key, no network: all the same to the run
        warn(name, error)
        return Fallback(NoTracker())


def start_tensorboard(config: Config, folder: Path) -> TensorBoard:
    """Writes to `tensorboard/` in the run's folder."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # slow to import and needed by few
    except ImportError:
        raise ImportError("pip install 'tinyreason[tensorboard]'") from None
    return TensorBoard(SummaryWriter(folder / "tensorboard"))


def start_wandb(config: Config, folder: Path) -> Wandb:
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
    return Wandb(run)


TRACKERS = {
    "none": lambda config, folder: NoTracker(),
    "wandb": start_wandb,
    "tensorboard": start_tensorboard,
}


def warn(name: str, error: Exception) -> None:
    reason = " ".join(str(error).split())[:100]
    say.warn(f"{name} is off ({type(error).__name__}: {reason}); log.jsonl has everything")
