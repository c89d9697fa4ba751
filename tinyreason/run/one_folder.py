"""The folder of a run of several ranks: the first one has it, reads and writes; the others hear
what came of it. So it need not be on a disk that all machines see.
"""

from pathlib import Path
from typing import Any

from tinyreason.ranks import Ranks
from tinyreason.run.folder import RunFolder


class OneFolder:
    """What a `RunFolder` is to a rank."""

    def __init__(self, config: dict[str, Any], ranks: Ranks):
        self.ranks, self.options = ranks, config
        self.folder = RunFolder(config) if ranks.first else None
        self.path, self.begun = Path("runs") / config["name"], ranks.first and self.folder.begun
        self.evaluated: set[tuple[str | None, int]] = set()

    @property
    def config(self) -> dict[str, Any]:
        return self.options

    @config.setter
    def config(self, options: dict[str, Any]) -> None:
        self.options = options
        if self.folder:
            self.folder.config = options

    def start(self) -> tuple[Path, dict] | None:
        """See `RunFolder.start`; every rank gets what is in the checkpoint."""
        found = self.folder.start() if self.folder else None
        told = self.ranks.shared(found and [str(found[0]), found[1]])
        return told and (Path(told[0]), told[1])

    def begin(self, step: int) -> None:
        if self.folder:
            self.folder.begin(step)
        done = sorted(self.folder.evaluated) if self.folder else None
        self.evaluated = {(split, at) for split, at in self.ranks.shared(done)}

    def owns(self, path: Path) -> bool:
        return self.ranks.shared(self.folder.owns(path) if self.folder else None)

    def save(self, step: int, state: dict, best: int | None) -> bool:
        return self.ranks.shared(self.folder.save(step, state, best) if self.folder else None)

    def advice(self, bad: int) -> str:
        return self.folder.advice(bad) if self.folder else "see rank 0"

    def log(self, record: dict) -> None:
        if self.folder:
            self.folder.log(record)

    def finish(self, result: dict) -> None:
        if self.folder:
            self.folder.finish(result)

    def leave(self) -> None:
        if self.folder:
            self.folder.leave()

    def release(self) -> None:
        if self.folder:
            self.folder.release()


def folder_of(config: dict[str, Any], ranks: Ranks) -> RunFolder | OneFolder:
    """The folder of the run, as this rank sees it."""
    return RunFolder(config) if ranks.world == 1 else OneFolder(config, ranks)
