"""A training run in memory: all that changes while training, and the one step that changes it."""

from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from tinyreason import checkpoint
from tinyreason.average import Average
from tinyreason.deterministic import repeats
from tinyreason.feed import Feed, Stream
from tinyreason.guard import Guard, only_if
from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.losses import cross_entropy_of, objective, tally
from tinyreason.meter import Meter
from tinyreason.models import ModelConfig, Read, RecursiveModel, make_model, parameter_count
from tinyreason.optim import OptimConfig, Optimizers
from tinyreason.puzzle import Batch, Facts
from tinyreason.segment import Carry
from tinyreason.surroundings import peak_memory, random_states, set_random_states, surroundings, versions


@dataclass
class Training:
    """All that decides the weights of a run, but for its data; the values stand in `conf/`."""

    model: ModelConfig
    halting: HaltingConfig
    optim: OptimConfig
    seed: int  # of the weights, the order of puzzles, augmentation and exploration
    steps: int  # segments of a slot, and optimizer steps
    batch: int  # slots
    loss: str  # stablemax | softmax
    ema: float | None  # decay of the averaged weights; None: none
    compile: str  # auto (on CUDA) | true | false
    micro_batch: int | None  # slots that go forward and backward at once; None: all


class Trainer:
    """Everything that changes while training; what `state_dict` holds is all there is to a run."""

    def __init__(self, config: Training, facts: Facts, stream: Stream, device: torch.device):
        self.config, self.batch, self.depth, self.device = asdict(config), config.batch, config.model.depth, device
        size = config.micro_batch or config.batch
        self.parts = [slice(first, first + size) for first in range(0, config.batch, size)]
        self.model = make_model(config.model, facts, device)
        self.halting = make_halting(config.halting)
        self.cross_entropy = cross_entropy_of(config.loss)
        self.optimizers = Optimizers(self.model, config.optim, config.steps)
        self.ema = None if config.ema is None else Average(self.model, config.ema)
        if config.compile == "true" or (config.compile == "auto" and device.type == "cuda"):
            for model in {self.model, self.averaged}:
                model.segment = torch.compile(model.segment)
        self.generator = torch.Generator(device).manual_seed(config.seed)
        self.feed = Feed(stream, facts, config.batch, device)
        self.carry = Carry.fresh(self.model, Batch.of(stream.rows(0, config.batch), facts, device))
        self.meter, self.guard = Meter(), Guard(device)
        self.step, self.seconds = 0, 0.0
        self.best: dict | None = None  # the evaluation with the highest exact accuracy so far: its step, its accuracy

    def segment(self) -> None:
        """One segment of every slot and one optimizer step. The host waits only where the feed fills its window.

        A step whose loss or gradient is not finite moves nothing, and every slot then begins with a new puzzle.
        """
        carry = self.refilled()
        parts = [self.gradients(carry.select(rows)) for rows in self.parts]
        state, read, losses = (joined(part) for part in zip(*parts, strict=True))
        good = torch.isfinite(sum(losses.values()).sum()) & torch.isfinite(self.optimizers.norm())
        only_if(good, self.moved, lambda: self.move(good))
        self.guard.count(good, self.step + 1)

        rule, generator = self.halting, self.generator
        carry = carry.advance(state, lambda segments: rule.done(read, segments, generator) | ~good)
        sums = tally(losses, read, carry) | {"slots": torch.full((), self.batch, device=self.device)}
        self.meter.add({k: torch.where(good, v, 0) for k, v in sums.items()} | {"skipped": ~good})
        self.carry, self.step = carry, self.step + 1

    def refilled(self) -> Carry:
        """The carry, with new puzzles in its free slots."""
        return self.carry.refill(self.feed.take(self.carry.halted), self.model)

    def gradients(self, carry: Carry) -> tuple[NamedTuple, Read, dict[str, Tensor]]:
        """A segment of some slots forward and backward: their state, what was read, their losses; all detached."""
        loss, *outcome = self.forward(carry)
        loss.backward()
        return tuple(detached(part) for part in outcome)

    def forward(self, carry: Carry) -> tuple[Tensor, NamedTuple, Read, dict[str, Tensor]]:
        """A segment of some slots: their share of the loss, the state, what was read, the losses of each."""
        state, read = self.model(carry.state, carry.batch, self.depth)
        after = carry.advance(state, torch.zeros_like)
        loss, losses = objective(read, after, self.halting, self.cross_entropy, lambda: self.look_ahead(after))
        return loss / self.batch, state, read, losses

    @torch.no_grad()
    def look_ahead(self, carry: Carry) -> Read:
        """What the segment after this one would say, for Q-learning."""
        return self.model(carry.state, carry.batch, self.depth)[1]

    def move(self, good: Tensor) -> None:
        """The optimizers' step, and the average's."""
        self.optimizers.step(good)
        if self.ema is not None:
            self.ema.update(self.model)

    def moved(self) -> list[Tensor]:
        """What `move` moves, but for the table of puzzles, which sees to itself."""
        return self.optimizers.moved() + ([] if self.ema is None else list(self.averaged.parameters()))

    def is_best(self, exact_accuracy: float) -> bool:
        """Whether this is the best evaluation so far, which is remembered."""
        best = self.best is None or exact_accuracy > self.best["exact_accuracy"]
        if best:
            self.best = {"step": self.step, "exact_accuracy": exact_accuracy}
        return best

    @property
    def averaged(self) -> RecursiveModel:
        """The weights that are evaluated."""
        return self.model if self.ema is None else self.ema.module

    def state_dict(self, carry: bool = True) -> dict:
        """All that a run needs to go on; without the carry it goes on with new puzzles in every slot."""
        now = self.carry
        slots = {"state": list(now.state), "segments": now.segments, "halted": now.halted}
        return {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.averaged.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "carry": slots | {"batch": [now.batch.inputs, now.batch.labels, now.batch.puzzle_ids]} if carry else None,
            "meter": self.meter.sums,
            "bad_in_a_row": self.guard.in_a_row,
            "position": self.feed.position,
            "generator": self.generator.get_state(),  # of halting; the feed's draws are functions of their number
            "random": random_states(),  # nothing here draws from these; a model that you add may
            "config": self.config,
            "made_on": surroundings(self.device),
        }

    def load_state_dict(self, saved: dict) -> list[str]:
        """Go on from `state_dict`. Returns why the run may differ from one that never stopped.

        Raises KeyError, ValueError, RuntimeError or TypeError if `saved` is not of such a model and optimizer.
        """
        here = surroundings(self.device)
        changed = [f"{k} {v} is now {here.get(k)}" for k, v in saved["made_on"].items() if v != here.get(k)]
        learnt = {field.name for field in fields(Training)}
        changed += differences({k: v for k, v in saved["config"].items() if k in learnt}, self.config)
        if not repeats(self.device):
            changed.append("on CUDA sums come out otherwise each time, unless deterministic=true")
        self.model.load_state_dict(saved["model"])
        if self.ema is not None:
            self.averaged.load_state_dict(saved["ema"] or saved["model"])
        self.optimizers.load_state_dict(saved["optimizers"])
        self.feed = Feed(self.feed.stream, self.feed.facts, self.batch, self.device, saved["position"])
        if saved["carry"] is None:
            changed.append("it was saved without its carry, so every slot begins with a new puzzle")
        else:
            self.carry = self.loaded_carry(saved["carry"])
        self.meter.sums = {k: v.to(self.device) for k, v in saved["meter"].items()}
        self.guard.in_a_row = saved["bad_in_a_row"].to(self.device)
        if saved["made_on"]["device"] == here["device"]:
            self.generator.set_state(saved["generator"])
            set_random_states(saved["random"])
        self.step, self.seconds, self.best = saved["step"], saved["seconds"], saved["best"]
        return changed

    def loaded_carry(self, saved: dict) -> Carry:
        state, batch = ([t.to(self.device) for t in saved[k]] for k in ("state", "batch"))
        segments, halted = (saved[k].to(self.device) for k in ("segments", "halted"))
        if [t.shape for t in state] != [t.shape for t in self.carry.state]:
            raise ValueError("another batch or another number of cells")
        return Carry(self.model.latents(*state), Batch(*batch), segments, halted)

    def result(self) -> dict:
        """What was done, for result.json."""
        on_gpu = self.device.type == "cuda"
        return {
            "steps": self.step,
            "segments": self.step * self.batch,
            "puzzles_seen": self.feed.position,
            "seconds": self.seconds,
            "parameters": parameter_count(self.model),
            "device": torch.cuda.get_device_name(self.device) if on_gpu else f"cpu, {torch.get_num_threads()} threads",
            "peak_memory": peak_memory(self.device),
            "versions": versions(),
            "sha256": {"raw": checkpoint.digest(self.model), "ema": checkpoint.digest(self.averaged)},
        }


def joined(parts: tuple) -> tuple | dict:
    """The outcomes of the micro-batches, as if of one batch; each a NamedTuple or a dict of (B ...) tensors."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        return {k: torch.cat([part[k] for part in parts]) for k in parts[0]}
    return type(parts[0])(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def detached(part: tuple | dict) -> tuple | dict:
    """Without its graph."""
    if isinstance(part, dict):
        return {k: v.detach() for k, v in part.items()}
    return type(part)(*(t.detach() for t in part))


def differences(saved: dict, now: dict, prefix: str = "") -> list[str]:
    """The options that have another value now; those that only one of the two knows are of another version."""
    found = []
    for key in saved.keys() & now.keys() - {"checkpoint"}:  # recomputing gives the same bits
        if isinstance(saved[key], dict):
            found += differences(saved[key], now[key], f"{prefix}{key}.")
        elif saved[key] != now[key]:
            found.append(f"{prefix}{key} {saved[key]} is now {now[key]}")
    return sorted(found)
