"""The smallest of everything, for tests: a configuration, a model, a batch."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from omegaconf import DictConfig

from conf.cli import composed
from conf.schema import Config, typed
from data.from_files import FromFiles
from data.maze import Maze
from data.picked import Picked
from data.sudoku import Sudoku
from tinyreason.earlier import SEARCHES
from tinyreason.gradient import GRADIENTS, Gradient, GradientConfig, make_gradient
from tinyreason.gradient.equilibrium import EquilibriumConfig
from tinyreason.halting import HaltingConfig
from tinyreason.models import MODELS, ModelConfig, Read, RecursiveModel, State, make_model
from tinyreason.noise import NoNoise
from tinyreason.puzzle import IGNORE, Batch, Facts
from tinyreason.recursion import Depth
from tinyreason.rules.sudoku import DIGITS
from tinyreason.segment import Carry, Trace
from tinyreason.segment import segment as library_segment
from tinyreason.trainer import Trainer

CONF = Path(__file__).parents[1] / "conf"
CPU = torch.device("cpu")
FACTS = Facts(vocab_size=6, grid=(4, 4), box=(2, 2), num_puzzle_identifiers=3)
MODEL = {
    "mix": "attention",
    "width": 16,
    "heads": 2,
    "layers": 1,
    "expansion": 2,
    "inner_multiple": 8,
    "positions": "rotary",
    "prefix": 2,
    "puzzle_embedding": True,
    "recompute": False,
    "dtype": "float32",
}
# what `eval.solve` may be asked of the recursion
EXIT_OPTIONS = ("recursions", "starts", "exit", "threshold", "pool", "confidence")
CYCLES = {"H_cycles": 2, "L_cycles": 2}
FULL = make_gradient(GradientConfig("full"), None)


def config(*words: str) -> Config:
    """What `python train.py *words` would train with."""
    return typed(Config, composed_once(words))


@cache
def composed_once(words: tuple[str, ...]) -> DictConfig:
    """Hydra takes a twentieth of a second."""
    return composed(list(words))


# every `model=`, and what has no yaml of its own: an ablation of TRM
NAMES = sorted({*MODELS, *(path.stem for path in CONF.glob("model/*.yaml"))})


def choice(name: str) -> tuple[str, ...]:
    """The words that choose a model."""
    if (CONF / f"model/{name}.yaml").is_file():
        return (f"model={name}",)
    return ("model=trm", f"model.name={name}")


@cache
def published(name: str) -> ModelConfig:
    """A model's configuration, in its published size."""
    return config("scale=paper", *choice(name)).model


def model_config(name: str = "trm", **changes) -> ModelConfig:
    """A model's configuration, as small as can be."""
    large = published(name)
    sizes = {key: value for key, value in (MODEL | CYCLES).items() if key in vars(large)}
    return replace(large, **sizes | changes)


def model(name: str = "trm", facts: Facts = FACTS, seed: int = 0, **changes) -> RecursiveModel:
    torch.manual_seed(seed)
    return make_model(model_config(name, **changes), facts, CPU)


def gradient(name: str, cycle: int | None = None, **options) -> Gradient:
    """A gradient scheme."""
    entry = GRADIENTS[name]
    usual = SEARCHES if issubclass(entry.Config, EquilibriumConfig) else {}
    return entry(entry.Config(name=name, **usual | options), cycle)


def segment(
    model: RecursiveModel,
    batch: Batch,
    depth: Depth,
    state: State | None = None,
    gradient: Gradient = FULL,
    every: bool = False,
) -> Trace:
    """One segment of a batch, from the model's start or from a state.

    The depth says how far the gradient goes.
    """
    begun = torch.full((len(batch),), int(state is not None), dtype=torch.int32)
    state = model.start(model.encode(batch), NoNoise()) if state is None else state
    carry = Carry(state, batch, begun, torch.zeros(len(batch), dtype=torch.bool))
    return library_segment(model, carry, depth, gradient, NoNoise(), every)


def read(model: RecursiveModel, batch: Batch, depth: Depth) -> Read:
    """What a model says after a segment from its start."""
    return segment(model, batch, depth).reads[-1]


def batch(
    rows: int = 4, seed: int = 0, ignored: Iterable[tuple[int, int]] = (), facts: Facts = FACTS
) -> Batch:
    """Random puzzles; the cells `ignored` (row, cell) are not scored."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, facts.seq_len)
    inputs = torch.randint(1, facts.vocab_size, shape, generator=generator, dtype=torch.int32)
    labels = torch.randint(1, facts.vocab_size, shape, generator=generator)
    for row, cell in ignored:
        labels[row, cell] = IGNORE
    return Batch(
        inputs, labels, torch.arange(rows, dtype=torch.int32) % facts.num_puzzle_identifiers
    )


def steps(trainer: Trainer, count: int) -> Trainer:
    """The trainer, so many steps on."""
    for _ in range(count):
        trainer.step()
    return trainer


def halting_config(rule: str, segments: int = 16, exploration: float = 0.0) -> HaltingConfig:
    return HaltingConfig(rule, segments, exploration, weight=0.5)


SUDOKU = {
    "side": 6,
    "box": None,
    "source": "generate",
    "train_puzzles": 60,
    "valid_puzzles": 10,
    "test_puzzles": 30,
    "columns": None,
    "clues": None,
    "min_guesses": 0,
    "min_rating": None,
    "max_rating": None,
    "ambiguous": "drop",
    "bad": "refuse",
    "augment": True,
}
MAZE = {
    "side": 10,
    "source": "generate",
    "train_puzzles": 200,
    "valid_puzzles": 20,
    "test_puzzles": 60,
    "alphabet": None,
    "grid": None,
    "columns": None,
    "ambiguous": "drop",
    "bad": "refuse",
    "style": "random",
    "wall": 0.35,
    "min_path": 16,
    "ties": "unique",
    "augment": False,
}
FILE = dict.fromkeys(("train_puzzles", "valid_puzzles", "test_puzzles"), "auto")


def sudoku(**options) -> Sudoku:
    return Sudoku(**SUDOKU | options)


def maze(**options) -> Maze:
    return Maze(**MAZE | options)


def read_file(task: FromFiles, path: Path):
    """All puzzles of a file, in its order."""
    notes = Picked(task.bad)
    found = task.parts({"all": path}, {"all": {"test": None}}, 0, notes)["test"]
    task.notes = notes.told()
    return found


def read_sudokus(path: Path, side: int | None, **options):
    return read_file(
        sudoku(side=side, source=str(path), **FILE | {"ambiguous": "keep"} | options), path
    )


def read_mazes(path: Path, side: int | None = None, **options):
    return read_file(maze(side=side, source=str(path), **FILE | options), path)


def sudoku_texts(tokens, blank: str = ".") -> list[str]:
    """One string a row of tokens (N, S)."""
    return ["".join((blank + DIGITS)[token - 1] for token in row) for row in tokens.tolist()]
