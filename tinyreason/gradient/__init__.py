"""Gradient schemes by name. A new one is a class here, a line in GRADIENTS and a yaml in
`conf/gradient/`.
"""

from tinyreason.gradient.base import Gradient, GradientConfig
from tinyreason.gradient.equilibrium import Implicit, ImplicitConfig, Phantom, PhantomConfig
from tinyreason.gradient.truncated import Bptt, Full, Last, LastConfig, OneStep
from tinyreason.options import chosen

GRADIENTS: dict[str, type[Gradient]] = {
    "one_step": OneStep,
    "full": Full,
    "bptt": Bptt,
    "last": Last,
    "phantom": Phantom,
    "implicit": Implicit,
}


def make_gradient(config: GradientConfig, cycle: int | None) -> Gradient:
    """The scheme of the name in `gradient.name`. Raises UserError if there is none."""
    return chosen(GRADIENTS, "gradient.name", config.name)(config, cycle)


__all__ = ["GRADIENTS", "Gradient", "GradientConfig", "ImplicitConfig", "LastConfig"]
__all__ += ["PhantomConfig", "make_gradient"]
