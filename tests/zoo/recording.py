"""One recording of a reference: its arrays, and our model with its weights."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests import tiny
from tinyreason.losses import softmax
from tinyreason.models import RecursiveModel, make_model
from tinyreason.models.base import ModelConfig
from tinyreason.noise import Noise
from tinyreason.puzzle import IGNORE, Batch, Facts

TOLERANCE = {
    "states": 3e-5,
    "logits": 3e-5,
    "losses": 2e-6,
    "gradients": 2e-5,
    "decisions": 0,
    "draws": 0,
    "rates": 1e-6,  # of a law, drawn themselves
    "spreads": 1e-6,  # of a fresh model's parameters
}


class Given(Noise):
    """A start that was recorded, in place of one that is drawn."""

    def __init__(self, start: Tensor):
        self.start = start

    def normal(self, like: Tensor) -> Tensor:
        raise AssertionError("the recorded start is not made of normal numbers")

    def at(self, t: int) -> Noise:
        return self

    def truncated_normal(self, like: Tensor, std: float, cut: float) -> Tensor:
        return self.start


class Recording:
    """The arrays of a file by name."""

    def __init__(self, path: Path):
        with np.load(path, allow_pickle=False) as file:
            self.data = dict(file)
        self.config = json.loads(str(self.data.pop("config")))

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.data[key])

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The arrays whose names begin so, by the rest of their names."""
        keys = [key for key in self.data if key.startswith(prefix)]
        return {key.removeprefix(prefix): self.tensor(key) for key in keys}

    def facts(self) -> Facts:
        return Facts(self.config["vocab"], (1, self.config["seq"]), ignore_label_id=None)

    def batch(self) -> Batch:
        tokens, labels = self.tensor("input/tokens"), self.tensor("input/labels")
        return Batch(tokens.int(), labels.long(), torch.zeros(len(tokens), dtype=torch.int32))

    def model_config(self, name: str, **options) -> ModelConfig:
        """A model of ours of the recorded sizes."""
        width, inner = self.config["width"], self.config["inner"]
        sizes = {
            "width": width,
            "heads": self.config["heads"],
            "expansion": 1.5 * inner / width,
            "inner_multiple": 1,
            "prefix": 0,
            "puzzle_embedding": False,
            "dtype": "float32",
        }
        return tiny.model_config(name, **sizes | options)

    def model(
        self, config: ModelConfig, weights: Mapping[str, Tensor], facts: Facts | None = None
    ) -> RecursiveModel:
        """Our model, with weights under our names, where any are given; what has neither weight
        nor gradient there is the halting head.
        """
        model = make_model(config, facts or self.facts(), torch.device("cpu"))
        own = model.state_dict()
        missing = own.keys() - weights.keys()
        assert not weights or all(name.startswith("heads.halt.") for name in missing), missing
        shaped = {name: weight.view_as(own[name]) for name, weight in weights.items()}
        model.load_state_dict(own | shaped)
        return model


def renamed(names: list[tuple[str, str]], theirs: str) -> str:
    for old, new in names:
        theirs = theirs.replace(old, new)
    return theirs


def absolute(mine: Tensor, theirs: Tensor) -> float:
    return (mine.detach().double() - theirs.double()).abs().max().item()


def relative(mine: Tensor, theirs: Tensor) -> float:
    """Of the largest entry."""
    return absolute(mine, theirs) / max(theirs.double().abs().max().item(), 1e-30)


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of all scored cells of a batch."""
    scored = labels != IGNORE
    return (softmax(logits, labels.clamp(min=0)) * scored).sum() / scored.sum()


def gradient_difference(
    recording: Recording, prefix: str, gradient_of: Callable[[str], Tensor]
) -> float:
    """The largest difference of the whole gradients and the norms under `prefix`; `gradient_of`
    takes their names.
    """
    whole = recording.under(f"{prefix}grad/")
    norms = recording.under(f"{prefix}grad_norm/")
    found = [relative(gradient_of(name).view_as(g), g) for name, g in whole.items()]
    found += [relative(gradient_of(name).double().norm(), g) for name, g in norms.items()]
    return max(found)
