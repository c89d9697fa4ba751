"""How many slots go through the network at once: what `micro_batch=auto` comes to.

The gradient is that of the whole batch whatever the number; more slots at once are faster. The
bytes are those of the closed form, or counted where a model has none.
"""

from dataclasses import replace
from typing import NamedTuple

import torch

from conf.schema import Config
from eval.cost.model_estimate import FLOAT32, Estimate
from eval.cost.model_predicted import estimate, side_bytes
from tinyreason.errors import UserError
from tinyreason.models import dtype_of
from tinyreason.puzzle import Facts
from tinyreason.run.console import say

# of the free memory; the rest is for fragments and for what passes need in between: 4 to 11 % of
# what is kept, measured on a CPU
SURE = 0.85
FEW = 32  # slots under which recomputing is the smaller loss


class Fit(NamedTuple):
    """So many slots at once, and whether recursions are computed again in the backward pass."""

    slots: int
    recompute: bool
    each: int  # bytes of one of them
    how: str  # that was found out


def fitted(
    config: Config,
    facts: Facts,
    device: torch.device,
    saved: dict | None = None,
    free: int | None = None,
) -> Config:
    """`config` with a number, or None, for micro_batch=auto; says what was chosen.

    `saved`: the configuration of a run that goes on, whose numbers are kept, or its sums would be
    rounded otherwise. `free`: bytes; None asks the device. A user's own number stays.
    Raises UserError where not one slot fits.
    """
    if config.micro_batch != "auto":
        return config
    if saved is not None:
        before = saved.get("micro_batch")
        again = config.model.recompute or saved["model"].get("recompute", False)
        return with_numbers(config, before if isinstance(before, int) else None, again)
    if free is None and device.type != "cuda":
        return with_numbers(config, None, config.model.recompute)
    free = torch.cuda.mem_get_info(device)[0] if free is None else free
    fit = best_fit(config, facts, dtype_of(config.model, device), free)
    if fit is None:
        need = f"not one slot of this model fits in the {free / 1e9:.1f} GB that are free"
        raise UserError(f"{need}; use a smaller model.width, device=cpu, or micro_batch=1 to try")
    say(told(config, fit, free))
    whole = fit.slots == config.batch
    return with_numbers(config, None if whole else fit.slots, fit.recompute)


def best_fit(config: Config, facts: Facts, dtype: torch.dtype, free: int) -> Fit | None:
    """The most slots at once for `free` bytes; None if not even one fits.

    Recursions are recomputed where the configuration says so, or where fewer than FEW slots fit
    otherwise.
    """
    fit = most_slots(config, facts, dtype, free)
    if config.model.recompute or (fit and fit.slots >= min(FEW, config.batch)):
        return fit
    again = with_numbers(config, config.micro_batch, True)
    return most_slots(again, facts, dtype, free) or fit


def most_slots(config: Config, facts: Facts, dtype: torch.dtype, free: int) -> Fit | None:
    """The same for a configuration as it is."""
    one = estimate(config, facts, dtype)
    most = min(config.batch, fitting(config, facts, one, int(SURE * free), config.batch))
    if most < 1:
        return None
    return Fit(even(config.batch, most), config.model.recompute, one.at_once, one.how)


def fitting(config: Config, facts: Facts, one: Estimate, room: int, batch: int | None) -> int:
    """How many slots of a batch fit at once in `room` bytes; None: of a batch of just those."""
    gradients, moved = side_bytes(config, facts)
    table = FLOAT32 * config.model.width * facts.num_puzzle_identifiers
    tables = table * (1 + (config.ema is not None)) if config.model.puzzle_embedding else 0
    left = room - gradients - moved - tables - (batch or 0) * one.slot
    each = one.at_once + (one.slot if batch is None else 0)
    if left < moved:  # the copy that a bad step is taken back from
        return 0
    return max(0, int(left - one.casts) // max(1, each))


def even(batch: int, most: int) -> int:
    """Slots of equal parts of a batch, none above `most`: a part of another size would be compiled
    again. Where that takes twice as many parts, the last one is smaller.
    """
    fewest = -(-batch // most)
    for parts in range(fewest, min(2 * fewest, batch + 1)):
        if batch % parts == 0:
            return batch // parts
    return -(-batch // fewest)


def with_numbers(config: Config, micro_batch: int | str | None, recompute: bool) -> Config:
    """The configuration with these."""
    model = replace(config.model, recompute=recompute)
    return replace(config, micro_batch=micro_batch, model=model)


def told(config: Config, fit: Fit, free: int) -> str:
    """The line for the user."""
    again = " with model.recompute=true" if fit.recompute and not config.model.recompute else ""
    size = f"{fit.each / 1e6:.1f} MB each, {fit.how}; {free / 1e9:.1f} GB are free"
    other = "micro_batch=N for another number, the same gradient"
    return f"micro_batch={fit.slots} of {config.batch} slots{again} ({size}); {other}"
