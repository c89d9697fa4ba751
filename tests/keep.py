"""Keep a small run of this version for later ones to load: `python -m tests.keep`, once a release.

Writes `tests/kept/<version>/<model>/`: a run's folder as it is halfway, and answers.json with what
its checkpoint answered then and what its log said at the end; and `tests/kept/<version>/exported/`,
the averaged weights of the first as `eval.export` shares them. `tests/test_kept.py` holds every
later version to all of that.
"""

import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np

import train
from data.registry import load_task
from eval.export import share
from eval.load import open_run
from tests import tiny
from tinyreason import exported
from tinyreason.puzzle import Rows
from tinyreason.solver import Attempt

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests/kept"
SIZES = (
    "task=sudoku",
    "scale=small",
    "task.side=4",
    "task.train_puzzles=12",
    "task.valid_puzzles=0",
)
SIZES += (
    "task.test_puzzles=8",
    "batch=4",
    "model.width=16",
    "model.heads=2",
    "model.layers=1",
    "model.prefix=1",
)
SIZES += ("model.puzzle_embedding=true", "optim.warmup=4", "device=cpu")
SIZES += ("steps=84", "save_every=42", "log_every=20")
RUNS = {  # both models, both kinds of mixing, all optimizers, with and without an average
    "trm": ("model=trm", "halting.segments=4", "ema=0.9"),
    "hrm": (
        "model=hrm",
        "halting.segments=4",
        "optim.rule=adamw",
        "optim.matrices=muon",
        "ema=null",
    ),
}


def attempt(run: Path, inputs: np.ndarray, labels: np.ndarray, weights: str) -> Attempt:
    """What a run's newest checkpoint, or an exported model, makes of (N S) puzzles."""
    trained = open_run(run, weights=weights)
    solver = trained.solver(trained.config.halting.segments, halt=False, batch=8)
    identifiers = np.zeros(len(inputs), np.int32)
    return solver(Rows(inputs, labels, identifiers), trained.config.facts)


def keep(folder: Path, words: tuple[str, ...]) -> None:
    """Train, forget the second half, and write down what will be compared."""
    config = replace(tiny.config(*SIZES, *words), name="kept")
    train.train(config)
    run = Path("runs/kept")
    end = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for path in (run / "checkpoints").glob("step_00000084.*"):
        path.unlink()
    (run / "result.json").unlink()
    for path in run.glob("lock*"):
        path.unlink()
    rows = load_task(config.task)[1]["test"].rows()
    found = {"inputs": rows.inputs.tolist(), "labels": rows.labels.tolist()}
    for weights in ("ema", "raw"):
        made = attempt(run, rows.inputs, rows.labels, weights)
        found[weights] = {
            "answers": made.answers.tolist(),
            "halt_logits": made.halt_logits.tolist(),
        }
    found["losses"] = {r["step"]: r["loss"] for r in end if r["kind"] == "train"}
    (run / "answers.json").write_text(json.dumps(found) + "\n")
    folder.parent.mkdir(parents=True, exist_ok=True)
    run.rename(folder)


def main() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    os.chdir(ROOT / "tests")  # the run is made in runs/, which git ignores
    for name, words in RUNS.items():
        keep(KEPT / version / name, words)
    first = open_run(KEPT / version / next(iter(RUNS)))
    exported.write(KEPT / version / "exported", *share(first))


if __name__ == "__main__":
    main()
