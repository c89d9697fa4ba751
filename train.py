"""Train a tiny recursive reasoning model: `python train.py task=sudoku model=trm`

Every slot of the batch holds a puzzle and a latent state. A step gives each slot one segment of recursion, asks for the
answer, and moves the weights once; a puzzle stays in its slot until it halts, its state carried on but detached.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads: spinning threads starve shared cores

import platform
import time
from dataclasses import replace
from pathlib import Path

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from conf.cli import choose_scale, command, pick_device
from conf.run import RunFolder, default_name
from conf.schema import Config, training_config
from conf.track import Guarded, make_tracker
from data.registry import load_task
from data.task import Task
from eval.solve import Solver, brief, save_submission, solve
from tinyreason import checkpoint
from tinyreason.average import Average
from tinyreason.errors import UserError
from tinyreason.feed import Feed, Stream
from tinyreason.halting import make_halting
from tinyreason.losses import cross_entropy_of, objective
from tinyreason.meter import Meter
from tinyreason.models import Read, RecursiveModel, make_model, parameter_count
from tinyreason.optim import Optimizers
from tinyreason.puzzle import Batch, Facts, Puzzles
from tinyreason.segment import Carry


def train(config: Config) -> dict:
    """Train, evaluate, and leave runs/<name>/ complete. Returns what result.json holds."""
    trainer, task, splits, folder = begin(config)
    solver, tracker, watched = trainer.solver(config), make_tracker(config), config.eval.split
    shown, before, began = {}, trainer.seconds, time.monotonic()
    bar = tqdm(initial=trainer.step, total=config.steps, unit="step", disable=None, dynamic_ncols=True)

    while trainer.step < config.steps:
        trainer.segment()
        bar.update()
        trainer.seconds = before + time.monotonic() - began

        # once in a while: look at the loss, for which the host waits for the device
        if trainer.step % config.log_every == 0:
            record = {"kind": "train", "step": trainer.step, "seconds": trainer.seconds} | trainer.meter.read()
            log(record, folder, tracker)
            bar.set_postfix(shown | {"loss": f"{record['loss']:.3f}", "exact": f"{record['exact']:.1%}"})

        # once in a while: evaluate the averaged weights on puzzles held out of training
        if len(splits[watched]) and trainer.step % config.eval_every == 0 and trainer.step < config.steps:
            found = solve(solver, task, splits[watched], watched, config.eval.puzzles)
            log(trainer.evaluation(watched, found), folder, tracker)
            shown = {watched: f"{found['exact_accuracy']:.1%}"}
            tqdm.write(f"step {trainer.step}, {trainer.seconds:.0f} s, {watched}: {brief(found)}")

        # once in a while: save
        if trainer.step % config.save_every == 0:
            trainer.save(folder.checkpoints)
        if config.max_minutes is not None and trainer.seconds - before > 60 * config.max_minutes:
            tqdm.write(f"max_minutes={config.max_minutes} are over; the same command goes on from here")
            break

    bar.close()
    trainer.save(folder.checkpoints)
    found = solve(solver, task, splits["test"], "test", votes=config.eval.votes)
    return finish(config, trainer, found, folder, tracker)


def begin(config: Config) -> tuple["Trainer", Task, dict[str, Puzzles], RunFolder]:
    """First all that can be refused; then the data, the model, and the folder as it was where the run goes on."""
    device, folder = pick_device(config.device), RunFolder(config)
    task, splits = load_task(config.task)
    torch.manual_seed(config.seed)
    trainer = Trainer(config, task.facts, Stream(splits["train"], task.augment, config.seed), device)
    if folder.start:
        trainer.load(folder.start)
        print(f"going on from step {trainer.step} ({folder.start}), {config.steps - trainer.step} steps left")
    folder.begin(trainer.step)
    describe(config, trainer, task, splits, folder)
    return trainer, task, splits, folder


def finish(config: Config, trainer: "Trainer", found: dict, folder: RunFolder, tracker: Guarded) -> dict:
    """Write down what was found on the test puzzles."""
    save_submission(found, folder.path)
    log(trainer.evaluation("test", found), folder, tracker)
    result = trainer.result() | {"finished": trainer.step >= config.steps, "test": found}
    folder.finish(result)
    tracker.finish()
    print(f"test: {brief(found)}\n{folder.path / 'result.json'}: {trainer.seconds:.0f} s, {trainer.step} steps")
    return result


class Trainer:
    """Everything that changes while training; what `state_dict` holds is all there is to a run."""

    def __init__(self, config: Config, facts: Facts, stream: Stream, device: torch.device):
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
        carry = self.carry.refill(self.feed.take(self.carry.halted), self.model)
        state, read = self.model(carry.state, carry.batch, self.depth)
        carry = carry.advance(state, lambda segments: self.halting.done(read, segments, self.generator))
        loss, sums = objective(read, carry, self.halting, self.cross_entropy, lambda: self.look_ahead(carry))
        (loss / self.batch).backward()
        self.optimizers.step()
        if self.ema is not None:
            self.ema.update(self.model)
        self.meter.add(sums | {"slots": self.batch})
        self.carry, self.step = carry, self.step + 1

    @torch.no_grad()
    def look_ahead(self, carry: Carry) -> Read:
        """What the segment after this one would say, for Q-learning."""
        return self.model(carry.state, carry.batch, self.depth)[1]

    @property
    def averaged(self) -> RecursiveModel:
        """The weights that are evaluated."""
        return self.model if self.ema is None else self.ema.module

    def solver(self, config: Config) -> Solver:
        """The averaged weights, to be examined."""
        segments = config.eval.segments or config.halting.segments
        return Solver(
            self.averaged, self.depth, self.halting, segments, config.eval.halt, config.eval.batch, self.device
        )

    def evaluation(self, split: str, found: dict) -> dict:
        """A line for the log: the metrics that are numbers."""
        head = {"kind": "eval", "split": split, "step": self.step, "seconds": self.seconds}
        return head | {k: v for k, v in found.items() if not isinstance(v, str | dict)}

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


def log(record: dict, folder: RunFolder, tracker: Guarded) -> None:
    """To log.jsonl, always, and to the tracker."""
    folder.log(record)
    tracker.log(record)


def describe(config: Config, trainer: Trainer, task: Task, splits: dict, folder: RunFolder) -> None:
    """The first lines that a user reads."""
    sizes = ", ".join(f"{len(v)} {k}" for k, v in splits.items())
    total, tracked = trainer.depth
    print(f"{folder.path}: {config.task['name']} ({sizes} examples), scale={config.scale}, device={trainer.device}")
    print(
        f"{config.model.recursion} with {parameter_count(trainer.model):,} parameters, {total} recursions a segment, "
        f"{tracked} with gradient, up to {config.halting.segments} segments, halting={config.halting.rule}"
    )
    notes = list(task.notes)
    if not len(splits[config.eval.split]):
        notes.append(f"the {config.eval.split} split is empty: no evaluation before the final one on test")
    for line in notes:
        print(f"note: {line}")


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": str(torch.__version__)}


def main(words: DictConfig) -> None:
    config = training_config(words)
    train(replace(config, name=config.name or default_name()))


if __name__ == "__main__":
    choose_scale()
    command("train", main)
