"""The types of a configuration; the values stand in the yaml files beside this one.

The dataclasses of an axis live with its code, and so do their ranges; what the command line adds
stands here. Names select from registries: nothing in a configuration is ever imported or
instantiated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from tinyreason.axes import AXES
from tinyreason.errors import UserError
from tinyreason.exits import refuse_exit
from tinyreason.gradient import GRADIENTS
from tinyreason.models import MODELS
from tinyreason.options import Options, check_value, chosen, option
from tinyreason.solver import EvalConfig
from tinyreason.trainer import Training


@dataclass
class LoggerConfig(Options):
    """Where a log goes beside log.jsonl."""

    tracker: str = option(choices=("none", "wandb", "tensorboard"))
    project: str


@dataclass
class CheckpointConfig(Options):
    """What is kept of a run while it trains."""

    keep_last: int = option(least=2)  # newest checkpoints; the best on held-out puzzles is kept too
    carry: str = option(choices=("keep", "drop"))


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
    deterministic: bool  # the same bits each time
    init: str | None  # begin from weights alone: a run, an export, hub:...
    resume: str  # auto | true | false | path
    resume_override: bool  # go on although options have changed
    max_minutes: float | None = option(least=0)
    log_every: int = option(least=1)
    eval_every: int = option(least=1)
    save_every: int = option(least=1)

    def check_together(self, prefix: str) -> None:
        super().check_together(prefix)
        if self.eval.votes and self.task.get("name") != "arc":
            raise UserError("eval.votes is for task=arc; leave it out")
        plain = GRADIENTS[self.gradient.name].plain
        refuse_exit(self.eval.exit, MODELS[self.model.name].gates, plain)


@dataclass
class SolveConfig:
    """An evaluation of a finished or started run, or of an exported model."""

    run: str
    checkpoint: str  # best | last | a step
    puzzle: Any  # a grid, a file, "-" for standard input
    source: Any  # other files for the task's
    task: dict[str, Any]  # how they are to be read; null: as it is seen in them
    split: str
    max_puzzles: int | None
    segments: int | None
    recursions: int | None
    starts: int | None
    exit: str | None
    threshold: float | None
    pool: str | None
    halt: bool | None
    confidence: float | None
    batch: int | None
    votes: int | None
    device: str
    weights: str  # ema | raw
    embedding: str  # own | mean
    json: str | None
    answers: str | None


@dataclass
class DiagnoseConfig:
    """What a trained model is diagnosed with."""

    run: str
    checkpoint: str  # best | last | a step
    weights: str  # ema | raw
    device: str
    split: str
    source: Any  # other files for the task's
    task: dict[str, Any]  # how they are to be read; null: as it is seen in them
    embedding: str  # own | mean
    max_puzzles: int | None
    segments: int | None
    sigmas: list[float]
    seed: int
    batch: int | None
    json: str | None
    out: str | None


@dataclass
class BuildConfig:
    """A data set to write."""

    task: dict[str, Any]
    scale: str
    out: str
    copies: int
    workers: int


def typed(schema: type, config: Mapping[str, Any]):
    """`config` as an instance of `schema`.

    Raises UserError, one line, for a key or a type that does not fit.
    """
    try:
        missing = (
            [k for k in config if OmegaConf.is_missing(config, k)]
            if isinstance(config, DictConfig)
            else []
        )
        if missing:
            value = "runs/NAME" if missing[0] == "run" else "DIR"
            raise UserError(f"{missing[0]} is missing; use {missing[0]}={value}")
        if not isinstance(config, DictConfig) and "${" in repr(
            config
        ):  # of a file, not typed by the user
            raise UserError(
                "a saved configuration has a '${...}', which is not followed; write a plain value"
            )
        return OmegaConf.to_object(OmegaConf.merge(structured(schema, config), config))
    except (
        OmegaConfBaseException,
        OverflowError,
    ) as error:  # the latter for a whole number that no float holds
        key = getattr(error, "full_key", None) or "config"
        if "missing mandatory value" in str(error):
            raise UserError(f"{key} is missing; use {key}=VALUE") from None
        axis, _, option = key.partition(".")
        if isinstance(error, ConfigKeyError) and axis in AXES and option:
            name = config[axis]["name"]
            has = [field.name for field in fields(AXES[axis][name].Config)]
            near = get_close_matches(option, has, 1)
            advice = f"; did you mean {axis}.{near[0]}?" if near else f"; it has {', '.join(has)}"
            raise UserError(f"{key} is no option of {axis}.name={name}{advice}") from None
        raise UserError(f"{key}: {str(error).splitlines()[0]}") from None


def structured(schema: type, config: Mapping[str, Any]) -> DictConfig:
    """The shape of a configuration: where a name decides which options there are, those of the name
    in `config`.
    """
    shape = OmegaConf.structured(schema)
    for axis in AXES.keys() & {field.name for field in fields(schema)}:
        part = config.get(axis)
        name = part.get("name") if isinstance(part, Mapping | DictConfig) else None
        shape[axis] = OmegaConf.structured(chosen(AXES[axis], f"{axis}.name", name).Config)
    return shape


def plain(config) -> dict:
    """A typed configuration as nested dicts, lists, numbers and strings: what is saved and
    compared.
    """
    try:
        return OmegaConf.to_container(OmegaConf.structured(config))
    except OmegaConfBaseException as error:  # `typed` lets a map pass among the numbers of a list
        raise UserError(
            f"{getattr(error, 'full_key', None) or 'config'}: {str(error).splitlines()[0]}"
        ) from None


def training_config(words: DictConfig) -> Config:
    """What train.py trains with, every value checked."""
    config = typed(Config, words)
    switches = {key: lowered(getattr(config, key)) for key in ("resume", "compile", "graph")}
    config = replace(config, **switches)
    config.check()
    return config


def lowered(value: str) -> str:
    """YAML's true and false, which arrive as "True" and "False", as they were typed."""
    return value.lower() if value in ("True", "False") else value


def at_least(least: float, **values: float | None) -> None:
    """Raises UserError for the first value under `least`; None passes."""
    for key, value in values.items():
        check_value(key, value, False, least, None, (), None)
