"""The same training FLOPs for every system: those of TRM by experiment=trm_small_slow.

FLOPs are those of matrix products, forward and backward, by `eval.cost`: the closed form, or
counted on meta tensors. Where the depth of a step is drawn they are those of the stated depth.
"""

import torch

from conf.cli import composed
from conf.schema import Config, training_config
from data.registry import facts_of
from eval.cost.model_measured import estimate
from eval.zoo.systems import System
from tinyreason.models import make_model, parameter_count

BASE = ("task=sudoku", "scale=small")
YARDSTICK = ("model=trm", "experiment=trm_small_slow")  # at the rates and slots of all others


def config_of(words: tuple[str, ...]) -> Config:
    """What train.py would train with."""
    return training_config(composed([*BASE, *words]))


def flops_of_step(config: Config) -> int:
    """Of one segment of each slot, forward and backward."""
    one = estimate(config, facts_of(config.task), torch.float32)
    return sum(one.flops_of(config.batch).values())


def budget() -> int:
    """FLOPs of the yardstick's run."""
    config = config_of(YARDSTICK)
    return config.steps * flops_of_step(config)


def steps_of(system: System, share: float = 1.0) -> int:
    """Steps that cost `share` of the budget."""
    return max(1, round(share * budget() / flops_of_step(config_of(system.words))))


def parameters_of(system: System) -> int:
    """As papers count them."""
    config, meta = config_of(system.words), torch.device("meta")
    with meta:
        return parameter_count(make_model(config.model, facts_of(config.task), meta))
