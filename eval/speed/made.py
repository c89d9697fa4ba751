"""What is timed: a trainer and a solver whose puzzles are random tokens of the task's shape."""

from dataclasses import replace

import numpy as np

from conf.schema import Config
from data.registry import facts_of
from eval.cost.fit import fitted
from tinyreason.device import pick_device
from tinyreason.feed import Stream
from tinyreason.puzzle import Facts, Puzzles
from tinyreason.ranks import ALONE, Ranks
from tinyreason.solver import Solver
from tinyreason.trainer import Trainer

PUZZLES = 1024
# compilers, and kernels and graphs chosen by timing, change what is kept and what can be counted
PLAIN = {"compile": "false", "kernels": "plain", "graph": "false"}
WARM_UP = 2  # steps before any is timed, compilation included
RECORDED = 6  # where one of them is tried as a CUDA graph


def random_puzzles(facts: Facts) -> Puzzles:
    """No two alike, and none solvable."""
    rng = np.random.Generator(np.random.PCG64(0))
    shape = (2, PUZZLES, facts.seq_len)
    return Puzzles.single(*rng.integers(1, facts.vocab_size, shape, dtype=np.uint8))


def fitted_here(config: Config, ranks: Ranks = ALONE) -> Config:
    """`config` with as many of a rank's slots at once as fit on its device."""
    own = replace(config, batch=config.batch // ranks.world)
    own = fitted(own, facts_of(config.task), pick_device(config.device))
    return replace(own, batch=config.batch)


def random_trainer(config: Config, ranks: Ranks = ALONE) -> Trainer:
    """A trainer of `config` whose puzzles are noise."""
    facts = facts_of(config.task)
    facts = replace(facts, num_puzzle_identifiers=max(2, facts.num_puzzle_identifiers))
    stream = Stream(random_puzzles(facts), lambda rows, copy, rng: rows, seed=0)
    device = pick_device(config.device)
    return Trainer(fitted_here(config, ranks), facts, stream, device, ranks)


def steps_to_warm_up(trainer: Trainer) -> int:
    """How many steps of a trainer to leave out."""
    return WARM_UP if trainer.graph is None else RECORDED


def one_segment(trainer: Trainer, config: Config) -> Solver:
    """The averaged weights at their first segment of each puzzle."""
    return Solver(
        model=trainer.averaged,
        depth=trainer.depth.full,
        gradient=trainer.gradient,
        halting=trainer.halting,
        segments=1,
        halt=False,
        batch=min(config.eval.batch, config.batch),
        device=trainer.device,
    )
