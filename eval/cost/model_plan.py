"""Hours and memory of a run: `python -m eval.cost plan model=trm task=sudoku scale=paper
device=h100 utilisation=0.4`

By arithmetic alone; nothing is trained and no GPU is needed. FLOPs are those of matrix products.
Utilisation is the share of the device's peak that they reach over the whole of training: an
assumption, for you to measure with `python -m eval.speed`. Evaluation and the building of data take
time on top, and the puzzle embeddings of ARC memory.
"""

import re
from dataclasses import asdict

import torch

from conf.cli import composed
from conf.schema import Config, training_config
from data.registry import facts_of
from eval.cost.charts import stacks
from eval.cost.model_measured import estimate, hows, label, predicted, with_scheme
from eval.cost.model_report import schemes_of
from eval.cost.report import FILES, Report, refuse, split
from tinyreason.errors import UserError
from tinyreason.models import dtype_of

# 10^12 FLOP/s of dense bf16 products, 10^9 bytes of memory: NVIDIA's data sheets, SXM where there
# is a choice
DEVICES = {
    "h200": (989.4, 141),
    "h100": (989.4, 80),
    "a100": (312.0, 80),
    "a100-40gb": (312.0, 40),
    "l40s": (362.05, 48),
    "rtx4090": (165.2, 24),
    "l4": (121.0, 24),
}
# of the memory; the rest is for the context, for fragments, for what a backward pass needs in
# between
USED = 0.9
OWN = {"device": "h100", "utilisation": "0.4", "gradients": None} | FILES
USAGE = (
    "python -m eval.cost plan model=trm task=sudoku scale=paper device=h100 utilisation=0.4 "
    "[gradients=one_step,full]"
)
HEAD = (
    "gradient | recomputed | GF a puzzle and segment | EF in all | hours | GB needed | "
    "largest batch that fits"
)


def plan(words: list[str]) -> None:
    """Print the plan. Raises UserError for words that have none."""
    own, others = split(words, OWN)
    (peak, memory), share = device_of(own["device"].lower()), share_of(own["utilisation"])
    refuse(others, "model.recompute")
    config = training_config(composed(others))
    report, segments = Report("plan", own), config.steps * config.batch
    report.say(
        f"{config.steps:,} steps of {config.batch:,} slots: "
        f"{segments / 1e6:,.1f} million segments of one puzzle.\n"
        f"{own['device']}: {peak:g} TFLOP/s in dense bf16, of "
        f"which {share:g} is assumed to be reached; {memory} GB,\n"
        f"of which {USED:g} is for use.\n"
    )
    report.head(HEAD)
    rows = []
    schemes = schemes_of(own["gradients"], config) if own["gradients"] else [config.gradient]
    for gradient in schemes:
        for recompute in (False, True):
            row_config = with_scheme(config, gradient, recompute)
            rows.append(planned(row_config, peak * 1e12 * share, memory * 1e9 * USED))
            report.say(line(rows[-1]))
    report.say(
        f"\nEstimate: {hows(rows)}. Matrix products alone; without "
        "evaluation, and without the puzzle embeddings of ARC."
    )
    numbers = {
        "words": others,
        "device": own["device"],
        "utilisation": share,
        "segments": segments,
        "rows": rows,
    }
    bars = {
        f"{row['gradient']}{', recomputed' * row['recompute']}": [row["flops"], row["memory"]]
        for row in rows
    }
    report.finish(numbers, lambda path: stacks(path, bars, "the whole of training"))


def planned(config: Config, speed: float, memory: float) -> dict:
    """One row: at `speed` FLOP/s, with `memory` bytes to use."""
    facts = facts_of(config.task)
    one = estimate(config, facts, dtype_of(config.model, torch.device("cuda")))
    needed, carry = predicted(config, facts, one), config.batch * one.slot
    a_slot = one.kept + one.kept_again + one.working + one.slot
    fixed = needed.side + one.casts
    parts = {part: n * config.steps for part, n in one.flops_of(config.batch).items()}
    return asdict(needed) | {
        "gradient": label(config.gradient),
        "recompute": config.model.recompute,
        "how": one.how,
        "flops": parts,
        "memory": {
            "kept, recomputed or copied": needed.peak - needed.side,
            "parameters' side": needed.side,
            "carry": carry,
        },
        "fits": needed.peak + carry <= memory,
        "each": sum(one.flops_of(config.batch).values()) / config.batch,
        "hours": sum(parts.values()) / speed / 3600,
        "largest_batch": max(0, int((memory - fixed) // a_slot)),
    }


def line(row: dict) -> str:
    """One row of the table."""
    again, every = "yes" if row["recompute"] else "no", sum(row["flops"].values())
    size = sum(row["memory"].values()) / 1e9
    return (
        f"| {row['gradient']} | {again} | {row['each'] / 1e9:.2f} "
        f"| {every / 1e18:.4g} | {row['hours']:.3g} | "
        f"{size:.1f}{'' if row['fits'] else ', does not fit'} | {row['largest_batch']:,} |"
    )


def device_of(name: str) -> tuple[float, int]:
    """Peak and memory of a device, by its name."""
    if name not in DEVICES:
        raise UserError(f"device={name} is unknown; use one of {', '.join(DEVICES)}")
    return DEVICES[name]


def share_of(value: str) -> float:
    """Above 0, up to 1."""
    if not re.fullmatch(r"\d*\.?\d+", value) or not 0 < float(value) <= 1:
        raise UserError(f"utilisation={value} must be above 0 and up to 1; use utilisation=0.4")
    return float(value)
