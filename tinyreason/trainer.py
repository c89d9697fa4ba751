"""A training run in memory: all that changes while training, and the one step that changes it."""

import platform
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tinyreason import checkpoint
from tinyreason.average import Average
from tinyreason.errors import UserError
from tinyreason.feed import Feed, Stream
from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.losses import cross_entropy_of, objective
from tinyreason.meter import Meter
from tinyreason.models import ModelConfig, Read, RecursiveModel, make_model, parameter_count
from tinyreason.optim import OptimConfig, Optimizers
from tinyreason.puzzle import Batch, Facts
from tinyreason.segment import Carry


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


class Trainer:
    """Everything that changes while training; what `state_dict` holds is all there is to a run."""

    def __init__(self, config: Training, facts: Facts, stream: Stream, device: torch.device):
        self.batch, self.depth, self.device = config.batch, config.model.depth, device
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
        self.meter = Meter()
        self.step, self.seconds = 0, 0.0

    def segment(self) -> None:
        """One segment of every slot and one optimizer step. The host waits only where the feed fills its window."""
        loss, carry, sums = self.forward()
        loss.backward()
        self.optimizers.step()
        if self.ema is not None:
            self.ema.update(self.model)
        self.meter.add(sums | {"slots": self.batch})
        self.carry, self.step = carry, self.step + 1

    def forward(self) -> tuple[Tensor, Carry, dict[str, Tensor]]:
        """One segment of every slot: its loss, the carry after it, and sums to log."""
        carry = self.carry.refill(self.feed.take(self.carry.halted), self.model)
        state, read = self.model(carry.state, carry.batch, self.depth)
        carry = carry.advance(state, lambda segments: self.halting.done(read, segments, self.generator))
        loss, sums = objective(read, carry, self.halting, self.cross_entropy, lambda: self.look_ahead(carry))
        return loss / self.batch, carry, sums

    @torch.no_grad()
    def look_ahead(self, carry: Carry) -> Read:
        """What the segment after this one would say, for Q-learning."""
        return self.model(carry.state, carry.batch, self.depth)[1]

    @property
    def averaged(self) -> RecursiveModel:
        """The weights that are evaluated."""
        return self.model if self.ema is None else self.ema.module

    def save(self, directory: Path) -> None:
        """A checkpoint of this step; the three newest are kept."""
        checkpoint.save(checkpoint.path_of(directory, self.step), self.state_dict())
        checkpoint.prune(directory, keep=3)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises UserError if it is not of such a run."""
        saved = checkpoint.load(path)
        if saved.get("device") != self.device.type:
            raise UserError(f"{path} was made on {saved.get('device')}; type device={saved.get('device')}")
        try:
            self.load_state_dict(saved)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())[:100]
            raise UserError(f"{path} does not fit this model and optimizer ({reason}); type name=NEW") from None

    def state_dict(self) -> dict:
        carry = self.carry
        return {
            "step": self.step,
            "seconds": self.seconds,
            "device": self.device.type,
            "model": self.model.state_dict(),
            "ema": self.averaged.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "carry": {"state": list(carry.state), "segments": carry.segments, "halted": carry.halted}
            | {"batch": [carry.batch.inputs, carry.batch.labels, carry.batch.puzzle_ids]},
            "meter": self.meter.sums,
            "position": self.feed.position,
            "generator": self.generator.get_state(),  # all randomness after initialisation that the feed has no part in
            "versions": versions(),
        }

    def load_state_dict(self, saved: dict) -> None:
        self.model.load_state_dict(saved["model"])
        self.averaged.load_state_dict(saved["ema"])
        self.optimizers.load_state_dict(saved["optimizers"])
        state, batch = ([t.to(self.device) for t in saved["carry"][k]] for k in ("state", "batch"))
        segments, halted = (saved["carry"][k].to(self.device) for k in ("segments", "halted"))
        self.carry = Carry(self.model.latents(*state), Batch(*batch), segments, halted)
        self.meter.sums = {k: v.to(self.device) if torch.is_tensor(v) else v for k, v in saved["meter"].items()}
        self.feed = Feed(self.feed.stream, self.feed.facts, self.batch, self.device, saved["position"])
        self.generator.set_state(saved["generator"])
        self.step, self.seconds = saved["step"], saved["seconds"]

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
            "peak_memory": torch.cuda.max_memory_allocated(self.device) if on_gpu else None,
            "versions": versions(),
            "sha256": {"raw": checkpoint.digest(self.model), "ema": checkpoint.digest(self.averaged)},
        }


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": str(torch.__version__)}
