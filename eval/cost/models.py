"""What a segment of a real model costs: one trainer, measured, beside the closed form of `shapes`.

On a CPU the peak is that of the allocator during one segment as the profiler saw it, on CUDA that of torch's own count.
"""

from dataclasses import dataclass, replace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from conf.schema import Config
from data.registry import make_task
from eval.cost import measure, memory, shapes
from eval.cost.shapes import Shapes
from eval.speed import random_trainer
from tinyreason.models import dtype_of, make_model, parameter_count
from tinyreason.puzzle import Facts
from tinyreason.trainer import Trainer


@dataclass(frozen=True)
class SegmentCost:
    """Of one segment of all slots and its optimizer step, measured or by arithmetic."""

    forward: int  # FLOPs of matrix products
    backward: int
    kept: int  # bytes between forward and backward
    side: int  # bytes of parameters, gradients, optimizer and average
    peak: int  # bytes, without the carry and the coming puzzles


def with_scheme(config: Config, gradient: str, checkpoint: bool) -> Config:
    """The configuration with another gradient scheme."""
    return replace(config, model=replace(config.model, gradient=gradient, checkpoint=checkpoint))


def cost(config: Config, device: torch.device, repeats: int) -> dict:
    """One row of the report: a trainer of `config` on random tokens. Not compiled: compilers choose what to keep.

    Where the closed form does not fit into memory nothing is measured.
    """
    s = shapes_of(config, make_task(config.task).facts, dtype_of(config.model, device))
    expected, found, seconds = predicted(config, s), None, None
    free = memory.free(device)
    if free is None or expected.peak + config.batch * shapes.slot_bytes(s) < free:
        trainer = random_trainer(replace(config, compile="false"))
        found, seconds = measured(trainer), measure.seconds(trainer.segment, repeats)
    return {
        "gradient": config.model.gradient,
        "checkpoint": config.model.checkpoint,
        "tracked": config.model.depth.tracked,
        "measured": found,
        "closed": expected,
        "flops": {part: config.batch * n for part, n in shapes.flops(s).items()},
        "memory": {"kept, recomputed or copied": expected.peak - expected.side, "parameters' side": expected.side},
        "seconds": seconds,
    }


def shapes_of(config: Config, facts: Facts, dtype: torch.dtype) -> Shapes:
    """What the closed form needs to know."""
    return Shapes(config.model, facts, config.halting, config.loss, dtype.itemsize)


def predicted(config: Config, s: Shapes) -> SegmentCost:
    """The closed form."""
    parts, casts = shapes.flops(s), shapes.casts(s)
    backward = sum(parts[part] for part in shapes.BACKWARD)
    at_once = min(config.micro_batch or config.batch, config.batch)
    kept = at_once * shapes.kept(s) + (0 if config.model.checkpoint else casts)
    waiting = at_once * (shapes.kept(s) + shapes.kept_again(s)) + casts
    forward = sum(parts.values()) - backward
    gradients, moved = side_bytes(config, s)
    side = gradients + moved
    step = moved  # a copy, in case that the step is bad; by then what waited for the backward pass is gone
    return SegmentCost(config.batch * forward, config.batch * backward, kept, side, side + max(waiting, step))


def side_bytes(config: Config, s: Shapes) -> tuple[int, int]:
    """Gradients; and what a step moves: parameters, average, two moments, of which Muon needs one for matrices.

    Puzzle embeddings are not in it: how many there are is known when the data is.
    """
    with torch.device("meta"):
        parameters = parameter_count(make_model(config.model, s.facts, torch.device("meta")))
    cores = 2 if config.model.recursion == "hrm" else 1
    spared = cores * shapes.core_parameters(s) if config.optim.matrices == "muon" else 0
    return shapes.FLOAT32 * parameters, shapes.FLOAT32 * (parameters * (3 + (config.ema is not None)) - spared)


def measured(trainer: Trainer) -> SegmentCost:
    """The same of a trainer at work."""
    trainer.segment()  # the optimizer makes its moments
    forward, backward = products(trainer)
    before, gradients = side(trainer), measure.parameter_bytes(trainer.model)
    peak = before + memory.peak_increase(trainer.segment, trainer.device)
    return SegmentCost(forward, backward, kept(trainer), before + gradients, peak)


def products(trainer: Trainer) -> tuple[int, int]:
    """FLOPs of matrix products, forward and backward.

    torch counts the fused attention of a CPU as nothing and the scores that CUDA's computes again as work of its own.
    So attention runs as plain products here, which are counted as they are.
    """
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss = trainer.forward(trainer.refilled())[0]
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    trainer.model.zero_grad()
    return forward.get_total_flops(), backward.get_total_flops()


def kept(trainer: Trainer) -> int:
    """Bytes that wait for the backward pass, each tensor once; neither parameters nor buffers."""
    with memory.storages((*trainer.model.parameters(), *trainer.model.buffers())) as found:
        trainer.forward(trainer.refilled())
    return sum(found.values())


def side(trainer: Trainer) -> int:
    """Bytes of parameters, optimizer and average between two steps, when there are no gradients."""
    average = 0 if trainer.ema is None else measure.parameter_bytes(trainer.averaged)
    moments = sum(map(measure.optimizer_bytes, trainer.optimizers.optimizers))
    return measure.parameter_bytes(trainer.model) + average + moments
