"""Train a tiny recursive reasoning model: `python train.py task=sudoku model=trm`

Every slot of the batch holds a puzzle and a latent state. A step gives each slot one segment of recursion, asks for the
answer, and moves the weights once; a puzzle stays in its slot until it halts, its state carried on but detached.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads: spinning threads starve shared cores

import platform
import time
from collections import Counter
from dataclasses import replace

import torch
from omegaconf import DictConfig
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from conf.cli import choose_scale, command, pick_device
from conf.run import RunFolder, default_name
from conf.schema import Config, check, lowered, typed
from conf.track import make_tracker
from data.registry import load_task
from eval.solve import Solver, brief, save_submission, solve
from tinyreason import checkpoint
from tinyreason.feed import Feed, Stream
from tinyreason.halting import make_halting
from tinyreason.losses import cross_entropy_of, objective
from tinyreason.models import make_model, parameter_count
from tinyreason.optim import Optimizers
from tinyreason.puzzle import Batch, Facts
from tinyreason.segment import Carry
from tinyreason.sparse import share_tables


def train(config: Config) -> dict:
    """Train, evaluate, and leave runs/<name>/ complete. Returns what result.json holds."""
    device = pick_device(config.device)
    torch.manual_seed(config.seed)
    task, splits = load_task(config.task)
    stream = Stream(splits["train"], task.augment, config.seed)
    trainer = Trainer(config, task.facts, stream, device)
    solver = trainer.solver(config)
    folder = RunFolder(config)
    tracker = make_tracker(config)
    if folder.start:
        trainer.load_state_dict(checkpoint.load(folder.start))
        print(f"going on from step {trainer.step} ({folder.start}), {config.steps - trainer.step} steps left")
    folder.rewind_log(trainer.step)
    describe(config, trainer, splits, folder)
    for line in task.notes:
        print(f"note: {line}")
    watched = config.eval.split if len(splits[config.eval.split]) else None

    def log(record: dict) -> None:
        folder.log(record)
        tracker.log(record)

    def save() -> None:
        checkpoint.save(checkpoint.path_of(folder.checkpoints, trainer.step), trainer.state_dict())
        checkpoint.prune(folder.checkpoints, keep=3)

    began, before = time.monotonic(), trainer.seconds
    bar = tqdm(initial=trainer.step, total=config.steps, unit="step", disable=None, dynamic_ncols=True)
    shown = {}
    while trainer.step < config.steps:
        trainer.segment()
        bar.update()
        trainer.seconds = before + time.monotonic() - began

        # once in a while: look at the loss, the only time that the host waits for the device
        if trainer.step % config.log_every == 0:
            record = {"kind": "train", "step": trainer.step, "seconds": trainer.seconds} | trainer.meter.read()
            log(record)
            bar.set_postfix(shown | {"loss": f"{record['loss']:.3f}", "exact": f"{record['exact']:.1%}"})

        # once in a while: evaluate the averaged weights on puzzles held out of training
        if watched and trainer.step % config.eval_every == 0 and trainer.step < config.steps:
            found = solve(solver, task, splits[watched], watched, config.eval.puzzles)
            log({"kind": "eval", "split": watched, "step": trainer.step, "seconds": trainer.seconds} | scalars(found))
            shown = {watched: f"{found['exact_accuracy']:.1%}"}
            tqdm.write(f"step {trainer.step}, {trainer.seconds:.0f} s, {watched}: {brief(found)}")

        # once in a while: save
        if trainer.step % config.save_every == 0:
            save()
        if config.max_minutes is not None and trainer.seconds - before > 60 * config.max_minutes:
            tqdm.write(f"max_minutes={config.max_minutes} are over; the same command goes on from here")
            break
    bar.close()
    save()

    found = solve(solver, task, splits["test"], "test", votes=config.eval.votes)
    save_submission(found, folder.path)
    log({"kind": "eval", "split": "test", "step": trainer.step, "seconds": trainer.seconds} | scalars(found))
    result = trainer.result() | {"finished": trainer.step >= config.steps, "test": found}
    folder.finish(result)
    tracker.finish()
    print(
        f"test: {brief(found)}\n{folder.path / 'result.json'}: {trainer.seconds:.0f} s, {result['segments']} segments"
    )
    return result


class Trainer:
    """Everything that changes while training; what `state_dict` holds is all there is to a run."""

    def __init__(self, config: Config, facts: Facts, stream: Stream, device: torch.device):
        self.batch, self.depth, self.device = config.batch, config.model.depth, device
        self.model = make_model(config.model, facts, device)
        self.halting = make_halting(config.halting)
        self.cross_entropy = cross_entropy_of(config.loss)
        self.optimizers = Optimizers(self.model, config.optim, config.steps)
        self.ema = average(self.model, config.ema)
        if config.compile == "true" or (config.compile == "auto" and device.type == "cuda"):
            self.model.segment = torch.compile(self.model.segment)
        self.generator = torch.Generator(device).manual_seed(config.seed)
        self.feed = Feed(stream, facts, config.batch, device)
        self.carry = Carry.fresh(self.model, Batch.of(stream.rows(0, config.batch), facts, device))
        self.meter = Meter()
        self.step, self.seconds = 0, 0.0

    def segment(self) -> None:
        """One segment of every slot and one optimizer step; nothing here waits for the device."""
        carry = self.carry.refill(self.feed.take(self.carry.halted), self.model)
        state, read = self.model(carry.state, carry.batch, self.depth)
        carry = carry.advance(state, lambda segments: self.halting.done(read, segments, self.generator))
        loss, sums = objective(read, carry, self.halting, self.cross_entropy, lambda: self.look_ahead(carry))
        (loss / self.batch).backward()
        self.optimizers.step()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        self.meter.add(sums | {"slots": self.batch})
        self.carry, self.step = carry, self.step + 1

    @torch.no_grad()
    def look_ahead(self, carry: Carry):
        """What the segment after this one would say, for Q-learning."""
        return self.model(carry.state, carry.batch, self.depth)[1]

    def solver(self, config: Config) -> Solver:
        """The averaged weights, to be examined."""
        model = self.model if self.ema is None else self.ema.module
        segments = config.eval.segments or config.halting.segments
        return Solver(model, self.depth, self.halting, segments, config.eval.halt, config.eval.batch, self.device)

    def state_dict(self) -> dict:
        carry = self.carry
        return {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "ema": self.model.state_dict() if self.ema is None else self.ema.module.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "carry": {"state": list(carry.state), "segments": carry.segments, "halted": carry.halted}
            | {"batch": [carry.batch.inputs, carry.batch.labels, carry.batch.puzzle_ids]},
            "meter": self.meter.sums,
            "position": self.feed.position,
            "generator": self.generator.get_state(),
            "rng": {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()},
            "versions": versions(),
        }

    def load_state_dict(self, saved: dict) -> None:
        to = lambda tensors: (t.to(self.device) for t in tensors)  # noqa: E731
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.model.load_state_dict(saved["model"])
        if self.ema is not None:
            self.ema.module.load_state_dict(saved["ema"])
        self.optimizers.load_state_dict(saved["optimizers"])
        carry = saved["carry"]
        state, batch = self.model.latents(*to(carry["state"])), Batch(*to(carry["batch"]))
        self.carry = Carry(state, batch, *to((carry["segments"], carry["halted"])))
        self.meter.sums = {k: v.to(self.device) if torch.is_tensor(v) else v for k, v in saved["meter"].items()}
        self.feed = Feed(self.feed.stream, self.feed.facts, self.batch, self.device, saved["position"])
        self.generator.set_state(saved["generator"])
        torch.set_rng_state(saved["rng"]["cpu"])
        if saved["rng"]["cuda"] and self.device.type == "cuda":
            torch.cuda.set_rng_state_all(saved["rng"]["cuda"])

    def result(self) -> dict:
        """What was done, for result.json."""
        averaged = self.model if self.ema is None else self.ema.module
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
            "sha256": {"raw": checkpoint.digest(self.model), "ema": checkpoint.digest(averaged)},
        }


class Meter:
    """Sums that stay on the device until they are read."""

    def __init__(self):
        self.sums: dict = {}

    def add(self, sums: dict) -> None:
        self.sums = {k: self.sums.get(k, 0) + v for k, v in sums.items()}

    def read(self) -> dict[str, float]:
        """Means since the last read: losses over slots, the rest over puzzles that left. Waits for the device."""
        sums = Counter({k: float(v) for k, v in self.sums.items()})
        self.sums = {}
        slots, left = sums.pop("slots"), sums.pop("left")
        return {k: v / (slots if "loss" in k else max(left, 1)) for k, v in sums.items()} | {"puzzles": left}


def average(model: torch.nn.Module, decay: float | None) -> AveragedModel | None:
    """The moving average of the weights as in TRM: from the first step on, without bias correction."""
    if decay is None:
        return None
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    share_tables(model, ema.module)
    ema.update_parameters(model)  # the first update only copies; the reference averages from step 1
    return ema


def describe(config: Config, trainer: Trainer, splits: dict, folder: RunFolder) -> None:
    """The first lines that a user reads."""
    sizes = ", ".join(f"{len(v)} {k}" for k, v in splits.items())
    total, tracked = trainer.depth
    print(f"{folder.path}: {config.task['name']} ({sizes} puzzles), scale={config.scale}, device={trainer.device}")
    print(
        f"{config.model.recursion} with {parameter_count(trainer.model):,} parameters, {total} recursions a segment, "
        f"{tracked} with gradient, up to {config.halting.segments} segments, halting={config.halting.rule}"
    )


def scalars(found: dict) -> dict:
    """The metrics that belong into a log line."""
    return {k: v for k, v in found.items() if not isinstance(v, str | dict)}


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": str(torch.__version__)}


def main(words: DictConfig) -> None:
    config = typed(Config, words)
    name, resume, compile_ = config.name or default_name(), lowered(config.resume), lowered(config.compile)
    config = replace(config, name=name, resume=resume, compile=compile_)
    check(config)
    train(config)


if __name__ == "__main__":
    choose_scale()
    command("train", main)
