"""The table of what was timed: a row a measure, a column a variant."""

import json
import platform
from statistics import median, quantiles

import torch

from eval.speed.measure import Timed, flops, forward_flops
from tinyreason.models import name_of, parameter_count
from tinyreason.run.machine import versions


def figures(v: Timed, first: Timed) -> dict[str, float]:
    """All numbers of a variant, by name; seconds, bytes, FLOP/s, shares from 0 to 1."""
    work, segments = flops(v), v.config.halting.segments
    rates = [work / step for step in v.steps]
    ratios = [a / b for a, b in zip(first.steps, v.steps, strict=True)]
    low, high = spread(ratios)
    evaluation = median(v.evaluations)
    found = {
        "parameters": parameter_count(v.trainer.model),
        "step": v.step,
        "segments_per_second": v.config.batch / v.step,
        "puzzles_per_second": v.config.batch / v.step / segments,
        "flops_of_a_step": work,
        "flops_per_second": work / v.step,
        "peak_flops_per_second": median(v.products),
        "share_of_peak": median(r / p for r, p in zip(rates, v.products, strict=True)),
        "times_as_fast": median(ratios),
        "times_as_fast_low": low,
        "times_as_fast_high": high,
        "data_share": v.data / v.step,
        "peak_bytes": v.peak,
        "first_step": v.first,
        "evaluated_per_second": v.evaluated / evaluation / segments,
        "evaluation_share_of_peak": forward_flops(v) / evaluation / median(v.products),
    }
    return found if v.waits is None else found | {"host_waits": v.waits}


def spread(ratios: list[float]) -> tuple[float, float]:
    """The quarter and three quarters of them."""
    if len(ratios) < 2:
        return ratios[0], ratios[0]
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return low, high


ROWS = {  # what is printed, of `figures`
    "parameters": lambda f: f"{f['parameters']:,}",
    "s a step, median": lambda f: f"{f['step']:.4f}",
    "segments/s": lambda f: f"{f['segments_per_second']:,.0f}",
    "puzzles/s, all segments each": lambda f: f"{f['puzzles_per_second']:,.1f}",
    "GFLOP/s of products": lambda f: f"{f['flops_per_second'] / 1e9:,.1f}",
    "share of the machine's product": lambda f: f"{f['share_of_peak']:.0%}",
    "times as fast as the first": lambda f: (
        f"{f['times_as_fast']:.2f} [{f['times_as_fast_low']:.2f}, {f['times_as_fast_high']:.2f}]"
    ),
    "data, where every slot is free": lambda f: f"{f['data_share']:.1%} of a step",
    "memory of a step, MiB": lambda f: f"{f['peak_bytes'] / 2**20:,.0f}",
    "first step, s": lambda f: f"{f['first_step']:.1f}",
    "host waits in a step": lambda f: f"{f['host_waits']}" if "host_waits" in f else "",
    "evaluation: puzzles/s, all segments each": lambda f: f"{f['evaluated_per_second']:,.1f}",
    "evaluation: share of the product": lambda f: f"{f['evaluation_share_of_peak']:.0%}",
}


def table(variants: list[Timed]) -> str:
    """Markdown."""
    found = [figures(v, variants[0]) for v in variants]
    lines = ["| | " + " | ".join(v.name for v in variants) + " |"]
    lines.append("| --- |" + " --- |" * len(variants))
    for name, cell in ROWS.items():
        cells = [cell(f) for f in found]
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine(v: Timed) -> str:
    """A line: where it was measured, and against what."""
    device = v.trainer.device
    where = f"{platform.machine()}, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    rate = median(v.products) / 1e9
    return (
        f"{where}, torch {torch.__version__}; a product of square matrices in "
        f"{name_of(v.dtype)} reaches {rate:,.0f} GFLOP/s in the same run"
    )


def as_json(variants: list[Timed]) -> str:
    """All figures, and what they were found on."""
    found = {v.name: figures(v, variants[0]) for v in variants}
    return json.dumps({"variants": found, "versions": versions()}, indent=1)
