"""The checkpoint of a run that a user means: the last, the best, or that of a step."""

from pathlib import Path

from tinyreason.errors import UserError
from tinyreason.run import checkpoint
from tinyreason.run.console import warn
from tinyreason.run.manifest import path_of


def state_of(run: Path, which: str) -> tuple[Path, dict]:
    """A good checkpoint of a run and what is in it: the "last", the "best", or that of a step.

    Raises UserError if the run has none.
    """
    folder = run / "checkpoints"
    if which not in ("last", "best") and not which.isdecimal():
        raise UserError(f"checkpoint={which} is unknown; use best, last or a step")
    if which.isdecimal():
        return at_step(folder, int(which))
    found = checkpoint.newest_good(folder, warn)
    if found is None:
        raise UserError(f"{run} has no checkpoint yet; train longer or use a smaller save_every=")
    if which == "last":
        return found
    best = found[1].get("best")
    if not best:
        raise UserError(f"{run} was not evaluated while training, so there is no best; use last")
    return at_step(folder, best["step"])


def at_step(folder: Path, step: int) -> tuple[Path, dict]:
    """The checkpoint of a step. Raises UserError if there is none."""
    path = path_of(folder, step)
    if not path.is_file():
        there = ", ".join(map(str, sorted(checkpoint.steps(folder)))) or "none"
        raise UserError(f"{path}: no such checkpoint; there are those of steps {there}")
    return path, checkpoint.load(path)


def weights_of(state: dict, which: str) -> dict:
    """The averaged or the raw weights in a checkpoint; where nothing was averaged, they are the
    same.
    """
    if which not in ("ema", "raw"):
        raise UserError(f"weights={which} is unknown; use weights=ema or weights=raw")
    found = (which == "ema" and state.get("ema")) or state.get("model")
    if not isinstance(found, dict):
        raise UserError("the checkpoint has no weights of a model")
    return found
