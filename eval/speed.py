"""How fast does a configuration train?

    python -m eval.speed
    python -m eval.speed model.mix=attention,mixer
    python -m eval.speed task=sudoku model=trm scale=paper compile=false,true repeats=10

It takes the words of train.py, and repeats=5: how often each variant is timed.

A word with choices, as in `model.mix=attention,mixer`, times them in turn, A B A B, and prints each
one's ratio to the first: ratios hold where a shared machine's speed drifts. Puzzles are random
tokens of the task's shape. What `deterministic=false,true` costs on CUDA is asked like this too;
cuBLAS then has that option's workspace in both.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as train.py does

import itertools
import re
import sys
import time
from dataclasses import replace
from statistics import median

import numpy as np
import torch

from conf import help
from conf.cli import choose_scale, composed, one_line
from conf.schema import Config, training_config
from data.registry import facts_of
from eval.cost.fit import fitted
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.feed import Stream
from tinyreason.models import parameter_count
from tinyreason.puzzle import Puzzles
from tinyreason.run.deterministic import deterministic
from tinyreason.trainer import Trainer

WARM_UP = 2  # steps, compilation included


def random_trainer(config: Config) -> Trainer:
    """A trainer of `config` whose puzzles are noise."""
    facts, rng = facts_of(config.task), np.random.Generator(np.random.PCG64(0))
    tokens = rng.integers(1, facts.vocab_size, (2, 1024, facts.seq_len), dtype=np.uint8)
    facts = replace(facts, num_puzzle_identifiers=max(2, facts.num_puzzle_identifiers))
    stream = Stream(Puzzles.single(*tokens), lambda rows, copy, rng: rows, seed=0)
    device = pick_device(config.device)
    return Trainer(fitted(config, facts, device), facts, stream, device)


def seconds(trainer: Trainer, config: Config) -> float:
    """One step."""

    def wait() -> None:
        if trainer.device.type == "cuda":
            torch.cuda.synchronize(trainer.device)

    wait()
    start = time.perf_counter()
    with deterministic(config.deterministic):
        trainer.step()
    wait()
    return time.perf_counter() - start


def variants(words: list[str]) -> dict[str, list[str]]:
    """Each combination of choices by its name, as the words that select it."""
    choices = [[f"{w.split('=')[0]}={v}" for v in w.split("=", 1)[1].split(",")] for w in words]
    varied = [i for i, c in enumerate(choices) if len(c) > 1]
    return {
        " ".join(one[i] for i in varied) or "as given": list(one)
        for one in itertools.product(*choices)
    }


def main(words: list[str]) -> None:
    if help.asked(words):
        print(help.plain_page(__doc__))
        return
    repeats = next((w.removeprefix("repeats=") for w in words if w.startswith("repeats=")), "5")
    if not re.fullmatch("[1-9][0-9]{0,5}", repeats):
        raise UserError(f"repeats={repeats} must be a whole number, 1 or more")
    named = variants([w for w in words if not w.startswith("repeats=")])
    configs = {k: training_config(composed(v)) for k, v in named.items()}
    with deterministic(
        any(c.deterministic for c in configs.values())
    ):  # before CUDA is used at all
        trainers = {k: random_trainer(c) for k, c in configs.items()}
    for k, trainer in trainers.items():
        for _ in range(WARM_UP):
            seconds(trainer, configs[k])
    times = {k: [] for k in trainers}
    for _ in range(int(repeats)):
        for k, trainer in trainers.items():
            times[k].append(seconds(trainer, configs[k]))
    first = times[next(iter(times))]
    print(
        "| variant | parameters | s a step, median | segments/s | ratio to the first |\n|"
        + " --- |" * 5
    )
    for k, trainer in trainers.items():
        step, ratio = median(times[k]), median(a / b for a, b in zip(times[k], first, strict=True))
        print(
            f"| {k} | {parameter_count(trainer.model):,} | "
            f"{step:.3f} | {trainer.batch / step:,.0f} | {ratio:.2f} |"
        )
    if torch.cuda.is_available():
        print(
            f"peak memory of all: {torch.cuda.max_memory_allocated(trainer.device) / 2**30:.2f} GiB"
        )


if __name__ == "__main__":
    with one_line():
        choose_scale()
        main(sys.argv[1:])
