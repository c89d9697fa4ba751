"""The types of a configuration; the values stand in the yaml files beside this one.

The dataclasses of an axis live with its code; what the command line adds stands here. Names select from registries:
nothing in a configuration is ever imported or instantiated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tinyreason.errors import UserError
from tinyreason.halting import HaltingConfig
from tinyreason.models import ModelConfig
from tinyreason.optim import OptimConfig


@dataclass
class EvalConfig:
    """How a model is examined."""

    split: str  # train | valid | test
    puzzles: int | None  # at most so many; None: all
    segments: int | None  # None: as many as in training
    halt: bool
    batch: int
    votes: int


@dataclass
class LoggerConfig:
    """Where a log goes beside log.jsonl."""

    tracker: str  # none | wandb
    project: str


@dataclass
class Config:
    """A training run."""

    task: dict[str, Any]  # `name`, `seed`, and the keyword arguments of the task
    model: ModelConfig
    halting: HaltingConfig
    optim: OptimConfig
    logger: LoggerConfig
    eval: EvalConfig
    scale: str
    name: str | None
    seed: int
    device: str
    compile: str  # auto | true | false
    resume: str  # auto | true | false | path
    max_minutes: float | None
    steps: int  # segments of a slot, and optimizer steps
    batch: int  # slots
    loss: str  # stablemax | softmax
    ema: float | None  # decay of the averaged weights; None: none
    log_every: int
    eval_every: int
    save_every: int


@dataclass
class SolveConfig:
    """An evaluation of a finished or started run."""

    run: str
    split: str
    max_puzzles: int | None
    segments: int | None
    halt: bool
    batch: int
    votes: int
    device: str
    weights: str  # ema | raw
    json: str | None


@dataclass
class BuildConfig:
    """A data set to write."""

    task: dict[str, Any]
    scale: str
    out: str
    copies: int


def typed(schema: type, config: Mapping[str, Any]):
    """`config` as an instance of `schema`. Raises UserError, one line, for a key or a type that does not fit."""
    try:
        missing = [k for k in config if OmegaConf.is_missing(config, k)] if isinstance(config, DictConfig) else []
        if missing:
            raise UserError(f"{missing[0]} is missing; type {missing[0]}=")
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "config"
        raise UserError(f"{key}: {str(error).splitlines()[0]}") from None


def plain(config) -> dict:
    """A typed configuration as nested dicts, lists, numbers and strings: what is saved and compared."""
    return OmegaConf.to_container(OmegaConf.structured(config))


def at_least(low: float, **values: float | None) -> None:
    """Raises UserError for the first value under `low`; None passes."""
    for key, value in values.items():
        if value is not None and value < low:
            raise UserError(f"{key}={value} must be {low} or more")
