"""Hours and memory of a run: `python -m eval.cost plan model=trm task=sudoku scale=paper
device=h100 utilisation=0.4`

By arithmetic alone; nothing is trained and no GPU is needed. `device=` is a card that `cards.py`
knows, and `tflops=` and `memory=` (10^12 FLOP/s, GB) are those of any other. FLOPs are those of
matrix products. Utilisation is the share of the device's peak that they reach over the whole of
training: an assumption, for you to measure with `python -m eval.speed`, or with `device=here`,
which trains for 20 seconds on this machine instead. Evaluation and the building of data take time
on top, and the puzzle embeddings of ARC memory.
"""

import re
from dataclasses import asdict

from conf.cli import composed
from conf.schema import Config, training_config
from data.registry import facts_of
from eval.cost import here
from eval.cost.cards import DEFAULT, Card, card_of
from eval.cost.charts import stacks
from eval.cost.fit import SURE, best_fit, fitting
from eval.cost.model_measured import hows, label, with_scheme
from eval.cost.model_predicted import estimate, predicted
from eval.cost.model_report import schemes_of
from eval.cost.report import FILES, Report, refuse, split
from tinyreason.errors import UserError
from tinyreason.models import DTYPES

OWN = {"device": None, "utilisation": "0.4", "gradients": None} | FILES
OWN |= {"tflops": None, "memory": None}
USAGE = (
    "python -m eval.cost plan model=trm task=sudoku scale=paper device=h100|...|here "
    "[tflops=30 memory=12] [utilisation=0.4] [gradients=one_step,full]"
)
HEAD = (
    "gradient | recomputed | GF a puzzle and segment | EF in all | hours | GB needed | "
    "largest batch that fits"
)


def plan(words: list[str]) -> None:
    """Print the plan. Raises UserError for words that have none."""
    own, others = split(words, OWN)
    if own["device"] == "here":
        plan_here(own, others)
        return
    card, share = card_of(own["device"], own["tflops"], own["memory"]), share_of(own["utilisation"])
    refuse(others, "model.recompute")
    config = training_config(composed(others))
    report, segments = Report("plan", own), config.steps * config.batch
    given = "as given" if own["tflops"] else DEFAULT
    report.say(head(own["device"] or given, card, share, config))
    report.head(HEAD)
    rows = []
    schemes = schemes_of(own["gradients"], config) if own["gradients"] else [config.gradient]
    for gradient in schemes:
        for recompute in (False, True):
            row_config = with_scheme(config, gradient, recompute)
            speed, room = card.tflops * 1e12 * share, int(card.memory * 1e9 * SURE)
            rows.append(planned(row_config, speed, room, card.dtype))
            report.say(line(rows[-1]))
    report.say(
        f"\nEstimate: {hows(rows)}. Matrix products alone; without "
        "evaluation, and without the puzzle embeddings of ARC."
    )
    report.say(at_once(config, card))
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


def plan_here(own: dict[str, str | None], others: list[str]) -> None:
    """The same by training for some seconds. Raises UserError for words that are for arithmetic."""
    for key in ("tflops", "memory", "gradients"):
        if own[key] is not None:
            raise UserError(f"{key}= is for arithmetic; leave it out with device=here")
    config = training_config(composed(others))
    report = Report("plan", own)
    found = here.measured(config, here.SECONDS)
    report.say(here.told(found, config))
    hours = config.steps * found.step / 3600
    report.finish({"words": others, "hours": hours} | found._asdict(), None)


def head(name: str, card: Card, share: float, config: Config) -> str:
    """What is planned, and on what."""
    traffic = f", {card.bandwidth:,g} GB/s" if card.bandwidth else ""
    return (
        f"{config.steps:,} steps of {config.batch:,} slots: "
        f"{config.steps * config.batch / 1e6:,.1f} million segments of one puzzle.\n"
        f"{name}: {card.tflops:g} TFLOP/s in dense {card.dtype}, of "
        f"which {share:g} is assumed to be reached; {card.memory:g} GB{traffic},\n"
        f"of which {SURE:g} is for use.\n"
    )


def at_once(config: Config, card: Card) -> str:
    """What micro_batch=auto would choose there."""
    dtype = DTYPES[type_of(config, card.dtype)]
    fit = best_fit(config, facts_of(config.task), dtype, int(card.memory * 1e9))
    if fit is None:
        return "micro_batch=auto: not one slot fits; use a smaller model.width"
    again = "with" if fit.recompute else "without"
    slots = f"{fit.slots:,} of {config.batch:,} slots at once"
    return f"micro_batch=auto would take {slots}, {again} recomputing (model.recompute)."


def type_of(config: Config, fast: str) -> str:
    """The type of the activations, where model.dtype=auto means `fast`."""
    return fast if config.model.dtype == "auto" else config.model.dtype


def planned(config: Config, speed: float, memory: int, fast: str = "bfloat16") -> dict:
    """One row: at `speed` FLOP/s, with `memory` bytes to use."""
    facts = facts_of(config.task)
    one = estimate(config, facts, DTYPES[type_of(config, fast)])
    needed, carry = predicted(config, facts, one), config.batch * one.slot
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
        "fits": fitting(config, facts, one, memory, config.batch) >= config.slots_at_once,
        "each": sum(one.flops_of(config.batch).values()) / config.batch,
        "hours": sum(parts.values()) / speed / 3600,
        "largest_batch": fitting(config, facts, one, memory, None),
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


def share_of(value: str) -> float:
    """Above 0, up to 1."""
    if not re.fullmatch(r"\d*\.?\d+", value) or not 0 < float(value) <= 1:
        raise UserError(f"utilisation={value} must be above 0 and up to 1; use utilisation=0.4")
    return float(value)
