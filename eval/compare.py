"""Do these runs differ?

    python -m eval.compare runs/a runs/b
    python -m eval.compare runs/a-0 runs/a-1 runs/b-0 runs/b-1 by=gradient
    python -m eval.compare runs/* by=model,gradient out=compare

by=KEYS    the options that make an arm; runs that share their values are seeds of one
out=DIR    a folder for the numbers (compare.json) and, with the viz extra, the page (compare.html)
           and the curves (compare.png)

Prints a table with one row an arm (the runs that share the values of `by`, or the run itself): mean
and spread of exact accuracy on test over seeds. Two arms are compared puzzle by puzzle, by an exact
McNemar test for each seed that both have, which is far sharper than two intervals. Curves are drawn
against slot-segments and seconds: each run, and the mean of its arm.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from conf import help
from conf.cli import one_line
from eval.charts import NoPictures
from eval.report import arms as pages
from eval.report.curves import curve, segments_of
from eval.report.file import refuse_foreign, write_page
from eval.report.log import Log, read_log, read_result
from eval.statistics import mcnemar as mcnemar_of
from tinyreason.errors import UserError
from tinyreason.options import flat
from tinyreason.run.atomic import write_whole
from tinyreason.run.folder import read_config

WRITTEN = ("segments", "seconds", "parameters", "exact_accuracy", "solved", "puzzles_sha256")
USAGE = "python -m eval.compare runs/a runs/b ... [by=gradient] [out=DIR]"


@dataclass
class Run:
    """A finished run."""

    path: Path
    config: dict  # flat, {"model.width": 64, ...}
    result: dict
    log: Log

    @property
    def curve(self) -> list[dict]:
        """Evaluations on held-out puzzles, in order."""
        return self.log.held_out

    @property
    def exact(self) -> float:
        return self.result["test"]["exact_accuracy"]


def read_run(path: Path) -> Run:
    """A run's folder. Raises UserError if it is not one or has not been evaluated."""
    config, result = flat(read_config(path)), read_result(path / "result.json")
    if result is None:
        raise UserError(f"{path} has no result.json yet; let it finish first")
    if not result["finished"] or not result["test"].get("puzzles"):
        raise UserError(
            f"{path} is not finished or has no test puzzles; let it finish, or leave it out"
        )
    if lost := [key for key in WRITTEN if key not in result | result["test"]]:
        raise UserError(f"{path}: damaged result.json, it has no {lost[0]}; leave the run out")
    return Run(path, config, result, read_log(path / "log.jsonl"))


def arms_of(runs: list[Run], by: str | None) -> dict[str, list[Run]]:
    """The runs grouped by the values of one or more keys, or each for itself."""
    arms = defaultdict(list)
    for run in runs:
        keys = by.split(",") if by else []
        values = [f"{key}={value_of(run, key)}" for key in keys]
        arms[" ".join(values) or str(run.path)].append(run)
    return arms if by else by_name(arms)


def by_name(arms: dict[str, list[Run]]) -> dict[str, list[Run]]:
    """Runs by the names of their folders, where these tell them apart."""
    names = {path: Path(path).name for path in arms}
    if len(set(names.values())) < len(names):
        return dict(arms)
    return {names[path]: runs for path, runs in arms.items()}


def same_seeds(arms: dict[str, list[Run]]) -> list[str]:
    """A line for each arm that has a seed twice: its runs differ in something else."""
    lines = []
    for arm, runs in arms.items():
        seeds = [run.config["seed"] for run in runs]
        if len(set(seeds)) < len(seeds):
            lines.append(f"{arm}: runs with the same seed; name in by= what else they differ in")
    return lines


def value_of(run: Run, key: str) -> object:
    """The value of an option; of a group as `gradient`, the name of the choice and its options."""
    if key in run.config:
        return run.config[key]
    found = [str(v) for k, v in run.config.items() if k.startswith(f"{key}.")]
    if key in ("gradient", "depth", "supervision"):
        return " ".join(found)
    name = run.config.get(f"{key}.name", run.config.get(f"{key}.rule"))
    if name is None:
        shows = f"`cat {run.path}/config.yaml` shows all"
        raise UserError(f"by={key}: {run.path} has no such option; {shows}")
    return name


def summary(runs: list[Run]) -> dict:
    """One row of the table."""
    exact = [run.exact for run in runs]
    return {
        "runs": len(runs),
        "exact_mean": mean(exact),
        "exact_sd": stdev(exact) if len(exact) > 1 else None,
        "exact_min": min(exact),
        "exact_max": max(exact),
        "segments": mean(run.result["segments"] for run in runs),
        "seconds": mean(run.result["seconds"] for run in runs),
        "parameters": runs[0].result["parameters"],
    }


def mcnemar(a: Run, b: Run) -> dict:
    """Exact McNemar test of two runs.

    Raises UserError if they were not tested on the same puzzles.
    """
    ours, theirs = a.result["test"], b.result["test"]
    if ours["puzzles_sha256"] != theirs["puzzles_sha256"]:
        raise UserError(
            f"{a.path} and {b.path} were tested on different "
            "puzzles; compare runs of the same task options"
        )
    solved = [np.array(list(one["solved"])) == "1" for one in (ours, theirs)]
    return {"a": a.path.name, "b": b.path.name} | mcnemar_of(*solved)._asdict()


def pairs_of(arms: dict[str, list[Run]]) -> list[dict]:
    """McNemar for each two arms and each seed that both have."""
    tests = []
    for (_, left), (_, right) in combinations(arms.items(), 2):
        both = [(a, b) for a in left for b in right if a.config["seed"] == b.config["seed"]]
        tests += [mcnemar(a, b) for a, b in both]
    return tests


def table(rows: dict[str, dict]) -> str:
    """Markdown."""
    columns = "arm | runs | exact on test, mean | sd | min - max | slot-segments | seconds"
    head = f"| {columns} | parameters |"
    lines = [head, "|" + " --- |" * 8]
    for arm, r in rows.items():
        sd = "" if r["exact_sd"] is None else f"{r['exact_sd']:.1%}"
        spread = f"{r['exact_min']:.1%} - {r['exact_max']:.1%}"
        costs = f"{r['segments']:,.0f} | {r['seconds']:,.0f} | {r['parameters']:,}"
        lines.append(f"| {arm} | {r['runs']} | {r['exact_mean']:.1%} | {sd} | {spread} | {costs} |")
    return "\n".join(lines)


def curves(arms: dict[str, list[Run]]) -> dict[str, list[dict]]:
    """Accuracy on held-out training puzzles against segments and seconds, a curve a run."""
    return {
        arm: [
            {"run": run.path.name} | against(run, run.curve, "exact_accuracy", "exact")
            for run in runs
        ]
        for arm, runs in arms.items()
    }


def against(run: Run, lines: list[dict], key: str, name: str) -> dict:
    """The value `key` of lines of a log, as `name`, beside their steps, slot-segments and
    seconds.
    """
    found = curve(lines, key, "seconds")
    segments = [step * run.config["batch"] for step in found["step"]]
    ways = {"step": found["step"], "segments": segments, "seconds": found["seconds"]}
    return ways | {name: found[key]}


def compare(paths: list[Path], by: str | None, out: Path | None, words: str = "") -> dict:
    """Print the comparison, write it to `out`, and return it. `words`: the command, as typed."""
    arms = arms_of([read_run(path) for path in paths], by)
    report = {
        "arms": {k: summary(v) for k, v in arms.items()},
        "mcnemar": pairs_of(arms),
        "curves": curves(arms),
    }
    for line in same_seeds(arms):
        print(f"note: {line}")
    print(table(report["arms"]))
    for t in report["mcnemar"]:
        print(
            f"{t['a']} alone solves {t['only_a']}, {t['b']} "
            f"alone {t['only_b']}: McNemar p = {t['p']:.2g}"
        )
    if out:
        make_folder(out)  # here, so that nothing is left behind where a run is refused
        write_whole(out / "compare.json", (json.dumps(report, indent=1) + "\n").encode())
        written = f"wrote {out / 'compare.json'}"
        try:
            draw(report, arms, out, words)
            print(f"{written}, {out / 'compare.html'} and {out / 'compare.png'}")
        except NoPictures as reason:
            print(f"{written}; {reason}")
    return report


def make_folder(out: Path) -> None:
    """Raises UserError where it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out={out}: {error.strerror}") from None


def draw(report: dict, arms: dict[str, list[Run]], out: Path, words: str) -> None:
    """The page and the picture. Raises NoPictures without the viz extra."""
    losses = {
        arm: [against(run, run.log.of("train"), "loss", "loss") for run in runs]
        for arm, runs in arms.items()
    }
    segments = {
        arm: [segments_of(run.result["test"]) for run in runs] for arm, runs in arms.items()
    }
    parts = pages.parts_of(report, losses, segments, words)
    write_page(out / "compare.html", ", ".join(arms), parts)
    pages.save_picture(report["curves"], out / "compare.png")


def main(words: list[str]) -> None:
    if help.asked(words):
        print(help.plain_page(__doc__))
        return
    options = dict(w.split("=", 1) for w in words if "=" in w and not Path(w).exists())
    paths = [Path(w) for w in words if "=" not in w or Path(w).exists()]
    unknown = options.keys() - {"by", "out"}
    if unknown or not paths:
        raise UserError(
            f"{'unknown option ' + min(unknown) if unknown else 'no runs given'}; usage: {USAGE}"
        )
    out = Path(options["out"]) if "out" in options else None
    if out:
        refuse_foreign(out / "compare.html")
    compare(paths, options.get("by"), out, " ".join(["python -m eval.compare", *words]))


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
