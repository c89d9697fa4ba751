"""What a run cost."""

import torch

from conf.schema import Config, typed
from eval.cost.model_measured import estimate
from eval.report.curves import curve, evaluations, pace
from eval.report.seen import Seen
from eval.report.sheets import Told
from eval.report.what import WHAT, steps
from tinyreason.errors import UserError

POWERS = {1e18: "10^18", 1e15: "10^15", 1e12: "10^12", 1e9: "10^9", 1e6: "10^6"}


def seconds(run: Seen) -> str | None:
    """Of training, as far as the log goes."""
    lines = run.log.lines
    logged = lines[-1]["seconds"] if lines else None
    found = run.result.get("seconds") if run.result else logged
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
    if run.steps is None or run.chosen("batch") is None:
        return None
    return f"{run.steps * run.chosen('batch'):,}"


def drawn(run: Seen) -> str | None:
    if run.result:
        found = run.result.get("puzzles_seen")
        return None if found is None else f"{found:,}"
    if "puzzles_seen" not in run.made:
        return None
    return f"{run.made['puzzles_seen']:,} at step {run.made['step']:,}"


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
    unit = next((unit for unit in POWERS if value >= unit), 1)
    return f"{value / unit:.3g} {POWERS.get(unit, '')} FLOP".replace("  ", " ")


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
    found = sum(curve(run.log.of("train"), "skipped")["skipped"])
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
