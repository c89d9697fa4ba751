"""A trained model in use: of a run, of an exported folder, or of the hub.

    import tinyreason
    model = tinyreason.load("runs/sudoku-trm")
    found = model.solve(["1...4.6....14..623.......1.4..534.6."])
    print(found)
    found.answers, found.valid, found.confidence, found.segments

N puzzles, S cells.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinyreason import exported, weights
from tinyreason.depth import stated
from tinyreason.described import About, Built, Described
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.exits import ExitConfig, make_exit, refuse_exit
from tinyreason.exported import Exported
from tinyreason.gradient import Gradient, make_gradient
from tinyreason.halting import make_halting
from tinyreason.models import ModelConfig, RecursiveModel
from tinyreason.plain import from_plain
from tinyreason.puzzle import Rows
from tinyreason.recursion import Depth
from tinyreason.rules import Rules, make_rules
from tinyreason.run import checkpoint, puzzles
from tinyreason.run.chosen import state_of, weights_of
from tinyreason.run.console import say
from tinyreason.run.folder import read_config
from tinyreason.solutions import Solutions, as_puzzles, named
from tinyreason.solver import Solver, nobody

CPU = torch.device("cpu")
MOST_SEGMENTS = 1 << 16  # of an evaluation


@dataclass
class Trained:
    """A run or an exported model, and what it says of itself, every value checked."""

    path: Path
    config: Described
    checkpoint: str = "last"  # best | last | a step, of a run
    weights: str = "ema"  # ema | raw
    device: torch.device = CPU

    @cached_property
    def rules(self) -> Rules:
        """What its tokens mean, and what an answer must keep."""
        return make_rules(self.config.facts, self.config.notation)

    @cached_property
    def model(self) -> RecursiveModel:
        """With its averaged weights ("ema") or its raw ones. Raises UserError if it has none."""
        if isinstance(self.config, Exported):
            return self.exported_model()
        path, state = state_of(self.path, self.checkpoint)
        where = f"{path} does not fit {self.path}/config.yaml"
        tensors = weights_of(state, self.weights)
        config = self.as_trained(state["made_on"])
        return weights.build(config, self.config.facts, tensors, self.device, where)

    def as_trained(self, made_on: dict) -> ModelConfig:
        """With the number type that `auto` came to, where it was trained on such a device."""
        config = self.config.model
        same = made_on.get("device") == self.device.type
        if config.dtype == "auto" and same and "dtype" in made_on:
            return replace(config, dtype=made_on["dtype"])
        return config

    def exported_model(self) -> RecursiveModel:
        """Of an export, which holds one kind of weights of one step."""
        if self.checkpoint != "last":
            raise UserError(f"{self.path} holds one checkpoint alone; leave checkpoint= out")
        if self.weights != self.config.weights:
            note = f"{self.path} holds the {self.config.weights} weights alone"
            if self.weights != "ema":  # what is asked for when nothing is said
                raise UserError(f"{note}; leave weights= out")
            say(f"note: {note}")
        file = self.path / exported.WEIGHTS
        model = weights.read(file, self.config.model, self.config.facts, self.device)
        if checkpoint.digest(model) != self.config.sha256:
            raise UserError(f"{file}: damaged, or not the weights that {exported.CONFIG} is about")
        return model

    def gradient(self) -> Gradient:
        """Its gradient scheme, which also makes the last recursions of an evaluation."""
        return make_gradient(self.config.gradient, self.config.model.cycle)

    @property
    def trained_segments(self) -> int:
        """The most that a puzzle had in training."""
        return self.config.halting.segments

    @property
    def usual_segments(self) -> int:
        """Of an evaluation: as many as in training, unless its recipe goes on for longer."""
        return self.config.eval.segments or self.config.halting.segments

    def deeper(self, times: int, most: int) -> int:
        """`times` the usual segments, `most` at most; 1 for a model that takes one alone."""
        if self.config.model.one_segment:
            return 1
        return max(self.usual_segments, min(times * self.usual_segments, most))

    def depth(self, recursions: int | None = None) -> Depth:
        """The recursions of a segment of an evaluation; None: as trained. Raises UserError for a
        part of a cycle.
        """
        trained, cycle = self.config.model.recursions, self.config.model.cycle or 1
        if recursions is not None and (recursions < 1 or recursions % cycle):
            wrong = f"recursions={recursions} must be a multiple of {cycle}"
            raise UserError(f"{wrong}, as {trained} is")
        return stated(recursions or trained, self.gradient())

    def solver(
        self,
        segments: int | None = None,
        halt: bool | None = None,
        batch: int | None = None,
        recursions: int | None = None,
        exit: ExitConfig | None = None,
        confidence: float | None = None,
    ) -> Solver:
        """How it is examined; None: as it was while training. Raises UserError for an exit that the
        model does not have.
        """
        config = self.config
        if config.model.one_segment and (segments or 1) > 1:
            raise UserError(f"model.name={config.model.name} takes one segment; use segments=1")
        if (segments or 1) > MOST_SEGMENTS:
            raise UserError(f"segments={segments}: {MOST_SEGMENTS:,} is the most")
        halting, gradient = make_halting(config.halting), self.gradient()
        exit = exit or ExitConfig(
            config.eval.exit, config.eval.exit_threshold, config.eval.exit_pool
        )
        refuse_exit(exit.name, self.model.gates, gradient.plain)
        return Solver(
            model=self.model,
            depth=self.depth(recursions),
            gradient=gradient,
            halting=halting,
            exit=make_exit(exit, halting),
            confidence=config.eval.confidence if confidence is None else confidence,
            segments=segments or self.usual_segments,
            halt=config.eval.halt if halt is None else halt,
            batch=batch or config.eval.batch,
            device=self.device,
        )

    def solve(
        self,
        grids: Any,
        *,
        segments: int | None = None,
        halt: bool | None = None,
        batch: int | None = None,
        recursions: int | None = None,
        done: Callable[[int], None] = nobody,
    ) -> Solutions:
        """Answers to `grids`, a puzzle or a sequence of puzzles; known answers are not needed.

        A puzzle is a string (row by row; line ends and lines between boxes do not matter), a list
        of rows, or an array (rows, columns); an array (N, rows, columns) is N puzzles. Numbers are
        places in the alphabet: in Sudoku the digits, 0 for a blank. `segments` is the most that a
        puzzle gets; with `halt` it stops where the halting head says that it is finished; `batch`
        puzzles are solved at once; `recursions` of a segment may be more than trained. Raises
        UserError, `puzzle n: what is wrong`, before anything is solved.
        """
        if self.config.notation.rules == "arc":
            raise UserError("ARC tasks are solved by `python -m eval.solve` of a checkout")
        texts = as_puzzles(grids)
        questions = np.array(
            [self.rules.tokens(one, named(i, len(texts))) for i, one in enumerate(texts)], np.uint8
        )
        return self.answer(questions, self.solver(segments, halt, batch, recursions), done)

    def answer(
        self, questions: np.ndarray, solver: Solver, done: Callable[[int], None] = nobody
    ) -> Solutions:
        """The answers of `solver` to the tokens `questions` (N, S)."""
        unknown = np.zeros_like(questions)
        identifiers = np.full(len(questions), self.config.facts.blank_identifier_id, np.int32)
        found = solver(Rows(questions, unknown, identifiers), self.config.facts, done)
        learns = solver.halting.learns
        return Solutions(
            rules=self.rules,
            questions=questions,
            tokens=found.answers,
            checks=self.rules.check(questions, found.answers),
            confidence=found.confidence if learns else None,
            segments=found.segments,
        )


def load(
    run: str | Path, *, checkpoint: str | int = "last", weights: str = "ema", device: str = "auto"
) -> Trained:
    """The trained model of a run's folder, of a folder that `eval.export` wrote, or of
    "hub:owner/name[@revision]".

    `checkpoint` of a run: "best", "last" or a step; `weights`: "ema" (averaged) or "raw"; `device`:
    "auto", "cpu", "cuda", "mps". Raises UserError, one line, for what is missing or damaged.
    """
    trained = open_trained(run)
    trained.checkpoint, trained.weights = str(checkpoint), weights
    trained.device = pick_device(device)
    return trained


def open_trained(run: str | Path) -> Trained:
    """What `run` names, nothing but its description loaded yet. Raises UserError."""
    path = exported.folder_of(str(run))
    if exported.is_exported(path):
        return Trained(path, exported.read(path))
    return Trained(path, described(path))


def described(run: Path) -> Described:
    """What a run's folder says of its model. Raises UserError."""
    config, about = read_config(run), puzzles.read(run)
    if about is None:
        old = "was made by an earlier version, which did not write down what its puzzles are"
        raise UserError(f"{run}: {old}; use `python -m eval.export run={run} out=DIR` first")
    return combined(run, config, about)


def combined(run: Path, config: dict[str, Any], about: About) -> Described:
    """A run's configuration, and what is said about its puzzles."""
    stated = {one.name: config[one.name] for one in fields(Built) if one.name in config}
    try:
        built = from_plain(Built, stated)
        built.check()
    except UserError as error:
        raise UserError(f"{run}/config.yaml: {error}") from None
    parts = ((built, Built), (about, About))
    return Described(
        **{one.name: getattr(part, one.name) for part, kind in parts for one in fields(kind)}
    )
