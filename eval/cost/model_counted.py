"""What a segment costs by counting: one goes forward and backward on meta tensors.

torch counts the FLOPs of matrix products and shows what autograd keeps. For models without a closed
form; where both are there they agree.
"""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from conf.schema import Config
from eval.cost.memory import storages
from eval.cost.model_estimate import (
    Estimate,
    batch_of,
    depth_of,
    gradient_of,
    slot_bytes,
    state_of,
    without_memory,
)
from tinyreason.halting import make_halting
from tinyreason.losses import cross_entropy_of, total
from tinyreason.models import RecursiveModel
from tinyreason.noise import NoNoise
from tinyreason.objective import judged_segment
from tinyreason.puzzle import Facts
from tinyreason.segment import Carry
from tinyreason.supervision import make_supervision


def counted(config: Config, facts: Facts, dtype: torch.dtype) -> Estimate:
    """Of one puzzle; what does not grow with the batch is told apart by counting two and three. (A
    single one is special: what is expanded over it shares its memory.)
    """
    with without_memory(config, facts, dtype) as model:
        flops, flops_more = (products(model, config, facts, rows) for rows in (2, 3))
        two, three = (kept(model, config, facts, rows) for rows in (2, 3))
        again, again_more = (largest_recursion(model, config, facts, rows) for rows in (2, 3))
    return Estimate(
        how="counted on meta tensors",
        flops={part: flops_more[part] - flops[part] for part in flops},
        once={part: 3 * flops[part] - 2 * flops_more[part] for part in flops},
        backward=("backward",),
        kept=three - two,
        kept_again=again_more - again,
        working=0,
        casts=3 * two - 2 * three + 3 * again - 2 * again_more,
        slot=slot_bytes(state_of(config, facts, dtype), facts),
    )


def loss_of(model: RecursiveModel, config: Config, facts: Facts, rows: int) -> torch.Tensor:
    """A segment of so many puzzles, forward, as a trainer does it."""
    judges = (
        make_halting(config.halting),
        make_supervision(config.supervision),
        cross_entropy_of(config.loss),
    )
    carry = Carry.fresh(model, batch_of(facts, rows))
    scheme = depth_of(config), gradient_of(config), NoNoise()
    return total(judged_segment(model, carry, *scheme, *judges)[1])


def products(model: RecursiveModel, config: Config, facts: Facts, rows: int) -> dict[str, int]:
    """FLOPs of matrix products. Attention as plain products: torch counts fused ones otherwise."""
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as fresh:  # an empty carry, which a run makes once
            Carry.fresh(model, batch_of(facts, rows))
        with FlopCounterMode(display=False) as forward:
            loss = loss_of(model, config, facts, rows)
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    return {
        "forward": forward.get_total_flops() - fresh.get_total_flops(),
        "backward": backward.get_total_flops(),
    }


def kept(model: RecursiveModel, config: Config, facts: Facts, rows: int) -> int:
    """Bytes that wait for the backward pass, each tensor once; neither parameters nor buffers."""
    with storages((*model.parameters(), *model.buffers())) as found:
        loss = loss_of(model, config, facts, rows)
    del loss
    return sum(found.values())


def largest_recursion(model: RecursiveModel, config: Config, facts: Facts, rows: int) -> int:
    """Bytes that one tracked recursion keeps while it is computed again, the most among them."""
    if not config.model.recompute:
        return 0
    depth, sizes = depth_of(config), []
    x = model.encode(batch_of(facts, rows)).detach().requires_grad_()
    state = model.start(x, NoNoise())
    state = type(state)(*(z.detach().requires_grad_() for z in state))
    for t in range(depth.total - depth.tracked, depth.total):
        with storages((*model.parameters(), *model.buffers(), x, *state)) as found:
            new = model.recur(state, x, t)
        sizes.append(sum(found.values()))
        del new
    return max(sizes)
