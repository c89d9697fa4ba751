"""How long a run takes on this machine: `python -m eval.cost plan device=here`

Trains the configuration for about 20 seconds on random puzzles, and multiplies. Where one step
would take too long, some of its slots are timed, and the others taken to cost as much each.
"""

import time
from dataclasses import replace
from statistics import median
from typing import NamedTuple

import torch

from conf.schema import Config
from eval.begin import settled
from eval.cost import measure
from eval.speed import random_trainer, steps_to_warm_up
from tinyreason.device import pick_device
from tinyreason.run.machine import peak_memory
from tinyreason.trainer import Trainer

SECONDS = 20
LONG = 4  # seconds of a step, above which fewer slots are timed
FIRST = 2  # slots of the first look, on a CPU
LEAST = 3  # steps that are timed, however long they take


class Measured(NamedTuple):
    """What was found on this machine."""

    device: str
    slots: int  # of each step that was timed
    steps: int  # that were timed
    step: float  # seconds of a step of the whole batch, the median
    fastest: float
    slowest: float
    peak: int  # bytes, of what was timed


def measured(config: Config, seconds: float) -> Measured:
    """Train for about so many seconds; set-up and compilation are not counted."""
    device = pick_device("auto")
    config = settled(replace(config, device=str(device)))
    slots = slots_to_time(config, device)
    trainer = random_trainer(replace(config, batch=slots))
    share = config.batch / slots
    name = f"this CPU, {config.model.dtype}"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    times = [share * t for t in step_times(trainer, seconds)]
    return Measured(
        device=name,
        slots=slots,
        steps=len(times),
        step=median(times),
        fastest=min(times),
        slowest=max(times),
        peak=peak_memory(device),
    )


def slots_to_time(config: Config, device: torch.device) -> int:
    """All of them on a GPU; on a CPU as many as a step of some seconds has."""
    if device.type == "cuda" or config.batch <= FIRST:
        return config.batch
    each = min(step_times(random_trainer(replace(config, batch=FIRST)), 0)) / FIRST
    return max(FIRST, min(config.batch, int(LONG / each)))


def step_times(trainer: Trainer, seconds: float) -> list[float]:
    """Seconds of each step, for about so long, at the depth of the end of the run: where it grows,
    those before take less.
    """
    trainer.steps = trainer.config["steps"]
    for _ in range(steps_to_warm_up(trainer)):
        trainer.step()
    times, began = [], time.monotonic()
    while len(times) < LEAST or time.monotonic() - began < seconds:
        times.append(measure.seconds(trainer.step, trainer.device))
    return times


def told(found: Measured, config: Config) -> str:
    """Some lines of text."""
    some = "" if found.slots == config.batch else f" on {found.slots:,} of its slots"
    spread = f"{short(found.fastest)} to {short(found.slowest)}, {found.steps} timed{some}"
    hours, rate = config.steps * found.step / 3600, config.batch / found.step
    return (
        f"{found.device}: {short(found.step)} s a step ({spread}), {short(rate)} segments/s.\n"
        f"{short(hours)} hours for {config.steps:,} steps of {config.batch:,} slots, without "
        f"evaluation; {found.peak / 2**30:.2f} GiB in use at most."
    )


def short(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
