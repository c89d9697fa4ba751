"""One rank of a few steps of several small trainings, which `tests/test_ranks.py` compares.

    python -m tests.rank FOLDER

writes FOLDER/RANK.pt. What it comes to without torchrun's variables is what one rank does.
"""

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import train
from eval.score import metrics
from tests import tiny
from tinyreason.feed import Stream
from tinyreason.puzzle import Puzzles, Rows
from tinyreason.ranks import ALONE, Ranks
from tinyreason.run import checkpoint
from tinyreason.run.signals import Stop, Stopped
from tinyreason.several import joined
from tinyreason.sharded import Sharded
from tinyreason.trainer import Trainer

STEPS, BATCH, IDENTIFIERS = 5, 6, 7
SMALL = (
    "task=sudoku",
    "scale=small",
    "task.side=4",
    f"batch={BATCH}",
    "device=cpu",
    "model.width=16",
    "model.heads=2",
    "optim.lr=1e-4",  # as published
    "halting.rule=correctness",
    "halting.segments=3",
    "halting.exploration=0.5",
)
# Adam's first steps are the signs of gradients, also of those that are rounding alone: without the
# published warm-up, weights and then gradients in float32 part by 1e-5 at the fourth step
WARM_UP = {"float32": "optim.warmup=2000", "float64": "optim.warmup=2"}
PUZZLES = ("model.prefix=1", "model.puzzle_embedding=true")
CASES = {
    "trm": ("model=trm", "model.mix=attention"),
    "trm, mixer, puzzles, parts": ("model=trm", "model.mix=mixer", "micro_batch=2", *PUZZLES),
    "hrm": ("model=hrm", "model.mix=attention", "halting.rule=q_learning", *PUZZLES),
    "huginn": ("model=huginn", "depth=poisson"),
    "parcae": ("model=parcae", "depth=per_row"),
    "wta": ("model=wta",),
    "mixture_token": ("model=mixture_token", "model.balance=loss_free"),
}
WIDE = ("trm", "trm, mixer, puzzles, parts", "hrm", "huginn")  # that compute in float64 if asked to
RUNS = [(name, "float32") for name in CASES] + [(name, "float64") for name in WIDE]
SOLVED = 11  # puzzles: more for the last rank, whatever their number
FEW = 1  # puzzles: none for the first of two


def trainer_of(words: tuple[str, ...], ranks: Ranks, dtype: str) -> Trainer:
    """Of random puzzles, some of which share an identifier; all of it in `dtype`."""
    config = tiny.config(*SMALL, WARM_UP[dtype], *words, f"model.dtype={dtype}")
    facts = replace(tiny.sudoku(side=4).facts, num_puzzle_identifiers=IDENTIFIERS)
    tokens = np.random.Generator(np.random.PCG64(0)).integers(1, 6, (2, 50, 16), dtype=np.uint8)
    puzzles = replace(Puzzles.single(*tokens), puzzle_identifiers=np.arange(50) % IDENTIFIERS)
    stream = Stream(puzzles, lambda rows, copy, rng: rows, seed=0)
    torch.manual_seed(0)
    trainer = Trainer(config, facts, stream, tiny.CPU, ranks)
    # every puzzle wants to leave, and half of them are made to stay: chance decides the order
    torch.nn.init.normal_(trainer.model.heads.halt.weight, std=0.1)
    trainer.model.heads.halt.bias.data = torch.tensor([5.0, 0.0])
    for model in {trainer.model, trainer.averaged}:
        model.to(getattr(torch, dtype))
    return trainer


def watched(trainer: Trainer, record: Callable[[list[Tensor]], None]) -> None:
    """`record` hears the gradients of each step, those of tables by identifier."""
    honest, optimizers = trainer.optimizers.norm, trainer.optimizers

    def norm() -> Tensor:
        found = [p.grad.clone() for p in optimizers.parameters if p.grad is not None]
        for embedding in optimizers.embeddings:
            total = torch.zeros_like(embedding.table)
            for ids, rows in embedding.used:
                if rows.grad is not None:
                    total.index_add_(0, ids, rows.grad)
            found.append(total)
        record(found)
        return honest()

    optimizers.norm = norm


def steps_of(words: tuple[str, ...], ranks: Ranks, dtype: str) -> list[dict]:
    """What each of a few steps comes to."""
    trainer, told = trainer_of(words, ranks, dtype), []
    watched(trainer, lambda found: told.append({"gradients": found}))
    for step in range(STEPS):
        trainer.step()
        slots = trainer.saved_carry()
        told[step] |= {
            "puzzles": slots["batch"],
            "segments": slots["segments"],
            "halted": slots["halted"],
            "adjusted": [t.clone() for t in trainer.model.adjusted()],
            "position": trainer.feed.position,
        }
    return [*told, {"meter": trainer.meter.read()}]


def handed_over(ranks: Ranks) -> dict[str, list]:
    """Three steps of these ranks or of one, a checkpoint, and two more of the others: gradients."""
    told, words = {}, CASES["trm, mixer, puzzles, parts"]
    for name, before, after in (("to one", ranks, ALONE), ("from one", ALONE, ranks)):
        first, second = (trainer_of(words, some, "float64") for some in (before, after))
        found, gradients = checkpoint.serialized(tiny.steps(first, 3).state_dict()), []
        # the carry of several is complete where it is saved alone
        found = ranks.shared(bytes(found))
        state = torch.load(io.BytesIO(found), weights_only=True)
        told[f"notes {name}"] = second.load_state_dict(state)
        watched(second, gradients.append)
        tiny.steps(second, 2)
        told[name] = gradients
    return told


def bad_step(ranks: Ranks) -> list[bool]:
    """Whether a step whose loss is bad on the last rank alone moved nothing, and the next did."""
    trainer = trainer_of(CASES["trm, mixer, puzzles, parts"], ranks, "float32")
    trainer.step()
    honest, told = trainer.cross_entropy, []
    for factor in (torch.nan, 1.0):
        spoilt = factor if ranks.rank == ranks.world - 1 else 1.0
        trainer.cross_entropy = lambda logits, labels, by=spoilt: honest(logits, labels) * by
        tables = [embedding.table for embedding in trainer.optimizers.embeddings]
        before = [t.detach().clone() for t in [*trainer.moved(), *tables]]
        trainer.step()
        after = [*trainer.moved(), *tables]
        told.append(all(map(torch.equal, before, after)))
        told.append(bool(trainer.carry.halted.all()))
    return [*told, trainer.meter.read()["skipped"] == 1]


def solved(ranks: Ranks) -> list[dict]:
    """An evaluation of puzzles that the ranks cannot share evenly."""
    trainer, task = trainer_of(CASES["huginn"], ranks, "float64"), tiny.sudoku(side=4)
    solver = train.solver_of(trainer, tiny.config(*SMALL, *CASES["huginn"], "eval.batch=4"))
    tokens = np.random.Generator(np.random.PCG64(1)).integers(1, 6, (2, SOLVED, 16), np.uint8)
    told = []
    with Stop() as stop:
        for count in (SOLVED, FEW):
            rows = Rows(*(t[:count] for t in tokens), np.zeros(count, np.int32))
            attempt = Sharded(solver, ranks, stop.interruptible)(rows, task.facts)
            told.append(metrics(attempt, rows, task) | {"answers": attempt.answers.tolist()})
    return told


def cut_short(ranks: Ranks) -> bool:
    """Every rank leaves an evaluation that the last one was asked to stop."""
    trainer, task = trainer_of(CASES["trm"], ranks, "float32"), tiny.sudoku(side=4)
    solver = train.solver_of(trainer, tiny.config(*SMALL, *CASES["trm"]))
    rows = Rows(*np.ones((2, 4, 16), np.uint8), np.zeros(4, np.int32))
    with Stop() as stop:
        if ranks.rank == ranks.world - 1:
            stop.heard(15, None)
        try:
            Sharded(solver, ranks, stop.interruptible)(rows, task.facts)
        except Stopped:
            stop.agree(ranks.largest)
            return stop.code == 128 + 15
    return False


def everything(ranks: Ranks) -> dict:
    """All of the above."""
    found = {run: steps_of(CASES[run[0]], ranks, run[1]) for run in RUNS}
    more = {"bad": bad_step(ranks), "solved": solved(ranks), "cut": cut_short(ranks)}
    return {"steps": found, "handed": handed_over(ranks), **more}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined("cpu", False) as ranks:
        torch.save(everything(ranks), Path(sys.argv[1]) / f"{ranks.rank}.pt")
