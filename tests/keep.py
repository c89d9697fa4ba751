"""Keep a small run of this version, to be loaded by all later ones: `python -m tests.keep`, once for each release.

Writes `tests/kept/<version>/<model>/`: a run's folder as it is halfway, and answers.json with what its checkpoint
answered then and what its log said at the end. `tests/test_kept.py` holds every later version to that.
"""

import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np

import train
from conf.run import read_config
from conf.schema import Config, typed
from data.registry import load_task
from eval.solve import Attempt, Solver, load_model
from tests import tiny
from tinyreason.halting import make_halting
from tinyreason.puzzle import Rows

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests/kept"
SIZES = ("task=sudoku", "scale=small", "task.side=4", "task.train_puzzles=12", "task.valid_puzzles=0")
SIZES += ("task.test_puzzles=8", "batch=4", "model.width=16", "model.heads=2", "model.layers=1", "model.prefix=1")
SIZES += ("model.puzzle_embedding=true", "optim.warmup=4", "device=cpu")
SIZES += ("steps=84", "save_every=42", "log_every=20")
RUNS = {  # between them: both models, both kinds of mixing, all optimizers, with and without an average
    "trm": ("model=trm", "halting.segments=4", "ema=0.9"),
    "hrm": ("model=hrm", "halting.segments=4", "optim.rule=adamw", "optim.matrices=muon", "ema=null"),
}


def attempt(run: Path, inputs: np.ndarray, labels: np.ndarray, weights: str) -> Attempt:
    """What a run's newest checkpoint makes of (N S) puzzles."""
    config = typed(Config, read_config(run))
    facts = load_task(config.task)[0].facts
    model, options = load_model(run, config, facts, weights, tiny.CPU), config.halting
    rows = Rows(inputs, labels, np.zeros(len(inputs), np.int32))
    return Solver(model, config.model.depth, make_halting(options), options.segments, False, 8, tiny.CPU)(rows, facts)


def keep(folder: Path, words: tuple[str, ...]) -> None:
    """Train, forget the second half, and write down what will be compared."""
    config = replace(tiny.config(*SIZES, *words), name="kept")
    train.train(config)
    run = Path("runs/kept")
    end = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for path in (run / "checkpoints").glob("step_00000084.*"):
        path.unlink()
    (run / "result.json").unlink()
    (run / "lock").unlink()
    rows = load_task(config.task)[1]["test"].rows()
    found = {"inputs": rows.inputs.tolist(), "labels": rows.labels.tolist()}
    for weights in ("ema", "raw"):
        made = attempt(run, rows.inputs, rows.labels, weights)
        found[weights] = {"answers": made.answers.T.tolist(), "halt_logits": made.halt_logits.tolist()}
    found["losses"] = {r["step"]: r["loss"] for r in end if r["kind"] == "train"}
    (run / "answers.json").write_text(json.dumps(found) + "\n")
    folder.parent.mkdir(parents=True, exist_ok=True)
    run.rename(folder)


def main() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    os.chdir(ROOT / "tests")  # the run is made in runs/, which git ignores
    for name, words in RUNS.items():
        keep(KEPT / version / name, words)


if __name__ == "__main__":
    main()
