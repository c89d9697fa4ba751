"""The last recursions alone: truncated back-propagation through time."""

from dataclasses import dataclass

from tinyreason.gradient.base import Gradient, GradientConfig
from tinyreason.options import option


class OneStep(Gradient):
    """The last recursion, as in HRM. Source: arXiv 2506.21734, "approximate gradient"."""

    def tracked(self, total: int) -> int:
        return 1


class Full(Gradient):
    """The last cycle, as in TRM; all recursions of a model without cycles. Source: arXiv
    2510.04871, section 4.1.
    """

    def tracked(self, total: int) -> int:
        return min(total, self.cycle or total)


class Bptt(Gradient):
    """All recursions of the segment: back-propagation through time."""

    def tracked(self, total: int) -> int:
        return total


@dataclass
class LastConfig(GradientConfig):
    """Of `Last`."""

    recursions: int = option(least=1)


class Last(Gradient):
    """The last so many recursions: truncated back-propagation through time."""

    Config = LastConfig

    def tracked(self, total: int) -> int:
        return min(total, self.config.recursions)
