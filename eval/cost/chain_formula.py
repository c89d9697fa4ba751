"""What one training interval of a row costs, by arithmetic. No torch.

Source: the symbols (cℓ, cJ, cB, cθ, r_ckpt) are those of B. Huang, "Loop-Model FLOPs and Memory in
an Ablation Chain" (Husky's Log, Apr 2026). FLOPs are those that `torch.profiler` counts in torch
2.13: matrix products, and additions that are not in place; tanh, the loss and Adam's arithmetic
count nothing.

B batch, T steps, D width, K refinements of a step; float32, so 4 bytes a number.
"""

from dataclasses import asdict, dataclass

from eval.cost.chain_rows import Sizes, Switches

BYTES = 4  # of a float32
# bytes that the profiler takes for one refinement, and again for the update of one block; measured
EVENTS = 500_000


@dataclass(frozen=True)
class Cost:
    """The cost of one training interval, measured or by arithmetic; each dict adds up."""

    nfe: int  # evaluations of the block, not counting those that checkpointing repeats
    products: int  # FLOPs of matrix products alone
    flops: dict[str, int]
    memory: dict[str, int]  # bytes: saved, parameters, gradients, optimizer

    @property
    def total(self) -> int:
        """FLOPs."""
        return sum(self.flops.values())

    @property
    def peak(self) -> int:
        """Bytes: the post's "tracked peak", as if all were held at once."""
        return sum(self.memory.values())

    def as_dict(self) -> dict:
        """For JSON."""
        return asdict(self) | {"total": self.total, "peak": self.peak}


def closed(s: Switches, z: Sizes) -> Cost:
    """The cost of one training interval of the row with switches `s`."""
    products, sums = matrix_products(s, z), additions(s, z)
    return Cost(
        nfe=s.steps(z.T) * z.K,
        products=sum(products.values()),
        flops={part: products.get(part, 0) + sums.get(part, 0) for part in products | sums},
        memory={"saved": saved(s, z)} | parameter_side(s, z),
    )


def matrix_products(s: Switches, z: Sizes) -> dict[str, int]:
    """FLOPs by purpose, multiples of one product (B D) by (D D)."""
    steps, tracked, losses = s.steps(z.T), s.tracked(z.K), losses_of(s, z)
    count = {
        "forward": steps * 2 * z.K + losses,  # of the state, of the input; the head
        "head": 2 * losses,  # cℓ: its weight, its input
        "jacobian": 0 if s.cut(z.K) else steps - 1,  # cJ: from each step into the one before
        "core": steps
        * (
            2 * tracked + tracked - 1
        ),  # cB: two weights each, and the state between two refinements
        "recompute": steps * 2 * tracked if s.checkpoint else 0,  # r_ckpt
    }
    return {part: n * 2 * z.B * z.D**2 for part, n in count.items()}


def additions(s: Switches, z: Sizes) -> dict[str, int]:
    """FLOPs by purpose of the additions that the profiler counts."""
    steps, tracked = s.steps(z.T), s.tracked(z.K)
    losses = losses_of(s, z) // backwards(s, z)  # in one backward pass
    return {
        "forward": steps * z.K * 2 * z.B * z.D + (backwards(s, z) * losses if losses > 1 else 0),
        "accumulation": backwards(s, z) * first_sums(s, z, losses),
        "recompute": steps * tracked * 2 * z.B * z.D if s.checkpoint else 0,
    }


def first_sums(s: Switches, z: Sizes, losses: int) -> int:
    """cθ: FLOPs counted in one backward pass for adding up the gradients of weights that were used
    more than once.

    Autograd adds the second gradient out of place, which counts, and the rest in place, which does
    not.
    """
    uses = s.steps(z.T) * s.tracked(z.K) // backwards(s, z)
    block = 2 * z.D**2 + z.D if s.shared and uses > 1 else 0
    head = z.D**2 + z.D if losses > 1 else 0
    return block + head


def losses_of(s: Switches, z: Sizes) -> int:
    """Losses of one interval."""
    return s.steps(z.T) if s.every_loss else 1


def backwards(s: Switches, z: Sizes) -> int:
    """Backward passes of one interval."""
    return s.steps(z.T) if s.stream else 1


def saved(s: Switches, z: Sizes) -> int:
    """Bytes that wait for a backward pass (a_f, aℓ), each tensor as often as it is saved: mostly
    the same weights.
    """
    state, weight = BYTES * z.B * z.D, BYTES * z.D**2
    steps, losses = s.steps(z.T) // backwards(s, z), losses_of(s, z) // backwards(s, z)
    refinements = steps * s.tracked(z.K)
    # refinements whose state needs no gradient, so Wh need not be kept
    without = steps if s.cut(z.K) else 1
    core = (
        2 * state * steps
        if s.checkpoint
        else 3 * state * refinements + weight * (refinements - without)
    )
    # the head keeps weight and input; the loss, answer and target
    return core + losses * (weight + 3 * state)


def parameter_side(s: Switches, z: Sizes) -> dict[str, int]:
    """Bytes of parameters, gradients and Adam's two moments, which also counts its steps in 4 bytes
    a tensor.
    """
    block, head = 2 * z.D**2 + z.D, z.D**2 + z.D
    blocks = 1 if s.shared else s.steps(z.T) * z.K
    trained = 1 if s.shared else s.steps(z.T) * s.tracked(z.K)
    gradients = BYTES * (trained * block + head)
    return {
        "parameters": BYTES * (blocks * block + head),
        "gradients": gradients,
        "optimizer": 2 * gradients + BYTES * (3 * trained + 2),
    }


def needed(s: Switches, z: Sizes) -> int:
    """Bytes that it takes to measure a row, roughly: a process that needs more than there is would
    be killed.

    Most is what the profiler provokes: its events lie between freed tensors, and the heap can hand
    out little of that again. Measured, about 15 states and 2 weights a refinement are lost to it.
    """
    refinements, state, weight = s.steps(z.T) * z.K, BYTES * z.B * z.D, BYTES * z.D**2
    updates = 1 if s.shared else refinements
    tensors = refinements * (15 * state + 2 * weight) + 2 * z.T * state
    return sum(parameter_side(s, z).values()) + tensors + EVENTS * (refinements + updates)
