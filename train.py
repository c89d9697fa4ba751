"""Train a tiny recursive reasoning model: `python train.py task=sudoku model=trm`

Every slot of the batch holds a puzzle and a latent state. A step gives each slot one segment of recursion, asks for the
answer, and moves the weights once; a puzzle stays in its slot until it halts, its state carried on but detached.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads: spinning threads starve shared cores

import time
from dataclasses import replace

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
from tinyreason.feed import Stream
from tinyreason.models import parameter_count
from tinyreason.puzzle import Puzzles
from tinyreason.trainer import Trainer


def train(config: Config) -> dict:
    """Train, evaluate, and leave runs/<name>/ complete. Returns what result.json holds."""
    trainer, task, splits, folder = begin(config)
    solver, tracker, watched = solver_of(trainer, config), make_tracker(config), config.eval.split
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
            log(evaluation(trainer, watched, found), folder, tracker)
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


def begin(config: Config) -> tuple[Trainer, Task, dict[str, Puzzles], RunFolder]:
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


def finish(config: Config, trainer: Trainer, found: dict, folder: RunFolder, tracker: Guarded) -> dict:
    """Write down what was found on the test puzzles."""
    save_submission(found, folder.path)
    log(evaluation(trainer, "test", found), folder, tracker)
    result = trainer.result() | {"finished": trainer.step >= config.steps, "test": found}
    folder.finish(result)
    tracker.finish()
    print(f"test: {brief(found)}\n{folder.path / 'result.json'}: {trainer.seconds:.0f} s, {trainer.step} steps")
    return result


def solver_of(trainer: Trainer, config: Config) -> Solver:
    """The averaged weights, to be examined."""
    segments, options = config.eval.segments or config.halting.segments, config.eval
    model, depth, halting = trainer.averaged, trainer.depth, trainer.halting
    return Solver(model, depth, halting, segments, options.halt, options.batch, trainer.device)


def evaluation(trainer: Trainer, split: str, found: dict) -> dict:
    """A line for the log: the metrics that are numbers."""
    head = {"kind": "eval", "split": split, "step": trainer.step, "seconds": trainer.seconds}
    return head | {k: v for k, v in found.items() if not isinstance(v, str | dict)}


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


def main(words: DictConfig) -> None:
    config = training_config(words)
    train(replace(config, name=config.name or default_name()))


if __name__ == "__main__":
    choose_scale()
    command("train", main)
