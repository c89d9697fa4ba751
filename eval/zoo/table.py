"""The table of the zoo, from what the code and the finished runs say."""

import json
import subprocess
import sys
from pathlib import Path

from eval.zoo import equal, sweep
from eval.zoo.systems import System

ROOT = Path(__file__).parents[2]
MARKS = ("<!-- table: python -m eval.zoo table out=docs/zoo.md -->", "<!-- end of the table -->")
HEAD = (
    "system",
    "paper",
    "file (lines)",
    "`python train.py task=sudoku ...`",
    "axes",
    "largest difference to its recordings",
    "parameters",
    "MFLOPs a segment",
    "exact, 6x6",
    "lr",
)


def page(systems: list[System]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + " --- |" * len(HEAD)]
    lines += [f"| {' | '.join(row(system))} |" for system in systems]
    return "\n".join(lines) + "\n"


def placed(table: str, text: str) -> str:
    """The table in the place of the one that stands between two marks in `text`."""
    begin, end = MARKS
    if begin not in text or end not in text:
        return table
    return f"{text.split(begin)[0]}{begin}\n{table}{end}{text.split(end, 1)[1]}"


def row(system: System) -> list[str]:
    config = equal.config_of(system.words)
    each = equal.flops_of_step(config) / config.batch / 1e6
    return [
        system.name,
        paper(system.paper),
        f"[{system.file}](../tinyreason/{system.file}) ({length(system)})",
        f"`{' '.join(system.words)}`",
        axes(config),
        differences(system),
        f"{equal.parameters_of(system):,}",
        f"{each:.1f}",
        *learnt(system),
    ]


def paper(number: str) -> str:
    """A link, where it is an arXiv number."""
    known = number.replace(".", "").isdigit()
    return f"[{number}](https://arxiv.org/abs/{number})" if known else number


def length(system: System) -> int:
    """Lines of its file."""
    return len((ROOT / "tinyreason" / system.file).read_text().splitlines())


def axes(config) -> str:
    """What it sets beside the model."""
    return (
        f"gradient={config.gradient.name}, depth={config.depth.name}, "
        f"supervision={config.supervision.name}, halting={config.halting.rule} "
        f"x {config.halting.segments}"
    )


def differences(system: System) -> str:
    """Of all recordings, the largest of each kind."""
    largest: dict[str, float] = {}
    for name in system.recordings:
        path = f"tests/golden/{name}.npz"
        call = [sys.executable, "-m", "tests.parity", path]
        done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
        for key, value in json.loads(done.stdout).items():
            largest[key] = max(largest.get(key, 0.0), value)
    told = ", ".join(f"{key} {value:.0e}" for key, value in largest.items() if value)
    names = ", ".join(f"`{name.removeprefix('zoo/')}`" for name in system.recordings)
    return f"{names}: {told or '0'}" if names else "none recorded"


def learnt(system: System) -> tuple[str, str]:
    """Exact accuracy on test with its interval, and the learning rate."""
    name = sweep.run_name(system, "0")
    result = sweep.result_of(name)
    if result is None:
        return "not run", ""
    test = result["test"]
    interval = f"[{test['exact_low']:.1%}, {test['exact_high']:.1%}]"
    return f"{test['exact_accuracy']:.1%} {interval}", f"{sweep.rate_of(name):g}"
