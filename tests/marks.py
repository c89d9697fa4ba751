"""Which cases of a test the quick set leaves to `-m hostile`."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest


def hostile(*values: Any, when: bool = True, **options: Any) -> Any:
    """A case that is not in the quick set."""
    return pytest.param(*values, marks=pytest.mark.hostile if when else (), **options)


def cross(*axes: Sequence) -> list:
    """Every combination; the quick set has the first and those that differ from it in one value."""
    cases = []
    for places in product(*(range(len(axis)) for axis in axes)):
        values = (axis[place] for axis, place in zip(axes, places, strict=True))
        cases.append(hostile(*values, when=sum(map(bool, places)) > 1))
    return cases
