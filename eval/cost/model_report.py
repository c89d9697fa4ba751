"""Each gradient scheme of a model, measured and by arithmetic: `python -m eval.cost model=trm
task=sudoku scale=paper`

Prints a Markdown table, each line as soon as it is measured: one for each scheme, and one more with
its recursions recomputed in the backward pass (`model.recompute`). With `runs=` and `out=` also the
loss of those runs against FLOPs.
"""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from conf.cli import composed
from conf.schema import Config, training_config, typed
from data.registry import facts_of
from eval.compare import read_run
from eval.cost.charts import losses, stacks
from eval.cost.model_measured import SegmentCost, cost, estimate, hows, with_scheme
from eval.cost.report import FILES, MIB, Report, count_of, refuse, split
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.gradient import GRADIENTS, GradientConfig, make_gradient
from tinyreason.models import DTYPES
from tinyreason.options import chosen
from tinyreason.run.folder import read_config

OWN = {"gradients": "one_step,full,bptt", "slots": None, "repeats": "3", "runs": None} | FILES
USAGE = (
    "python -m eval.cost model=trm task=sudoku scale=paper "
    "[gradients=one_step,full,bptt,4] [slots=2] "
    "[repeats=3] [runs=runs/a,runs/b] [json=FILE] [out=DIR]"
)
HEAD = (
    "gradient | recomputed | tracked | forward GF | estimate "
    "| backward GF | estimate | kept MiB | estimate | "
    "side MiB | estimate | peak MiB | estimate | s"
)
NOTE = """
Estimate: {how}. GF: 10^9 FLOPs of matrix products, for one puzzle and one segment; a segment of
the configured batch is {batch} of them. Kept: for the backward pass, by one puzzle, each tensor
once, parameters not. Side: parameters, gradients, optimizer and average. Peak and s: one step of
{slots} slots on {device}, not compiled, random tokens."""


def models(words: list[str]) -> None:
    """Measure the schemes that the user asks for. Raises UserError for words that cannot be."""
    own, others = split(words, OWN)
    refuse(others, "model.recompute", "gradient", "gradient.name", "gradient.recursions")
    config = training_config(composed(others))
    device = pick_device(config.device)
    slots = count_of("slots", own["slots"] or (config.batch if device.type == "cuda" else 2))
    repeats, schemes = count_of("repeats", own["repeats"], 3), schemes_of(own["gradients"], config)
    curves = (
        {Path(run).name: curve(Path(run)) for run in own["runs"].split(",")} if own["runs"] else {}
    )
    if curves and not own["out"]:
        raise UserError("runs= is for the picture; use out=DIR too")
    report, rows = Report("models", own), []
    report.head(HEAD)
    for gradient in schemes:
        for recompute in (False, True):
            row_config = replace(with_scheme(config, gradient, recompute), batch=slots)
            rows.append(cost(row_config, device, repeats))
            report.say(line(rows[-1], slots))
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads"
    )
    report.say(NOTE.format(slots=slots, device=name, batch=config.batch, how=hows(rows)))
    bars = {
        f"{row['gradient']}{', recomputed' * row['recompute']}": [row["flops"], row["memory"]]
        for row in rows
    }
    rows = [row | {k: row[k] and asdict(row[k]) for k in ("measured", "closed")} for row in rows]
    head = {
        "words": others,
        "slots": slots,
        "batch": config.batch,
        "device": name,
        "torch": torch.__version__,
    }
    report.finish(
        head | {"rows": rows, "curves": curves},
        lambda path: stacks(path, bars, f"a step of {slots} slots"),
    )
    if curves:
        report.picture(report.out / "losses.png", lambda path: losses(path, curves))


def schemes_of(names: str, config: Config) -> list[GradientConfig]:
    """The schemes named, each of them one that the model has; a number is that many recursions."""
    schemes, tracked = [], []
    for name in names.split(","):
        scheme = scheme_of(name)
        gradient = make_gradient(scheme, config.model.cycle)
        total = config.model.recursions
        if name.isdecimal() and not 1 <= int(name) <= total:
            raise UserError(f"gradients={name}: use a number of recursions from 1 to {total}")
        schemes.append(scheme)
        tracked.append((gradient.plain, gradient.tracked(total)))
    if len(set(tracked)) < len(tracked):
        raise UserError(f"gradients={names} names one twice; use each once")
    return schemes


def scheme_of(name: str) -> GradientConfig:
    """A scheme as `gradient=` knows it, with the options of its yaml; a number is `last` with so
    many recursions.
    """
    words = (
        ["gradient=last", f"gradient.recursions={name}"]
        if name.isdecimal()
        else [f"gradient={name}"]
    )
    if not name.isdecimal():
        chosen(GRADIENTS, "gradient", name)
    return training_config(composed(words)).gradient


def curve(run: Path) -> dict[str, list[float]]:
    """Training loss of a finished run against the FLOPs that it had cost by then."""
    lines, config = read_run(run).log.of("train"), typed(Config, read_config(run))
    dtype = DTYPES["float32"]  # no part of FLOPs
    one = estimate(config, facts_of(config.task), dtype)
    step = sum(one.flops_of(config.batch).values())
    return {
        "flops": [step * x["step"] for x in lines],
        "loss": [x["answer_loss"] for x in lines],
    }


def line(row: dict, slots: int) -> str:
    """One row of the table."""
    both: tuple[SegmentCost | None, SegmentCost] = row["measured"], row["closed"]
    units = {"forward": (1e9 * slots, 3), "backward": (1e9 * slots, 3), "kept": (MIB * slots, 2)}
    units |= {"side": (MIB, 1), "peak": (MIB, 1)}
    numbers = [
        f"{getattr(c, key) / unit:.{digits}f}" if c else "-"
        for key, (unit, digits) in units.items()
        for c in both
    ]
    again = "yes" if row["recompute"] else "no"
    seconds = f"{row['seconds']:.3f}" if row["measured"] else "does not fit"
    return f"| {row['gradient']} | {again} | {row['tracked']} | {' | '.join(numbers)} | {seconds} |"
