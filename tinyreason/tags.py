"""What an optimizer must know of a parameter, said where the parameter is made."""

from typing import NamedTuple

from torch import nn


class Tag(NamedTuple):
    """The optimizer's view of a parameter."""

    matrix: bool = False  # a weight matrix of a core: Muon takes it, where Muon is asked for
    decay: bool = True  # weight decay moves it
    lr_scale: float = 1.0  # its learning rate, as a multiple of everybody's


def tagged(parameter: nn.Parameter, **tag: bool | float) -> nn.Parameter:
    """The parameter, with the fields of a `Tag` given by name."""
    parameter.tag = Tag(**tag)
    return parameter


def tag_of(parameter: nn.Parameter) -> Tag:
    """The tag of a parameter; one that was never tagged is moved like most."""
    return getattr(parameter, "tag", Tag())
