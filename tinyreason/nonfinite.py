"""Bad numbers do not spread: a step whose loss or gradient is not finite moves nothing.

The check cannot come after the optimizer: AdamATan2 turns an infinite gradient into a finite step
and an infinite moment, the sign of NaN is 0, and clipping by one NaN makes every gradient NaN. And
it cannot be an `if`, for which the host would wait for the device at every step: so the step is
taken and, on the device, taken back.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

MOST_IN_A_ROW = 10  # bad steps in a row that end a run


@torch.no_grad()
def only_if(
    good: Tensor, tensors: Callable[[], Iterable[Tensor]], change: Callable[[], None]
) -> None:
    """Run `change`; unless `good` (bool, on the device), all `tensors()` are then bitwise as
    before.

    `change` must work in place. A tensor that it makes, as an optimizer its state at the first
    step, goes back to 0.
    """
    before = {id(t): t.clone() for t in tensors()}
    change()
    for t in tensors():
        t.copy_(torch.where(good, t, before.get(id(t), 0)))


class BadSteps:
    """Counts bad steps on the device."""

    def __init__(self, device: torch.device):
        self.in_a_row = torch.zeros((), dtype=torch.int64, device=device)
        self.most = torch.zeros_like(self.in_a_row)
        # step of the row that ends the run, or of the newest
        self.first = torch.zeros_like(self.in_a_row)

    def count(self, good: Tensor, step: int | Tensor) -> None:
        """`step`: its number, where a step is recorded as a tensor."""
        self.in_a_row = torch.where(good, 0, self.in_a_row + 1)
        self.first = torch.where(
            good | (self.most >= MOST_IN_A_ROW), self.first, step - self.in_a_row + 1
        )
        self.most = torch.maximum(self.most, self.in_a_row)

    def lost(self) -> bool:
        """MOST_IN_A_ROW steps in a row were bad, some time. Waits for the device."""
        return int(self.most) >= MOST_IN_A_ROW
