"""Seconds of variants in turn, A B A B, each beside a matrix product of this machine in the same
type: ratios and shares hold where a shared machine's speed drifts.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import torch

from conf.schema import Config
from data.task import Task
from eval.cost.measure import seconds
from eval.cost.memory import peak_increase
from eval.cost.model_measured import estimate
from eval.data_speed import drawing
from eval.speed.made import one_segment, random_puzzles, steps_to_warm_up
from tinyreason.feed import Stream
from tinyreason.puzzle import Puzzles
from tinyreason.run.deterministic import deterministic
from tinyreason.trainer import Trainer

SIDE = {"cpu": 2048, "cuda": 8192}  # of the square matrices whose product is the yardstick


@dataclass
class Timed:
    """One variant and what was found of it; seconds."""

    name: str
    config: Config
    trainer: Trainer
    first: float  # of the first step, compilation included
    steps: list[float] = field(default_factory=list)
    products: list[float] = field(default_factory=list)  # FLOP/s of the yardstick, with each step
    evaluations: list[float] = field(default_factory=list)  # of one segment of a batch
    data: float = 0.0  # of the CPU, to draw a puzzle for every slot, symmetries included
    waits: int | None = None  # of the host for the device in a step; None: not counted
    peak: int = 0  # bytes at one time in a step

    @property
    def dtype(self) -> torch.dtype:
        return self.trainer.model.encoder.dtype

    @property
    def step(self) -> float:
        return median(self.steps)

    @property
    def evaluated(self) -> int:
        """Puzzles of an evaluation's batch."""
        return min(self.config.eval.batch, self.config.batch)


def product(dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """The yardstick: a product of square matrices of random numbers (zeros would be faster)."""
    side = SIDE.get(device.type, SIDE["cpu"])
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
    return lambda: a @ b


def product_flops(device: torch.device) -> int:
    return 2 * SIDE.get(device.type, SIDE["cpu"]) ** 3


def begun(name: str, config: Config, trainer: Trainer) -> Timed:
    """A variant, warmed up, at the depth of the end of its run, which its FLOPs are counted for."""
    trainer.steps = config.steps
    with deterministic(config.deterministic):
        found = Timed(name, config, trainer, seconds(trainer.step, trainer.device))
        for _ in range(steps_to_warm_up(trainer) - 1):
            trainer.step()
    return found


def time_in_turn(variants: list[Timed], repeats: int) -> None:
    """Steps and yardsticks, A B A B."""
    yardsticks = {v.dtype: product(v.dtype, v.trainer.device) for v in variants}
    for yardstick in yardsticks.values():
        yardstick()
    for _ in range(repeats):
        for v in variants:
            device = v.trainer.device
            with deterministic(v.config.deterministic):
                v.steps.append(seconds(v.trainer.step, device))
            v.products.append(product_flops(device) / seconds(yardsticks[v.dtype], device))


def time_evaluation(variants: list[Timed], repeats: int) -> None:
    """One segment of one batch of puzzles, what is written down of it included."""
    work = []
    for v in variants:
        solver, facts = one_segment(v.trainer, v.config), v.trainer.feed.facts
        rows = random_puzzles(facts).rows(np.arange(v.evaluated))
        work.append(lambda solver=solver, rows=rows, facts=facts: solver(rows, facts))
        work[-1]()
    for _ in range(repeats):
        for v, evaluate in zip(variants, work, strict=True):
            v.evaluations.append(seconds(evaluate, v.trainer.device))


def look_inside(v: Timed, task: Task, splits: dict[str, Puzzles]) -> None:
    """What is found once: the drawing of the task's own puzzles, the host's waits, memory."""
    device = v.trainer.device
    stream = Stream(splits["train"], task.augment, v.config.seed)
    v.data = drawing(stream, task.facts, device, v.config.batch).seconds
    if device.type == "cuda":
        v.waits = host_waits(v.trainer)
        torch.cuda.reset_peak_memory_stats(device)
    v.peak = peak_increase(v.trainer.step, device)


def host_waits(trainer: Trainer) -> int:
    """How often the host waits for the device in a step."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            trainer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(w.message) for w in heard)


def flops(v: Timed) -> int:
    """Of the matrix products of a step, by closed form or counted."""
    one = estimate(v.config, v.trainer.feed.facts, v.dtype)
    return sum(one.flops_of(v.config.batch).values())


def forward_flops(v: Timed) -> int:
    """Of those of an evaluation's segment."""
    one = estimate(v.config, v.trainer.feed.facts, v.dtype)
    parts = one.flops_of(v.evaluated)
    away = (*one.backward, "look-ahead")
    return sum(n for part, n in parts.items() if part not in away)
