"""How many recursions a segment has.

A model states the number that it was published with; a depth rule follows it or draws anew for each
step. Evaluation takes the stated number always. A new rule is a class in one of the files here, a
line in DEPTHS and a yaml in `conf/depth/`.
"""

from tinyreason.depth.base import (
    DepthConfig,
    DepthRule,
    Fixed,
    generator_of,
    of_rows,
    stated,
)
from tinyreason.depth.curriculum import Cgar, Curriculum, CurriculumConfig, Stages, StagesConfig
from tinyreason.depth.drawn import (
    Poisson,
    PoissonConfig,
    PoissonFill,
    RampedConfig,
    Simple,
    Uniform,
)
from tinyreason.depth.rows import PerRow, PerRowConfig
from tinyreason.gradient import Gradient
from tinyreason.options import chosen

DEPTHS: dict[str, type[DepthRule]] = {
    "fixed": Fixed,
    "poisson": Poisson,
    "poisson_fill": PoissonFill,
    "simple": Simple,
    "uniform": Uniform,
    "per_row": PerRow,
    "curriculum": Curriculum,
    "stages": Stages,
    "cgar": Cgar,
}

__all__ = ["DEPTHS", "Cgar", "Curriculum", "CurriculumConfig", "DepthConfig", "DepthRule", "Fixed"]
__all__ += ["PerRow", "PerRowConfig", "Poisson", "PoissonConfig", "PoissonFill", "RampedConfig"]
__all__ += ["Simple", "Stages", "StagesConfig", "Uniform"]
__all__ += ["generator_of", "make_depth", "of_rows", "stated"]


def make_depth(config: DepthConfig, recursions: int, gradient: Gradient, steps: int) -> DepthRule:
    """The rule of the name in `depth.name`, for a run of so many steps.

    Raises UserError if there is none, or if it does not go with the gradient scheme.
    """
    return chosen(DEPTHS, "depth.name", config.name)(config, recursions, gradient, steps)
