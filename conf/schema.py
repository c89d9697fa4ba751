"""The types of a configuration; the values stand in the yaml files beside this one.

The dataclasses of an axis live with its code; what the command line adds stands here. Names select from registries:
nothing in a configuration is ever imported or instantiated.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tinyreason.errors import UserError
from tinyreason.halting import RULES
from tinyreason.losses import CROSS_ENTROPIES
from tinyreason.models import DTYPES, MODELS
from tinyreason.optim import RULES as OPTIMIZERS
from tinyreason.trainer import Training


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
class CheckpointConfig:
    """What is kept of a run while it trains."""

    keep_last: int  # newest checkpoints; the one that was best on held-out puzzles is kept too
    carry: str  # keep | drop


@dataclass
class Config(Training):
    """A training run, as the command line knows it."""

    task: dict[str, Any]  # `name`, `seed`, and the keyword arguments of the task
    logger: LoggerConfig
    eval: EvalConfig
    checkpoint: CheckpointConfig
    scale: str
    name: str | None
    device: str
    deterministic: bool  # on CUDA: the same bits each time
    resume: str  # auto | true | false | path
    resume_override: bool  # go on although options have changed
    max_minutes: float | None
    log_every: int
    eval_every: int
    save_every: int


@dataclass
class SolveConfig:
    """An evaluation of a finished or started run, or of an exported model."""

    run: str
    source: Any  # other files for the task's
    split: str
    max_puzzles: int | None
    segments: int | None
    halt: bool | None
    batch: int | None
    votes: int | None
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
            raise UserError(
                f"{missing[0]} is missing; type {missing[0]}={'runs/NAME' if missing[0] == 'run' else 'DIR'}"
            )
        if not isinstance(config, DictConfig) and "${" in repr(config):  # of a file, not typed by the user
            raise UserError("a saved configuration has a '${...}', which is not followed; write a plain value")
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config))
    except (OmegaConfBaseException, OverflowError) as error:  # the latter for a whole number that no float holds
        key = getattr(error, "full_key", None) or "config"
        raise UserError(f"{key}: {str(error).splitlines()[0]}") from None


def plain(config) -> dict:
    """A typed configuration as nested dicts, lists, numbers and strings: what is saved and compared."""
    try:
        return OmegaConf.to_container(OmegaConf.structured(config))
    except OmegaConfBaseException as error:  # `typed` lets a map pass among the numbers of a list
        raise UserError(f"{getattr(error, 'full_key', None) or 'config'}: {str(error).splitlines()[0]}") from None


ADDED = {  # options that are newer than some saved runs, and what those runs did
    "model.checkpoint": False,
    "micro_batch": None,
    "resume_override": False,
    "deterministic": False,
    "checkpoint.keep_last": 3,
    "checkpoint.carry": "keep",
}
RANGES = {  # key: (least, most); None passes both, as does a None value
    "steps": (1, None),
    "batch": (1, None),
    "log_every": (1, None),
    "eval_every": (1, None),
    "save_every": (1, None),
    "micro_batch": (1, None),
    "checkpoint.keep_last": (2, None),
    "eval.batch": (1, None),
    "eval.segments": (1, None),
    "eval.puzzles": (1, None),
    "halting.segments": (1, None),
    "model.width": (1, None),
    "model.heads": (1, None),
    "model.layers": (1, None),
    "model.inner_multiple": (1, None),
    "model.H_cycles": (1, None),
    "model.L_cycles": (1, None),
    "model.prefix": (0, None),
    "max_minutes": (0, None),
    "eval.votes": (0, None),
    "seed": (0, 2**63 - 1),
    "model.expansion": (0.1, None),
    "optim.lr": (0, None),
    "optim.muon_lr": (0, None),
    "optim.embedding_lr": (0, None),
    "optim.warmup": (0, None),
    "optim.clip": (0, None),
    "optim.weight_decay": (0, None),
    "optim.muon_weight_decay": (0, None),
    "optim.embedding_weight_decay": (0, None),
    "ema": (0, 1),
    "halting.exploration": (0, 1),
    "optim.min_lr_ratio": (0, 1),
}
CHOICES = {
    "compile": ("auto", "true", "false"),
    "checkpoint.carry": ("keep", "drop"),
    "logger.tracker": ("none", "wandb"),
    "eval.split": ("train", "valid", "test"),
    "model.recursion": tuple(MODELS),
    "model.mix": ("attention", "mixer"),
    "model.positions": ("rotary", "learned", "grid", "none"),
    "model.dtype": ("auto", *DTYPES),
    "halting.rule": tuple(RULES),
    "optim.rule": tuple(OPTIMIZERS),
    "optim.matrices": ("same", "muon"),
    "loss": tuple(CROSS_ENTROPIES),
}


def check(config: Config) -> None:
    """Raises UserError for the first value out of its range, before anything is loaded or written."""
    check_values(flat(plain(config)), {})
    if config.eval.votes and config.task.get("name") != "arc":
        raise UserError("eval.votes is for task=arc; leave it out")
    _ = config.model.depth  # an unknown gradient scheme
    betas = config.optim.betas
    if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
        raise UserError(f"optim.betas={betas} must be two numbers from 0 to below 1, as in 'optim.betas=[0.9,0.95]'")


def check_values(values: dict, narrower: dict[str, int]) -> None:
    """Raises UserError for the first of the `flat` values out of its range; `narrower` has other upper bounds."""
    for key, value in values.items():
        if key in RANGES:
            least, most = RANGES[key]
            at_least(least, **{key: value})
            most = narrower.get(key, most)
            if None not in (most, value) and value > most:
                raise UserError(f"{key}={value} must be from {least} to {most}")
        if key in CHOICES and value not in CHOICES[key]:
            raise UserError(f"{key}={value} is unknown; type one of {', '.join(CHOICES[key])}")


def flat(config: dict, prefix: str = "") -> dict:
    """{"model.width": 64, ...}"""
    out = {}
    for key, value in config.items():
        out |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return out


def training_config(words: DictConfig) -> Config:
    """What train.py trains with, every value checked."""
    config = typed(Config, words)
    config = replace(config, resume=lowered(config.resume), compile=lowered(config.compile))
    check(config)
    return config


def lowered(value: str) -> str:
    """YAML's true and false, which arrive as "True" and "False", as they were typed."""
    return value.lower() if value in ("True", "False") else value


def at_least(low: float, **values: float | None) -> None:
    """Raises UserError for the first value under `low`; None passes."""
    for key, value in values.items():
        if value is not None and not low <= value < math.inf:  # NaN too
            raise UserError(f"{key}={value} must be {low} or more")
