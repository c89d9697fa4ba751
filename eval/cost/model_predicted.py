"""A step of a whole batch by arithmetic: its FLOPs, what it keeps, its peak of memory."""

from dataclasses import dataclass

import torch

from conf.schema import Config
from eval.cost import model_counted as counted
from eval.cost import model_formula as shapes
from eval.cost.model_estimate import FLOAT32, Estimate, gradient_of, without_memory
from tinyreason.models import parameter_count
from tinyreason.puzzle import Facts
from tinyreason.tags import tag_of


@dataclass(frozen=True)
class SegmentCost:
    """Of one segment of all slots and its optimizer step, measured or by arithmetic."""

    forward: int  # FLOPs of matrix products
    backward: int
    kept: int  # bytes between forward and backward
    side: int  # bytes of parameters, gradients, optimizer and average
    peak: int  # bytes, without the carry and the coming puzzles


def estimate(config: Config, facts: Facts, dtype: torch.dtype) -> Estimate:
    """By the closed form where the model has one and nothing else is unusual, else by counting."""
    usual = gradient_of(config).plain and config.supervision.name == "last"
    usual = usual and config.loss in shapes.LOSS_BYTES
    if usual and config.model.applied(0) is not None:
        return shapes.closed(config, facts, dtype)
    return counted.counted(config, facts, dtype)


def predicted(config: Config, facts: Facts, one: Estimate) -> SegmentCost:
    """A step of the whole batch, from the estimate of one puzzle."""
    flops = one.flops_of(config.batch)
    backward = sum(flops[part] for part in one.backward)
    forward = sum(flops.values()) - backward
    at_once = config.slots_at_once
    kept = at_once * one.kept + (0 if config.model.recompute else one.casts)
    waiting = at_once * one.at_once + one.casts
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
