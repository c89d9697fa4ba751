"""The ten rows of the ablation chain: which switches each one turns on. No torch.

Source: B. Huang, "Loop-Model FLOPs and Memory in an Ablation Chain" (Husky's Log, Apr 2026). A
rollout is T steps, each step refines the state K times and then takes in the next input.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Sizes:
    """The post's sizes. The input is as wide as the state."""

    B: int = 32  # batch
    T: int = 32  # steps of a rollout
    D: int = 256  # width
    K: int = 6  # refinements of a step


@dataclass(frozen=True)
class Switches:
    """The ingredients. All off is the plain recurrent network that the chain begins with.

    Raises ValueError for a combination in which a part of the network would learn nothing or a
    graph be used twice.
    """

    shared: bool = False  # one block for all refinements, or T K blocks
    every_loss: bool = False  # a loss at every step, or at the last one alone
    detach: bool = False  # each step begins without gradient into the one before
    stream: bool = False  # each step's loss goes backward at once, not the sum of all at the end
    instant: bool = False  # the optimizer moves after every step, not after the rollout
    last_only: bool = False  # gradient through the last refinement of a step, or through all K
    # keep a step's inputs and compute its tracked refinements again in the backward pass
    checkpoint: bool = False

    def __post_init__(self) -> None:
        if (self.detach or self.last_only) and not self.every_loss:
            raise ValueError("a step that is cut off learns from its own loss only: every_loss")
        if (self.stream or self.instant) and not self.detach:
            raise ValueError(
                "a step whose graph is gone cannot be reached from the next one: detach"
            )
        if self.instant and not self.shared:
            raise ValueError(
                "an update after each step is for the block that the next step uses: shared"
            )

    def steps(self, T: int) -> int:
        """Steps of one training interval, which ends with an update."""
        return 1 if self.instant else T

    def tracked(self, K: int) -> int:
        """Refinements of a step that carry gradient."""
        return 1 if self.last_only else K

    def cut(self, K: int) -> bool:
        """Does no gradient reach the step before?"""
        return self.detach or self.tracked(K) < K


V1 = Switches()
V2 = replace(V1, shared=True)
V3 = replace(V2, every_loss=True)
V4 = replace(V3, detach=True)
V5 = replace(V4, instant=True)
V6 = replace(V5, last_only=True)
V7 = replace(V6, checkpoint=True)

ROWS = {
    "V1": V1,
    "V2": V2,
    "V3": V3,
    "V3+ckpt": replace(V3, checkpoint=True),
    "V4": V4,
    "V4+stream": replace(V4, stream=True),
    "V4+ckpt": replace(V4, checkpoint=True),
    "V5": V5,
    "V6": V6,
    "V7": V7,
}
