"""Each gradient scheme of a model, measured and by arithmetic: `python -m eval.cost model=trm task=sudoku scale=paper`

Prints a Markdown table, each line as soon as it is measured: one for each scheme, and one more with its recursions
recomputed in the backward pass (`model.checkpoint`). With `runs=` and `out=` also the loss of those runs against FLOPs.
"""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from conf.cli import composed, pick_device
from conf.run import read_config
from conf.schema import Config, training_config, typed
from data.registry import make_task
from eval.compare import read_run
from eval.cost import shapes
from eval.cost.charts import losses, stacks
from eval.cost.models import SegmentCost, cost, shapes_of, with_scheme
from eval.cost.words import FILES, MIB, Report, count_of, refuse, split
from tinyreason.errors import UserError
from tinyreason.models import DTYPES
from tinyreason.recursion import SCHEMES, depth_of

OWN = {"gradients": ",".join(SCHEMES), "slots": None, "repeats": "3", "runs": None} | FILES
USAGE = (
    "python -m eval.cost model=trm task=sudoku scale=paper "
    "[gradients=one_step,full,bptt,4] [slots=2] [repeats=3] [runs=runs/a,runs/b] [json=FILE] [out=DIR]"
)
HEAD = (
    "gradient | recomputed | tracked | forward GF | closed form | backward GF | closed form | kept MiB | closed form | "
    "side MiB | closed form | peak MiB | closed form | s"
)
NOTE = """
GF: 10^9 FLOPs of matrix products, for one puzzle and one segment; a segment of the configured batch is {batch} of them.
Kept: for the backward pass, by one puzzle, each tensor once, parameters not. Side: parameters, gradients, optimizer and
average. Peak and s: one step of {slots} slots on {device}, not compiled, random tokens."""


def models(words: list[str]) -> None:
    """Measure the schemes that the user asks for. Raises UserError for words that cannot be."""
    own, others = split(words, OWN)
    refuse(others, "model.checkpoint", "model.gradient")
    config = training_config(composed(others))
    device = pick_device(config.device)
    slots = count_of("slots", own["slots"] or (config.batch if device.type == "cuda" else 2))
    repeats, schemes = count_of("repeats", own["repeats"], 3), schemes_of(own["gradients"], config)
    curves = {Path(run).name: curve(Path(run)) for run in own["runs"].split(",")} if own["runs"] else {}
    if curves and not own["out"]:
        raise UserError("runs= is for the picture; type out=DIR too")
    report, rows = Report("models", own), []
    report.head(HEAD)
    for gradient in schemes:
        for checkpoint in (False, True):
            rows.append(cost(replace(with_scheme(config, gradient, checkpoint), batch=slots), device, repeats))
            report.say(line(rows[-1], slots))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    report.say(NOTE.format(slots=slots, device=name, batch=config.batch))
    bars = {f"{row['gradient']}{', recomputed' * row['checkpoint']}": [row["flops"], row["memory"]] for row in rows}
    rows = [row | {k: row[k] and asdict(row[k]) for k in ("measured", "closed")} for row in rows]
    head = {"words": others, "slots": slots, "batch": config.batch, "device": name, "torch": torch.__version__}
    report.finish(head | {"rows": rows, "curves": curves}, lambda path: stacks(path, bars, f"a step of {slots} slots"))
    if curves:
        losses(report.out / "losses.png", curves)
        print(f"wrote {report.out / 'losses.png'}")


def schemes_of(names: str, config: Config) -> list[str]:
    """The schemes named, each of them one that the model has."""
    schemes = names.split(",")
    depths = [depth_of(name, config.model.H_cycles, config.model.L_cycles) for name in schemes]
    if len(set(depths)) < len(depths):
        raise UserError(f"gradients={names} names one twice; type each once")
    return schemes


def curve(run: Path) -> dict[str, list[float]]:
    """Training loss of a finished run against the FLOPs that it had cost by then."""
    lines, config = read_run(run).losses, typed(Config, read_config(run))
    dtype = DTYPES["float32"]  # no part of FLOPs
    each = sum(shapes.flops(shapes_of(config, make_task(config.task).facts, dtype)).values())
    return {
        "flops": [each * config.batch * x["step"] for x in lines],
        "loss": [x["answer_loss"] for x in lines],
    }


def line(row: dict, slots: int) -> str:
    """One row of the table."""
    both: tuple[SegmentCost | None, SegmentCost] = row["measured"], row["closed"]
    units = {"forward": (1e9 * slots, 3), "backward": (1e9 * slots, 3), "kept": (MIB * slots, 2)}
    units |= {"side": (MIB, 1), "peak": (MIB, 1)}
    numbers = [
        f"{getattr(c, key) / unit:.{digits}f}" if c else "-" for key, (unit, digits) in units.items() for c in both
    ]
    again = "yes" if row["checkpoint"] else "no"
    seconds = f"{row['seconds']:.3f}" if row["measured"] else "does not fit"
    return f"| {row['gradient']} | {again} | {row['tracked']} | {' | '.join(numbers)} | {seconds} |"
