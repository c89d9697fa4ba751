"""Tables with a column for each run: what it is, what came of it, what it cost."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from conf.schema import Config, typed
from eval.cost.model_measured import estimate
from eval.page import cell, text
from eval.report.curves import evaluations, pace
from eval.report.seen import Seen
from tinyreason.errors import UserError

Told = Callable[[Seen], Any]  # None where a run does not say it
PARTS = {1e18: "10^18", 1e15: "10^15", 1e12: "10^12", 1e9: "10^9", 1e6: "10^6"}


def sheet(names: Sequence[str], rows: Sequence[tuple[str, Sequence[Any]]], head: str = "") -> str:
    """A table of rows (name, a value for each of `names`); those without any value are left out."""
    titles = cell("td", head, False)
    titles += "".join(f'<th scope="col">{text(name)}</th>' for name in names)
    lines = [
        f'<tr><th scope="row">{text(name)}</th>'
        + "".join(cell("td", value, False) for value in values)
        + "</tr>"
        for name, values in rows
        if any(value is not None for value in values)
    ]
    above = f"<thead><tr>{titles}</tr></thead>" if len(names) > 1 or head else ""
    body = f"<tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table class="sheet">{above}{body}</table></div>'


def rows_of(runs: Sequence[Seen], told: dict[str, Told]) -> list[tuple[str, list[Any]]]:
    """What `told` says of each run."""
    return [(name, [say(run) for run in runs]) for name, say in told.items()]


# ---- what it is


def option_of(group: str, name: str = "name") -> Told:
    """A choice and its options in words: last (recursions=4)."""

    def say(run: Seen) -> str | None:
        options = dict(run.config.get(group) or {})
        choice = options.pop(name, None)
        told = ", ".join(f"{key}={value}" for key, value in options.items())
        return choice and (f"{choice} ({told})" if told else choice)

    return say


def task(run: Seen) -> str:
    """Its puzzles."""
    options = run.config["task"]
    parts = [options["name"]]
    if run.trained is not None:
        parts.append("{} x {} cells".format(*run.trained.config.facts.grid))
    if options.get("source") is not None:
        parts.append(f"source={options['source']}")
    return ", ".join(parts)


def examples(run: Seen) -> str | None:
    parts = [f"{count:,} {split}" for split, count in run.examples.items() if count is not None]
    return ", ".join(parts) or None


def model(run: Seen) -> str:
    options = run.config["model"]
    sizes = [f"{key}={options[key]}" for key in ("width", "layers", "mix") if key in options]
    return f"{options['name']} ({', '.join(sizes)})" if sizes else options["name"]


def depth(run: Seen) -> str:
    name = option_of("depth")(run)
    if run.trained is None:
        return name
    found = run.trained.depth()
    return f"{name}: {found.total} recursions a segment, {found.tracked} with gradient"


def steps(run: Seen) -> str | None:
    if run.steps is None:
        return None
    planned = run.config.get("steps")
    return f"{run.steps:,} of {planned:,}" if planned else f"{run.steps:,}"


def seed(run: Seen) -> str | None:
    own, data = run.config.get("seed"), run.config["task"].get("seed")
    parts = [f"{own}" if own is not None else None, f"task.seed={data}" if data != own else None]
    return ", ".join(part for part in parts if part) or None


def code(run: Seen) -> str:
    """The versions that it was trained with."""
    found = run.made.get("versions") or {}
    parts = [f"{name} {version}" for name, version in found.items()]
    own = [] if "tinyreason" in found else ["of tinyreason not written down"]
    return ", ".join(parts + own)


WHAT: dict[str, Told] = {
    "Task": task,
    "Puzzles": examples,
    "Model": model,
    "Parameters": lambda run: None if run.parameters is None else f"{run.parameters:,}",
    "Gradient": option_of("gradient"),
    "Depth": depth,
    "Supervision": option_of("supervision"),
    "Halting": option_of("halting", "rule"),
    "Steps": steps,
    "Batch": lambda run: run.config.get("batch"),
    "Seed": seed,
    "Versions": code,
    "Machine": lambda run: run.made.get("machine"),
}


# ---- what came of it


def of_test(key: str, form: str = "{:.1%}") -> Told:
    """A metric on the test puzzles."""

    def say(run: Seen) -> str | None:
        value = run.test.get(key)
        return None if value is None else form.format(value)

    return say


def exact(run: Seen) -> str | None:
    found = run.test
    if "exact_accuracy" not in found:
        return None
    if found.get("exact_low") is None or found.get("exact_high") is None:
        return f"{found['exact_accuracy']:.1%}"
    return "{exact_accuracy:.1%} [{exact_low:.1%}, {exact_high:.1%}]".format(**found)


def best(run: Seen) -> str | None:
    """While training, on held-out puzzles."""
    found = [one for one in run.log.held_out if one.get("exact_accuracy") is not None]
    if not found:
        return None
    top = max(found, key=lambda one: one["exact_accuracy"])
    return f"{top['exact_accuracy']:.1%} at step {top['step']:,}, of {top['puzzles']:,} puzzles"


RESULT: dict[str, Told] = {
    "Exact on test [95 %]": exact,
    "Test puzzles": of_test("puzzles", "{:,}"),
    "Blank cells right": of_test("blank_accuracy"),
    "All cells right": of_test("cell_accuracy"),
    "Answers that keep the rules": of_test("valid_rate"),
    "Shortest paths": of_test("optimal_rate"),
    "Loss on test": of_test("answer_loss", "{:.3g}"),
    "Segments in the evaluation": of_test("segments", "{:.3g}"),
    "pass@1": of_test("pass@1"),
    "pass@2": of_test("pass@2"),
    "Best on held-out puzzles": best,
}
HALTING: dict[str, Told] = {
    "Puzzles that the head stopped": of_test("halted"),
    "Segments until it stops": of_test("segments_to_halt", "{:.2f}"),
    "Exact where it stops": of_test("exact_when_halted"),
    "Precision: exact, of those stopped": of_test("halting_precision"),
    "Recall: stopped, of those exact": of_test("halting_recall"),
    "Right about the last answer": of_test("halting_accuracy"),
    "Exact at the exit": of_test("exact_at_exit"),
    "Recursions to the exit": of_test("recursions_to_exit", "{:.1f}"),
}


# ---- what it cost


def seconds(run: Seen) -> str | None:
    """Of training, as far as the log goes."""
    lines = run.log.lines
    found = run.result.get("seconds") if run.result else lines[-1]["seconds"] if lines else None
    return None if found is None else f"{found:,.0f} s{in_hours(found)}"


def in_hours(found: float) -> str:
    if found < 100:
        return ""
    hours, minutes = divmod(round(found / 60), 60)
    return f" ({hours} h {minutes} min)" if hours else f" ({minutes} min)"


def a_step(run: Seen) -> str | None:
    """The median pace."""
    found = sorted(pace(run.log)["seconds"])
    return f"{found[len(found) // 2]:.3g} s" if found else None


def segments(run: Seen) -> str | None:
    if run.steps is None or not run.config.get("batch"):
        return None
    return f"{run.steps * run.config['batch']:,}"


def drawn(run: Seen) -> str | None:
    found = (run.result or {}).get("puzzles_seen", run.made.get("puzzles_seen"))
    return None if found is None else f"{found:,}"


def flops(run: Seen) -> str | None:
    """Of matrix products, by `eval.cost`; where the depth is drawn, at the stated depth."""
    if run.trained is None or run.exported:
        return None
    try:
        config = typed(Config, run.config)
        one = estimate(config, run.trained.config.facts, torch.float32)
    except UserError:
        return None
    step = sum(one.flops_of(config.batch).values())
    stated = "" if config.depth.name == "fixed" else ", at the stated depth"
    each = f"{in_powers(step / config.batch)} a puzzle and segment"
    return f"{in_powers(step * run.steps)} ({each}; {one.how}{stated})"


def in_powers(value: float) -> str:
    unit = next((unit for unit in PARTS if value >= unit), 1)
    return f"{value / unit:.3g} {PARTS.get(unit, '')} FLOP".replace("  ", " ")


def memory(run: Seen) -> str | None:
    found = (run.result or {}).get("peak_memory")
    return f"{found / 2**20:,.0f} MiB" if found else None


def examined(run: Seen) -> str | None:
    """Estimated, see `evaluations`."""
    found = evaluations(run.log)
    if found is None:
        return None
    times = "1 evaluation" if found[1] == 1 else f"{found[1]} evaluations"
    return f"about {found[0]:,.3g} s in {times} while training"


def skipped(run: Seen) -> str | None:
    found = sum(line.get("skipped") or 0 for line in run.log.of("train"))
    return f"{found:,.0f}" if found else None


COST: dict[str, Told] = {
    "Seconds of training": seconds,
    "Of them evaluating": examined,
    "A step, evaluations left out": a_step,
    "Steps": steps,
    "Slot-segments": segments,
    "Puzzles drawn": drawn,
    "Steps skipped, not finite": skipped,
    "Parameters": WHAT["Parameters"],
    "Matrix products in all": flops,
    "Most memory at one time": memory,
}
