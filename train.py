"""Train a tiny recursive reasoning model: `python train.py task=sudoku model=trm`

Every slot of the batch holds a puzzle and a latent state. A step gives each slot one segment of
recursion, asks for the answer, and moves the weights once; a puzzle stays in its slot until it
halts, its state carried on but detached.
"""

import signal
import sys

if sys.version_info < (3, 11):  # noqa: UP036, before anything that it could not even read
    sys.exit("error: tinyreason needs Python 3.11 or later, this is " + sys.version.split()[0])

import tinyreason.run.waiting  # noqa: F401, before torch is loaded

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while loading: no traceback; `command` listens again
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from conf.cli import choose_scale, command, default_name
from conf.schema import Config, plain, training_config
from conf.sweep import sweeping
from conf.tracker import Fallback, NoTracker, make_tracker
from data.task import Task
from eval.advice import apart, cannot_learn, does_not_learn
from eval.begin import (
    begin_from,
    for_all,
    kernels_of,
    loaded,
    refuse_other_puzzles,
    remember,
    use_threads,
    with_cpu_type,
)
from eval.cost.fit import fitted
from eval.score import brief, save_submission, solve
from tinyreason.cpu import same_threads_after
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.exits import ExitConfig, make_exit
from tinyreason.feed import Stream
from tinyreason.models import name_of, parameter_count
from tinyreason.nonfinite import MOST_IN_A_ROW
from tinyreason.puzzle import Puzzles
from tinyreason.ranks import ALONE, Ranks
from tinyreason.run.console import say
from tinyreason.run.deterministic import deterministic
from tinyreason.run.folder import Finished, RunFolder
from tinyreason.run.machine import peak_memory
from tinyreason.run.one_folder import OneFolder, folder_of
from tinyreason.run.place import place
from tinyreason.run.signals import Stop, Stopped
from tinyreason.several import joined
from tinyreason.sharded import Sharded
from tinyreason.solver import Solver
from tinyreason.trainer import Trainer


class Run(NamedTuple):
    """A training run and all that it works with."""

    config: Config
    trainer: Trainer
    task: Task
    splits: dict[str, Puzzles]
    folder: RunFolder | OneFolder
    tracker: Fallback
    losses: list[float]  # of the log lines of this process


def train(config: Config, ranks: Ranks = ALONE) -> dict:
    """Train, evaluate, and leave runs/<name>/ complete. Returns what result.json holds."""
    run = begin(config, ranks)
    config = run.config
    try:
        with memory_advice(config), Stop() as stop:
            try:
                learn(run, stop)
                solver, votes = sharded(run, stop), config.eval.votes
                found = solve(solver, run.task, run.splits["test"], "test", votes=votes)
                return finish(run, found)
            except Stopped:
                leave(run, stop)
            except Exception as error:
                if stop.signal is None or isinstance(error, UserError):
                    raise
                leave_broken(run, stop, error)
    finally:
        run.tracker.finish()
        run.folder.release()


def learn(run: Run, stop: Stop) -> None:
    """Segment after segment, to the last step or until time is up.

    Raises Stopped where a signal asks for it.
    """
    config, trainer, ranks = run.config, run.trainer, run.trainer.ranks
    shown, begun, before, began = {}, trainer.steps, trainer.seconds, time.monotonic()
    sizes = {"initial": trainer.steps, "total": config.steps}
    quiet = None if ranks.first else True  # None: where there is no terminal
    bar = tqdm(**sizes, unit="step", disable=quiet, dynamic_ncols=True)

    while trainer.steps < config.steps:
        # once in a while: evaluate, and save
        if trainer.steps and trainer.steps % config.eval_every == 0:
            shown |= evaluate(run, stop)
        due = trainer.steps > begun and trainer.steps % config.save_every == 0
        if due and not trainer.bad_steps.in_a_row:
            save(run)
        minutes = (trainer.seconds - before) / 60
        late = config.max_minutes is not None and minutes > config.max_minutes
        late, asked = ranks.largest(late, bool(stop.signal))
        if late:
            say(f"max_minutes={config.max_minutes} are over; the same command resumes from here")
            break
        if asked:
            raise Stopped

        trainer.step()
        bar.update()
        trainer.seconds = before + time.monotonic() - began

        # once in a while: look at the loss, for which the host waits for the device
        look = trainer.steps % config.log_every == 0
        if look:
            bar.set_postfix(shown | look_at_loss(run))
        if look or trainer.device.type == "cpu":
            refuse_to_go_on_lost(run)

    bar.close()
    if trainer.steps >= config.steps:
        evaluate(run, stop)  # the last step may be the best
    if not save(run):
        advice = "make room on the disk, then run the same command again"
        raise UserError(f"step {trainer.steps} could not be saved; {advice}")


def look_at_loss(run: Run) -> dict[str, str]:
    """Log what the steps since the last look came to. Returns what the bar shows of it."""
    trainer = run.trainer
    head = {"kind": "train", "step": trainer.steps, "seconds": trainer.seconds}
    record = head | trainer.meter.read() | {"lr": trainer.optimizers.lr}
    log(run, record)
    run.losses.append(record["loss"])
    return {"loss": f"{record['loss']:.3f}", "exact": f"{record['exact']:.1%}"}


def refuse_to_go_on_lost(run: Run) -> None:
    """Raise UserError, with the checkpoint to start again from, after too many bad steps."""
    bad = run.trainer.bad_steps
    if bad.lost():
        what = f"{MOST_IN_A_ROW} steps in a row had a loss or a gradient that is not finite"
        raise UserError(f"{what}; {run.folder.advice(int(bad.first))}")


def evaluate(run: Run, stop: Stop) -> dict[str, str]:
    """Examine the averaged weights on puzzles held out of training, once a step.

    Returns what the bar shows of it.
    """
    trainer, watched = run.trainer, run.config.eval.split
    puzzles = run.splits[watched]
    if not len(puzzles) or (watched, trainer.steps) in run.folder.evaluated:
        return {}
    found = solve(sharded(run, stop), run.task, puzzles, watched, run.config.eval.puzzles)
    if not found["puzzles"]:  # none with a known answer
        return {}
    # saved before it is logged: a step that is in the log is not evaluated again
    keep_best(run, found["exact_accuracy"])
    log(run, evaluation(trainer, "eval", watched, found))
    say(f"step {trainer.steps}, {trainer.seconds:.0f} s, {watched}: {brief(found)}")
    if not run.folder.evaluated and (hint := does_not_learn(run.losses)):
        say(hint)
    run.folder.evaluated.add((watched, trainer.steps))
    return {watched: f"{found['exact_accuracy']:.1%}"}


def keep_best(run: Run, exact_accuracy: float) -> None:
    """Save the step if it is the best so far; on a full disk the best that is saved stays it."""
    before = run.trainer.best
    if before is None or exact_accuracy > before["exact_accuracy"]:
        run.trainer.best = {"step": run.trainer.steps, "exact_accuracy": exact_accuracy}
        if not save(run):
            run.trainer.best = before


def begin(config: Config, ranks: Ranks = ALONE) -> Run:
    """First all that can be refused; then the data, the model, and the folder as it was where the
    run goes on.
    """
    ranks.slots(config.batch)
    device, folder = pick_device(config.device), folder_of(plain(config), ranks)
    try:
        start = folder.start()
        task, splits = loaded(config, ranks)
        refuse_other_puzzles(config, folder, splits)
        saved, made_on = (start and start[1][key] for key in ("config", "made_on"))
        config = for_all(lambda one: fitted(one, task.facts, device, saved), config, ranks)
        folder.config = plain(config)
        if device.type == "cpu":  # not in the folder: another machine may use the run
            config = for_all(lambda one: with_cpu_type(one, task.facts, made_on), config, ranks)
            use_threads(config, task.facts, made_on)
            torch.set_num_threads(ranks.shared(torch.get_num_threads()))  # chosen by one clock
        torch.manual_seed(config.seed)
        stream = Stream(splits["train"], task.augment, config.seed)
        trainer = Trainer(config, task.facts, stream, device, ranks, kernels_of(made_on, device))
        if start:
            go_on(trainer, *start)
        elif config.init:
            begin_from(trainer, config.init, task)
    except BaseException:  # Ctrl-C too
        folder.leave()
        raise
    folder.begin(trainer.steps)
    if ranks.first:
        remember(folder.path, config, task, splits)
    describe(config, trainer, task, splits, folder)
    tracker = make_tracker(config, folder.path) if ranks.first else Fallback(NoTracker())
    run = Run(config, trainer, task, splits, folder, tracker, [])
    if start and not folder.owns(start[0]):
        save(run)  # from here on its own
    return run


def go_on(trainer: Trainer, path: Path, state: dict) -> None:
    """From a checkpoint. Raises UserError if it is not of such a run."""
    try:
        changed = trainer.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = shorten(str(error), 200, placeholder=" ...")
        raise UserError(
            f"{path} does not fit this model and optimizer ({reason}); "
            f"use init={path} to begin a new run from its weights alone"
        ) from None
    say(f"resuming from step {trainer.steps} ({path})")
    if changed:
        say(f"note: results may differ from an uninterrupted run ({'; '.join(changed)})")


def save(run: Run) -> bool:
    """Keep a checkpoint of this step. False where it could not be written; training may go on."""
    best, keep = run.trainer.best, run.config.checkpoint.carry == "keep"
    return run.folder.save(
        run.trainer.steps, run.trainer.state_dict(carry=keep), best["step"] if best else None
    )


def leave(run: Run, stop: Stop) -> None:
    """Save, and exit as the signal asks."""
    stop.agree(run.trainer.ranks.largest)
    saved = "saved; the same command resumes from here" if save(run) else "which could not be saved"
    say(f"stopped by {stop.signal.name} at step {run.trainer.steps}, {saved}")
    sys.exit(stop.code)


def leave_broken(run: Run, stop: Stop, error: Exception) -> None:
    """Exit without saving: a terminal's Ctrl-C, or a signal to a whole group, also reaches the
    processes that a step waits for, as the compiler's, and the step cannot be finished.
    """
    lost = f"within step {run.trainer.steps + 1}, which broke off ({type(error).__name__})"
    say(f"stopped by {stop.signal.name} {lost}; the same command goes on from the last checkpoint")
    sys.exit(stop.code)


def finish(run: Run, found: dict) -> dict:
    """Write down what was found on the test puzzles."""
    trainer, folder = run.trainer, run.folder
    if trainer.ranks.first:
        save_submission(found, folder.path)
    log(run, evaluation(trainer, "final", "test", found))
    result = trainer.result() | {"finished": trainer.steps >= run.config.steps, "test": found}
    folder.finish(result)
    say(
        f"test: {brief(found)}\n{folder.path / 'result.json'}: "
        f"{trainer.seconds:.0f} s, {trainer.steps} steps"
    )
    return result


def sharded(run: Run, stop: Stop) -> Sharded:
    """The averaged weights, to be examined by all ranks until a signal asks to stop."""
    solver = solver_of(run.trainer, run.config)
    return Sharded(solver, run.trainer.ranks, stop.interruptible)


def solver_of(trainer: Trainer, config: Config) -> Solver:
    """The averaged weights, to be examined."""
    segments, options = config.eval.segments or config.halting.segments, config.eval
    exit = ExitConfig(options.exit, options.exit_threshold, options.exit_pool)
    return Solver(
        model=trainer.averaged,
        depth=trainer.depth.full,
        gradient=trainer.gradient,
        halting=trainer.halting,
        segments=segments,
        halt=options.halt,
        batch=options.batch,
        device=trainer.device,
        exit=make_exit(exit, trainer.halting),
        confidence=options.confidence,
    )


def evaluation(trainer: Trainer, kind: str, split: str, found: dict) -> dict:
    """A line for the log: the metrics that are numbers."""
    head = {"kind": kind, "split": split, "step": trainer.steps, "seconds": trainer.seconds}
    return head | {k: v for k, v in found.items() if not isinstance(v, str | dict)}


def log(run: Run, record: dict) -> None:
    """To log.jsonl, always, and to the tracker."""
    run.folder.log(record)
    run.tracker.log(record)


def describe(config: Config, trainer: Trainer, task: Task, splits: dict, folder: RunFolder) -> None:
    """The first lines that a user reads."""
    sizes = ", ".join(f"{len(v)} {k}" for k, v in splits.items())
    depth = trainer.depth.full
    dtype = name_of(trainer.model.encoder.dtype)
    say(
        f"{folder.path}: {config.task['name']} ({sizes} "
        f"examples), scale={config.scale}, device={trainer.device}, model.dtype={dtype}"
    )
    say(
        f"{config.model.name} with {parameter_count(trainer.model):,} parameters, "
        f"{depth.total} recursions a segment (depth={config.depth.name}), "
        f"{depth.tracked} with gradient (gradient={config.gradient.name}), "
        f"up to {config.halting.segments} segments (halting={config.halting.rule})"
    )
    notes = list(task.notes) + cannot_learn(config)
    if config.checkpoint.carry == "drop":
        notes.append(
            "checkpoint.carry=drop: a resumed run begins new puzzles, so its results may differ"
        )
    if not len(splits[config.eval.split]):
        notes.append(
            f"the {config.eval.split} split is empty: no evaluation before the final one on test"
        )
    for line in notes + apart(config, trainer.ranks.world):
        say(f"note: {line}")


@contextmanager
def memory_advice(config: Config) -> Iterator[None]:
    """One line instead of a traceback where memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if isinstance(error, RuntimeError) and not re.search(
            "out of memory|allocate memory", str(error)
        ):
            raise
        peak = f"{peak_memory(pick_device(config.device)) / 2**30:.1f} GiB in use at most"
        own = config.batch // place().world
        half = max(1, min(config.slots_at_once, own) // 2)
        options = f"micro_batch={half}, model.recompute=true, or a smaller eval.batch="
        what = f"out of memory at batch={config.batch}, {peak}"
        raise UserError(f"{what}; use {options}; the same command then resumes") from None


def main(words: DictConfig) -> None:
    config = training_config(words)
    if sweeping() and config.name is not None:
        raise UserError(f"name={config.name} is of one run; leave name= out of a sweep (-m)")
    config = replace(config, name=config.name or default_name())
    try:
        with (
            memory_advice(config),
            deterministic(config.deterministic),
            same_threads_after(),
            joined(config.device, config.deterministic) as ranks,
        ):
            train(config, ranks)
    except Finished as done:
        if not sweeping():
            raise
        say(f"note: {done.what}")  # the same sweep again goes on with what is left of it


if __name__ == "__main__":
    choose_scale()
    command("train", main)
