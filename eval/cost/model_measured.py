"""What a segment of a real model costs: one trainer, measured, beside what `estimate` says.

On a CPU the peak is that of the allocator during one segment as the profiler saw it, on CUDA that
of torch's own count.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from conf.schema import Config
from data.registry import facts_of
from eval.cost import measure, memory
from eval.cost import model_counted as counted
from eval.cost import model_formula as shapes
from eval.cost.model_estimate import FLOAT32, Estimate, depth_of, gradient_of, without_memory
from eval.speed import random_trainer
from tinyreason.depth import DepthConfig
from tinyreason.gradient import GradientConfig
from tinyreason.losses import total
from tinyreason.models import dtype_of, parameter_count
from tinyreason.puzzle import Facts
from tinyreason.tags import tag_of
from tinyreason.trainer import Trainer


@dataclass(frozen=True)
class SegmentCost:
    """Of one segment of all slots and its optimizer step, measured or by arithmetic."""

    forward: int  # FLOPs of matrix products
    backward: int
    kept: int  # bytes between forward and backward
    side: int  # bytes of parameters, gradients, optimizer and average
    peak: int  # bytes, without the carry and the coming puzzles


def with_scheme(config: Config, gradient: GradientConfig, recompute: bool) -> Config:
    """The configuration with another gradient scheme."""
    return replace(config, gradient=gradient, model=replace(config.model, recompute=recompute))


def estimate(config: Config, facts: Facts, dtype: torch.dtype) -> Estimate:
    """By the closed form where the model has one and nothing else is unusual, else by counting."""
    usual = gradient_of(config).plain and config.supervision.name == "last"
    usual = usual and config.loss in shapes.LOSS_BYTES
    if usual and config.model.applied(0) is not None:
        return shapes.closed(config, facts, dtype)
    return counted.counted(config, facts, dtype)


def label(gradient: GradientConfig) -> str:
    """A scheme in a table: its name, and its options if it has any."""
    options = [f"{value:g}" for value in vars(gradient).values() if not isinstance(value, str)]
    return " ".join([gradient.name, *options])


def hows(rows: list[dict]) -> str:
    """How the estimates of some rows were found out."""
    return " or ".join(dict.fromkeys(row["how"] for row in rows))


def cost(config: Config, device: torch.device, repeats: int) -> dict:
    """One row of the report: a trainer of `config` on random tokens. Not compiled: compilers choose
    what to keep.

    Where it would not fit into memory nothing is measured.
    """
    facts = facts_of(config.task)
    one = estimate(config, facts, dtype_of(config.model, device))
    expected, found, seconds = predicted(config, facts, one), None, None
    free = memory.free(device)
    if free is None or expected.peak + config.batch * one.slot < free:
        usual = {"compile": "false", "depth": DepthConfig("fixed")}  # that of the estimate
        trainer = random_trainer(replace(config, **usual))
        found, seconds = measured(trainer), measure.seconds(trainer.step, repeats)
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


def predicted(config: Config, facts: Facts, one: Estimate) -> SegmentCost:
    """A step of the whole batch, from the estimate of one puzzle."""
    flops = one.flops_of(config.batch)
    backward = sum(flops[part] for part in one.backward)
    forward = sum(flops.values()) - backward
    at_once = min(config.micro_batch or config.batch, config.batch)
    kept = at_once * one.kept + (0 if config.model.recompute else one.casts)
    waiting = at_once * (one.kept + one.kept_again) + one.casts
    gradients, moved = side_bytes(config, facts)
    side = gradients + moved
    # a copy, in case the step is bad; what waited for the backward pass is gone by then
    step = moved
    peak = side + max(waiting, step)
    return SegmentCost(forward, backward, kept, side, peak)


def side_bytes(config: Config, facts: Facts) -> tuple[int, int]:
    """Gradients; and what a step moves: parameters, average, two moments, of which Muon needs one
    for matrices.

    Puzzle embeddings are not in it: how many there are is known when the data is.
    """
    with without_memory(config, facts, torch.float32) as model:
        parameters = parameter_count(model)
        matrices = sum(p.numel() for p in model.parameters() if tag_of(p).matrix)
    spared = matrices if config.optim.matrices == "muon" else 0
    moved = parameters * (3 + (config.ema is not None)) - spared
    return FLOAT32 * parameters, FLOAT32 * moved


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
