"""The smallest of everything, for tests: a configuration, a model, a batch."""

from collections.abc import Iterable

import torch

from conf.cli import composed
from conf.schema import Config, typed
from tinyreason.halting import HaltingConfig
from tinyreason.models import ModelConfig, RecursiveModel, make_model
from tinyreason.puzzle import IGNORE, Batch, Facts

CPU = torch.device("cpu")
FACTS = Facts(vocab_size=6, grid=(4, 4), box=(2, 2), num_puzzle_identifiers=3)
MODEL = {
    "recursion": "trm",
    "mix": "attention",
    "width": 16,
    "heads": 2,
    "layers": 1,
    "expansion": 2,
    "inner_multiple": 8,
    "H_cycles": 2,
    "L_cycles": 2,
    "positions": "rotary",
    "prefix": 2,
    "puzzle_embedding": True,
    "gradient": "full",
    "checkpoint": False,
    "dtype": "float32",
}


def config(*words: str) -> Config:
    """What `python train.py *words` would train with."""
    return typed(Config, composed(list(words)))


def model(facts: Facts = FACTS, seed: int = 0, **changes) -> RecursiveModel:
    torch.manual_seed(seed)
    return make_model(ModelConfig(**(MODEL | changes)), facts, CPU)


def batch(rows: int = 4, seed: int = 0, ignored: Iterable[tuple[int, int]] = (), facts: Facts = FACTS) -> Batch:
    """Random puzzles; the cells `ignored` (row, cell) are not scored."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, facts.seq_len)
    inputs = torch.randint(1, facts.vocab_size, shape, generator=generator, dtype=torch.int32)
    labels = torch.randint(1, facts.vocab_size, shape, generator=generator)
    for row, cell in ignored:
        labels[row, cell] = IGNORE
    return Batch(inputs, labels, torch.arange(rows, dtype=torch.int32) % facts.num_puzzle_identifiers)


def halting_config(rule: str, segments: int = 16, exploration: float = 0.0) -> HaltingConfig:
    return HaltingConfig(rule, segments, exploration)
