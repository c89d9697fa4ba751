"""Train a system: a few learning rates for a share of the budget, the best one for all of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

from eval.zoo.equal import BASE, steps_of
from eval.zoo.systems import System
from tinyreason.errors import UserError

TRAIN = Path(__file__).parents[2] / "train.py"
RUNS = Path("runs")


def folder_name(system: System) -> str:
    """The name of its runs, as "relaxed-recursive-transformer"."""
    return re.sub("[^a-z0-9]+", "-", system.name.lower()).strip("-")


def run_name(system: System, seed: str, lr: str | None = None) -> str:
    """The folder in runs/ of a try with a learning rate, or of the whole budget."""
    end = "" if lr is None else f"-lr{lr}"
    return f"zoo-{folder_name(system)}-{seed}{end}"


def run(system: System, lrs: list[str], share: float, seed: str) -> None:
    """Every run of a system that is not finished yet."""
    short = steps_of(system, share)
    for lr in lrs:
        trained(system, run_name(system, seed, lr), short, lr, seed)
    best = max(lrs, key=lambda lr: held_out(run_name(system, seed, lr)))
    trained(system, run_name(system, seed), steps_of(system), best, seed)


def trained(system: System, name: str, steps: int, lr: str, seed: str) -> None:
    """One run, unless it is finished. Raises UserError where it fails."""
    if result_of(name) is not None:
        return
    own = [f"steps={steps}", f"eval_every={steps}", f"optim.lr={lr}", f"seed={seed}"]
    # a fifteenth of the steps at most, or a short run would be warming up for most of it
    own += [f"optim.warmup={min(100, max(1, steps // 15))}", f"name={name}", "resume=auto"]
    words = [sys.executable, str(TRAIN), *BASE, *system.words, *own]
    print(f"$ python train.py {' '.join(words[2:])}", flush=True)
    if subprocess.run(words).returncode:
        raise UserError(f"the run {RUNS / name} failed; what it said stands above")


def result_of(name: str) -> dict | None:
    """What a run found, if it is finished."""
    path = RUNS / name / "result.json"
    if not path.is_file():
        return None
    result = json.loads(path.read_text())
    return result if result["finished"] else None


def held_out(name: str) -> tuple[float, float]:
    """Exact and cell accuracy on held-out puzzles at the last step."""
    lines = [json.loads(line) for line in (RUNS / name / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "eval" and line["split"] == "valid"][-1]
    return last["exact_accuracy"], last["cell_accuracy"]


def rate_of(name: str) -> float:
    """The learning rate of a run."""
    lines = (RUNS / name / "config.yaml").read_text()
    return float(re.search(r"(?m)^  lr: (.*)$", lines)[1])


def share_of(value: str) -> float:
    """Above 0, up to 1. Raises UserError."""
    if not re.fullmatch(r"\d*\.?\d+", value) or not 0 < float(value) <= 1:
        raise UserError(f"share={value} must be above 0 and up to 1; use share=0.2")
    return float(value)
