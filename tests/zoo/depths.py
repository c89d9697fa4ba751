"""Recordings of depth samplers: Huginn's, one depth for a step, and Parcae's, one for each row."""

import re

import torch

from tests import tiny
from tests.zoo.recording import Recording, relative
from tinyreason.depth import (
    DepthConfig,
    DepthRule,
    Fixed,
    PerRow,
    PerRowConfig,
    Poisson,
    PoissonConfig,
    PoissonFill,
    RampedConfig,
    Simple,
    generator_of,
    of_rows,
)
from tinyreason.recursion import Depth

SIGMA = 0.5  # of every log-normal rate


def differences(recording: Recording) -> dict[str, float]:
    if "batch" in recording.config:
        return {"draws": float(any(wrong_rows(recording, *case) for case in cases(recording)))}
    wrong = [wrong_steps(recording, *case) for case in cases(recording)]
    rates = [rate_difference(recording, *case) for case in cases(recording)]
    return {"draws": float(any(wrong)), "rates": max(rates)}


def cases(recording: Recording) -> list[list]:
    return recording.config["cases"]


def wrong_steps(recording: Recording, mean: int, tracked: int, scheme: str) -> bool:
    """Whether any step's (free, tracked) is another one here."""
    rule = step_rule(mean, tracked, scheme)
    recorded = recording.tensor(f"{scheme}/{mean}/{tracked}").long()
    drawn = [rule.draw(step, 1, generator_of(0, step)) for step in range(len(recorded))]
    mine = [[depth.total - depth.tracked, depth.tracked] for depth in drawn]
    return not torch.equal(torch.tensor(mine), recorded)


def rate_difference(recording: Recording, mean: int, tracked: int, scheme: str) -> float:
    """Of the log-normal rates of the first steps, where they were recorded."""
    key = f"{scheme}/{mean}/{tracked}/rate"
    if key not in recording:
        return 0.0
    rule, recorded = step_rule(mean, tracked, scheme), recording.tensor(key)
    rates = [rule.rate(step, generator_of(0, step)) for step in range(len(recorded))]
    return relative(torch.cat(rates), recorded)


def wrong_rows(recording: Recording, mean: int, tracked: int, scheme: str, target: str) -> bool:
    """Whether any row of any step has another depth here."""
    rule = row_rule(mean, tracked, scheme, target)
    key = f"{scheme}/{target}/{mean}/{tracked}"
    free, last = (recording.tensor(f"{key}/{part}").long() for part in ("free", "tracked"))
    for step in range(len(free)):
        mine = rule.draw(step, recording.config["batch"], generator_of(0, step))
        if not same(mine, of_rows(free[step], last[step])):
            return True
    return False


def same(one: Depth, other: Depth) -> bool:
    return one[:2] == other[:2] and torch.equal(one.live, other.live)


def step_rule(mean: int, tracked: int, scheme: str) -> DepthRule:
    """Ours for a scheme of Huginn's, whose words are looked for in this order."""
    sigma, ramp = SIGMA * ("lognormal" in scheme), ramp_of(scheme)
    rules = {
        "filling": (Poisson, PoissonConfig("poisson", ramp, sigma)),
        "fill": (PoissonFill, PoissonConfig("poisson_fill", ramp, sigma)),
        "simple": (Simple, RampedConfig("simple", ramp)),
        "fixed-curriculum": (PerRow, PerRowConfig("per_row", ramp, "fixed", "linear", "both")),
        "fixed": (Fixed, DepthConfig("fixed")),
    }
    rule, config = rules[next(word for word in rules if word in scheme)]
    return rule(config, mean, tiny.gradient("last", recursions=tracked), steps=1)


def row_rule(mean: int, tracked: int, scheme: str, target: str) -> PerRow:
    """Ours for a scheme of Parcae's."""
    laws = {"truncated-full": "poisson", "full": "poisson", "fill": "fill", "fixed": "fixed"}
    law = laws[next(word for word in laws if word in scheme)]
    shape = "sqrt" if "sqrt" in scheme else "linear"
    ramped = {"forward": "free", "backward": "tracked", "both": "both"}[target]
    config = PerRowConfig("per_row", ramp_of(scheme), law, shape, ramped)
    gradient = tiny.gradient("last", recursions=tracked)
    if "poisson-full" in scheme:
        gradient = tiny.gradient("bptt")
    return PerRow(config, mean, gradient, steps=1)


def ramp_of(scheme: str) -> int:
    """Steps of its curriculum."""
    found = re.search(r"-curriculum-(?:sqrt-)?(\d+)", scheme)
    return int(found[1]) if found else 0
