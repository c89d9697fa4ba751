"""The chain, measured and by arithmetic: `python -m eval.cost chain [B=32 T=32 D=256 K=6]
[rows=...] [json=FILE]`

Prints a Markdown table, each row as soon as it is measured, and writes all numbers to FILE.
"""

from dataclasses import asdict, fields

import torch

from eval.cost.chain_formula import Cost, closed, needed
from eval.cost.chain_program import measured
from eval.cost.chain_rows import ROWS, Sizes, Switches
from eval.cost.charts import stacks
from eval.cost.measure import available_memory
from eval.cost.report import FILES, MIB, Report, count_of, split
from tinyreason.errors import UserError

USAGE = "python -m eval.cost chain [B=32 T=32 D=256 K=6] [rows=V4,V4+stream] [json=FILE] [out=DIR]"
SIZES = [field.name for field in fields(Sizes)]
MEASURED = (
    "NFE",
    "MFLOPs",
    "saved MiB",
    "parameters MiB",
    "gradients MiB",
    "optimizer MiB",
    "tracked peak MiB",
)
HEAD = " | ".join(["row", "interval", *(f"{what} | closed form" for what in MEASURED), "ms"])
NOTE = """
FLOPs: matrix products, and additions out of place, as torch.profiler counts them. Saved: each
tensor as often as it is kept for the backward pass, weights included. Tracked peak: saved,
parameters, gradients and optimizer together."""


def chain(words: list[str]) -> None:
    """Measure the rows that the user asks for. Raises UserError for what cannot be measured."""
    options, others = split(words, dict.fromkeys(SIZES) | {"rows": None} | FILES)
    if others:
        raise UserError(f"{others[0]} is unknown; usage: {USAGE}")
    sizes = Sizes(
        **{
            key: count_of(key, options[key], getattr(Sizes, key))
            for key in SIZES
            if options[key] is not None
        }
    )
    rows, report = rows_of(options["rows"]), Report("chain", options)
    refuse_what_does_not_fit(rows, sizes)
    report.head(HEAD)
    costs = {}
    for name, switches in rows.items():
        found, seconds = measured(switches, sizes)
        expected, steps = closed(switches, sizes), switches.steps(sizes.T)
        report.say(line(name, f"{steps} of {sizes.T} steps", found, expected, seconds))
        costs[name] = {"switches": asdict(switches), "steps": steps, "seconds": seconds}
        costs[name] |= {"measured": found.as_dict(), "closed": expected.as_dict()}
    report.say(f"{NOTE}\n{verdict(costs)}")
    head = {"sizes": asdict(sizes), "torch": torch.__version__, "threads": torch.get_num_threads()}
    parts = {name: [row["closed"][k] for k in ("flops", "memory")] for name, row in costs.items()}
    report.finish(head | {"rows": costs}, lambda path: stacks(path, parts, "one training interval"))


def rows_of(names: str | None) -> dict[str, Switches]:
    """The rows named, in the order of the chain; all of them if none is."""
    chosen = list(ROWS) if names is None else names.split(",")
    for name in chosen:
        if name not in ROWS:
            raise UserError(
                f"rows={names}: there is no row "
                f"{name or 'without a name'}; use some of {','.join(ROWS)}"
            )
    return {name: switches for name, switches in ROWS.items() if name in chosen}


def refuse_what_does_not_fit(rows: dict[str, Switches], sizes: Sizes) -> None:
    """Raises UserError for the row that needs most memory, if it needs more than there is."""
    need, name = max((needed(switches, sizes), name) for name, switches in rows.items())
    free = available_memory()
    if free is not None and need > free:
        gib = (
            f"{name} takes about {need / 2**30:,.1f} GiB of memory and {free / 2**30:,.1f} are free"
        )
        raise UserError(f"{gib}; use smaller B=, T=, D= or K=, or rows= without it")


def line(name: str, interval: str, found: Cost, expected: Cost, seconds: float) -> str:
    """One row of the table."""
    numbers = [
        f"{one} | {other}" for one, other in zip(figures(found), figures(expected), strict=True)
    ]
    return f"| {' | '.join([name, interval, *numbers, f'{seconds * 1e3:.1f}'])} |"


def figures(cost: Cost) -> list[str]:
    """What is MEASURED, of a measurement or of the closed form."""
    parts = [cost.memory[part] / MIB for part in ("saved", "parameters", "gradients", "optimizer")]
    return [str(cost.nfe), *(f"{x:.3f}" for x in [cost.total / 1e6, *parts, cost.peak / MIB])]


def verdict(costs: dict[str, dict]) -> str:
    """Do the measurements and the closed form agree, to the last FLOP and byte?"""
    keys = ("nfe", "products", "total", "memory")
    wrong = [
        name
        for name, row in costs.items()
        if any(row["measured"][k] != row["closed"][k] for k in keys)
    ]
    if not wrong:
        return "Closed form and measurement agree to the last FLOP and byte."
    both = f"Closed form (that of torch 2.13) and measurement (torch {torch.__version__})"
    return f"{both} differ in {', '.join(wrong)}."
