"""ARC grids on a canvas: PAD 0, EOS 1 where a grid ends, colours 2..11. No rules: which answer is
right is for a task to know.
"""

import numpy as np

from tinyreason.rules.base import Rules

COLOURS = "0123456789"


class ARCRules(Rules):
    """Final."""

    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        return {}
