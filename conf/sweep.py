"""The runs of a sweep, `-m`: one after the other, or side by side by hydra/launcher=joblib or a
cluster's launcher, each then in a process of its own.

Side by side, what a run leaves with has to reach the process that was typed, and a run that is
asked to stop must not take those beside it along before they have saved.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from tinyreason.run.console import warn

SIGNALLED = 128  # exit codes from here on are those of signals
STOPPED: list[int] = []  # codes with which runs of this process left because they were asked to
FAILED: list[int] = []  # and for other reasons
LAUNCHER = "hydra/launcher="
ROOT = str(Path(__file__).parents[1])


class Left(Exception):
    """A run in another process has left with a code. The others go on, and then Hydra raises it."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


def sweeping() -> bool:
    """This is one run of several, by `-m`."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


class Job:
    """What Hydra calls for each run, in this process or in another."""

    def __init__(self, function: Callable[[DictConfig], None]):
        self.function, self.home = function, os.getpid()

    def __call__(self, words: DictConfig) -> None:
        if STOPPED:  # a run that was to follow
            raise Left(STOPPED[0])
        try:
            self.function(words)
        except SystemExit as left:
            here, signalled = os.getpid() == self.home, left.code >= SIGNALLED
            if not sweeping() or (here and signalled):
                raise
            (STOPPED if signalled else FAILED).append(left.code)
            if not here:
                raise Left(left.code) from None


@contextmanager
def launching(words: list[str]) -> Iterator[None]:
    """Whatever `words` ask for; leaves with the code of a run that failed.

    Ctrl-C reaches all processes of a sweep on this machine: this one waits until the others have
    saved. A second one ends them.
    """

    def heard(number: int, _) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        warn("SIGINT: the runs save and leave; once more to end them at once")

    STOPPED.clear()
    FAILED.clear()
    beside = f"{LAUNCHER}joblib" in words
    before = signal.signal(signal.SIGINT, heard) if beside else None
    there = os.environ.get("PYTHONPATH")
    if any(word.startswith(LAUNCHER) for word in words):  # the others find this file
        os.environ["PYTHONPATH"] = os.pathsep.join([ROOT, there] if there else [ROOT])
    try:
        yield
    except Left as left:
        FAILED.append(left.code)
    finally:
        if beside:
            signal.signal(signal.SIGINT, before)
        if there is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = there
    if FAILED:
        sys.exit(max(FAILED))
