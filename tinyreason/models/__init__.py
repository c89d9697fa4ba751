"""The models, by the name of their recursion. A new one is a file here, a line here and a yaml in `conf/model/`."""

import torch

from tinyreason.errors import UserError
from tinyreason.models.base import ModelConfig, Read, RecursiveModel, State, make_core, parameter_count
from tinyreason.models.hrm import HRM
from tinyreason.models.single_z import SingleZ
from tinyreason.models.trm import TRM
from tinyreason.puzzle import Facts

MODELS: dict[str, type[RecursiveModel]] = {"trm": TRM, "hrm": HRM, "single_z": SingleZ}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}

__all__ = ["DTYPES", "MODELS", "ModelConfig", "Read", "RecursiveModel", "State"]
__all__ += ["dtype_of", "make_core", "make_model", "parameter_count"]


def make_model(config: ModelConfig, facts: Facts, device: torch.device) -> RecursiveModel:
    """A freshly initialised model on `device`. Raises UserError on a name or a size that no model has."""
    if config.recursion not in MODELS:
        raise UserError(f"model.recursion={config.recursion} is unknown; type one of {', '.join(MODELS)}")
    return MODELS[config.recursion](config, facts, dtype_of(config, device)).to(device)


def dtype_of(config: ModelConfig, device: torch.device) -> torch.dtype:
    """The type of the activations. Raises UserError on an unknown name."""
    # bf16 pays where the hardware multiplies it fast; on a CPU without such units it is slower than float32
    dtype = ("bfloat16" if device.type == "cuda" else "float32") if config.dtype == "auto" else config.dtype
    if dtype not in DTYPES:
        raise UserError(f"model.dtype={dtype} is unknown; type one of auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]
