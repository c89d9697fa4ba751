"""The models by name. A new one is a file here, a line in MODELS and a yaml in `conf/model/`."""

import torch

from tinyreason.device import fast_type
from tinyreason.models.base import (
    DTYPES,
    LoopState,
    ModelConfig,
    Read,
    RecursiveModel,
    State,
    make_core,
    parameter_count,
)
from tinyreason.models.deep_thinking import DeepThinking
from tinyreason.models.eqr import EqR
from tinyreason.models.hrm import HRM
from tinyreason.models.huginn import Huginn
from tinyreason.models.looped import Looped
from tinyreason.models.mixture import Mixture
from tinyreason.models.mixture_token import MixtureToken
from tinyreason.models.openmythos import OpenMythos
from tinyreason.models.ouro import Ouro
from tinyreason.models.parcae import Parcae
from tinyreason.models.relaxed import Relaxed
from tinyreason.models.repair import Repair
from tinyreason.models.single_z import SingleZ
from tinyreason.models.trm import TRM
from tinyreason.models.universal import Universal
from tinyreason.models.urm import URM
from tinyreason.models.wta import WTA
from tinyreason.options import chosen
from tinyreason.puzzle import Facts

MODELS: dict[str, type[RecursiveModel]] = {
    "trm": TRM,
    "hrm": HRM,
    "single_z": SingleZ,
    "repair": Repair,
    "huginn": Huginn,
    "ouro": Ouro,
    "looped": Looped,
    "relaxed": Relaxed,
    "mixture": Mixture,
    "mixture_token": MixtureToken,
    "universal": Universal,
    "openmythos": OpenMythos,
    "urm": URM,
    "eqr": EqR,
    "wta": WTA,
    "deep_thinking": DeepThinking,
    "parcae": Parcae,
}

__all__ = ["DTYPES", "MODELS", "LoopState", "ModelConfig", "Read", "RecursiveModel", "State"]
__all__ += ["dtype_of", "make_core", "make_model", "name_of", "parameter_count"]


def make_model(config: ModelConfig, facts: Facts, device: torch.device) -> RecursiveModel:
    """A freshly initialised model on `device`.

    Raises UserError on a name or a size that no model has.
    """
    model = chosen(MODELS, "model.name", config.name)
    config.check("model.")
    return model(config, facts, dtype_of(config, device)).to(device)


def dtype_of(config: ModelConfig, device: torch.device) -> torch.dtype:
    """The type of the activations."""
    return fast_type(device) if config.dtype == "auto" else DTYPES[config.dtype]


def name_of(dtype: torch.dtype) -> str:
    """In DTYPES."""
    return next(name for name, one in DTYPES.items() if one == dtype)
