"""What a segment of a real model costs: one trainer, measured, beside what `estimate` says.

On a CPU the peak is that of the allocator during one segment as the profiler saw it, on CUDA that
of torch's own count.
"""

from dataclasses import replace
from statistics import median

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from conf.schema import Config
from data.registry import facts_of
from eval.cost import measure, memory
from eval.cost.model_estimate import depth_of
from eval.cost.model_predicted import SegmentCost, estimate, predicted
from eval.speed import PLAIN, random_trainer
from tinyreason.depth import DepthConfig
from tinyreason.gradient import GradientConfig
from tinyreason.losses import total
from tinyreason.models import dtype_of
from tinyreason.trainer import Trainer

# all slots at once, as the estimate has them
AS_WRITTEN = PLAIN | {"micro_batch": None}


def with_scheme(config: Config, gradient: GradientConfig, recompute: bool) -> Config:
    """The configuration with another gradient scheme."""
    return replace(config, gradient=gradient, model=replace(config.model, recompute=recompute))


def label(gradient: GradientConfig) -> str:
    """A scheme in a table: its name, and its options if it has any."""
    options = [f"{value:g}" for value in vars(gradient).values() if not isinstance(value, str)]
    return " ".join([gradient.name, *options])


def hows(rows: list[dict]) -> str:
    """How the estimates of some rows were found out."""
    return " or ".join(dict.fromkeys(row["how"] for row in rows))


def cost(config: Config, device: torch.device, repeats: int) -> dict:
    """One row of the report: a trainer of `config` on random tokens, run as it is written.

    Where it would not fit into memory nothing is measured.
    """
    facts = facts_of(config.task)
    one = estimate(config, facts, dtype_of(config.model, device))
    expected, found, seconds = predicted(config, facts, one), None, None
    free = memory.free(device)
    if free is None or expected.peak + config.batch * one.slot < free:
        whole = DepthConfig("fixed")  # a curriculum begins with less than the estimate is of
        trainer = random_trainer(replace(config, depth=whole, **AS_WRITTEN))
        found = measured(trainer)
        seconds = median(measure.seconds(trainer.step, device) for _ in range(repeats))
    waiting = expected.peak - expected.side
    return {
        "gradient": label(config.gradient),
        "recompute": config.model.recompute,
        "tracked": depth_of(config).tracked,
        "how": one.how,
        "measured": found,
        "closed": expected,
        "flops": one.flops_of(config.batch),
        "memory": {
            "kept, recomputed or copied": waiting,
            "parameters' side": expected.side,
        },
        "seconds": seconds,
    }


def measured(trainer: Trainer) -> SegmentCost:
    """The same of a trainer at work."""
    trainer.step()  # the optimizer makes its moments
    forward, backward = products(trainer)
    before, gradients = side(trainer), measure.parameter_bytes(trainer.model)
    peak = before + memory.peak_increase(trainer.step, trainer.device)
    return SegmentCost(forward, backward, kept(trainer), before + gradients, peak)


def forward(trainer: Trainer) -> Tensor:
    """The loss of one segment of all slots, at the depth of an evaluation."""
    carry = trainer.carry.refill(trainer.feed.take(trainer.carry.halted))
    return total(trainer.forward(carry, trainer.depth.full)[1])


def products(trainer: Trainer) -> tuple[int, int]:
    """FLOPs of matrix products, forward and backward.

    torch counts the fused attention of a CPU as nothing and the scores that CUDA's computes again
    as work of its own. So attention runs as plain products here, which are counted as they are.
    """
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as ahead:
            loss = forward(trainer)
        with FlopCounterMode(display=False) as back:
            loss.backward()
    trainer.model.zero_grad()
    return ahead.get_total_flops(), back.get_total_flops()


def kept(trainer: Trainer) -> int:
    """Bytes that wait for the backward pass, each tensor once; neither parameters nor buffers."""
    with memory.storages((*trainer.model.parameters(), *trainer.model.buffers())) as found:
        forward(trainer)
    return sum(found.values())


def side(trainer: Trainer) -> int:
    """Bytes of parameters, optimizer and average between two steps, when there are no gradients."""
    average = 0 if trainer.ema is None else measure.parameter_bytes(trainer.averaged)
    moments = sum(map(measure.optimizer_bytes, trainer.optimizers.optimizers))
    return measure.parameter_bytes(trainer.model) + average + moments
