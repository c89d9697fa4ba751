"""A grid of any alphabet, without rules: an answer is right where it equals the known one."""

import numpy as np

from tinyreason.rules.base import PAD, Rules


class GridRules(Rules):
    """Final."""

    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        return {}

    def blanks(self, inputs: np.ndarray) -> np.ndarray:
        """Every cell of the puzzle."""
        return inputs != PAD if self.notation.padded else np.ones(inputs.shape, bool)
