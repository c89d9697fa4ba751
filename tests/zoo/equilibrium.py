"""Recordings of equilibria, in float64: every call of the solvers, gradients, penalties.

The power method that was recorded too is not ours: it is wrong for a complex leading pair.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tests import tiny
from tests.zoo.recording import Recording, absolute, relative
from tinyreason.gradient.equilibrium import jacobian_penalty
from tinyreason.gradient.solvers import Search, Solved, anderson, damped
from tinyreason.losses import Judged
from tinyreason.recursion import Depth
from tinyreason.supervision import Correction, CorrectionConfig

WEIGHTS = ("W", "U", "b")
SCALE = {"states": 3e-5, "losses": 2e-6, "gradients": 2e-5}  # of TOLERANCE, in float32
EXACT = 1e-9  # what is tolerated here, in float64


class Z(NamedTuple):
    z: Tensor


def differences(recording: Recording) -> dict[str, float]:
    """In the units of the tolerances of float32, so that these hold it to 1e-9."""
    solved = [solver(recording, case) for case in cases(recording)]
    found = [gradient(recording, name) for name in recording.config if name.startswith("deq_")]
    found += [jacobian(recording), corrections(recording), by_hand(recording)]
    largest = {
        key: max(one.get(key, 0.0) for one in [*solved, *found]) for key in (*SCALE, "decisions")
    }
    return largest | {key: largest[key] * scale / EXACT for key, scale in SCALE.items()}


def inputs(recording: Recording) -> dict[str, Tensor]:
    given = {name: recording.tensor(f"input/{name}") for name in (*WEIGHTS, "x", "z0", "c")}
    for name in WEIGHTS:
        given[name].requires_grad_()
    return given


def function(given: dict[str, Tensor]):
    W, U, b = (given[name] for name in WEIGHTS)
    return lambda z: torch.tanh(z @ W.T + given["x"] @ U.T + b)


# ---- solvers


def cases(recording: Recording) -> list[str]:
    names = {key.split("/")[1] for key in recording.data if key.startswith("anderson/")}
    return [*sorted(names), "fixed_point"]


def search_of(recording: Recording, case: str) -> Search:
    options = recording.config["anderson"] | recording.config.get(f"anderson_{case}", {})
    tau = options["tau"]
    if case == "fixed_point":
        tau = float(fixed_point(recording).removeprefix("tau"))
    return Search(
        most=options["max_iter"],
        mixing=tau,
        tolerance=0.0 if options.get("return_final") else options["tol"],
        memory=options["m"],
        ridge=options["lam"],
        by={"abs": "absolute", "rel": "relative"}[options["stop_mode"]],
        seen=[],
    )


def fixed_point(recording: Recording) -> str:
    """The case of plain iteration, as "tau0.9"."""
    keys = [key.split("/")[1] for key in recording.data if key.startswith("fixed_point/")]
    return keys[0]


def solver(recording: Recording, case: str) -> dict[str, float]:
    given, search = inputs(recording), search_of(recording, case)
    if case == "fixed_point":
        found = damped(function(given), given["z0"], search)
        of = f"fixed_point/{fixed_point(recording)}/"
        calls = absolute(torch.tensor(len(search.seen)), recording.tensor(f"{of}calls"))
        return {
            "states": absolute(found.z, recording.tensor(f"{of}z")),
            "decisions": max(calls, absolute(found.call, recording.tensor(f"{of}nstep"))),
        }
    found: Solved = anderson(function(given), given["z0"], search)
    of = f"anderson/{case}/"
    queries = recording.tensor(f"{of}queries")
    z = found.last if recording.config.get(f"anderson_{case}", {}).get("return_final") else found.z
    known = min(len(queries), len(search.seen))
    return {
        "states": max(
            absolute(torch.stack(search.seen)[:known], queries[:known]),
            absolute(z, recording.tensor(f"{of}z")),
            absolute(found.absolute, recording.tensor(f"{of}abs_lowest")),
            absolute(found.relative, recording.tensor(f"{of}rel_lowest")),
        ),
        "decisions": max(
            abs(len(queries) - len(search.seen)),
            absolute(found.call, recording.tensor(f"{of}nstep")),
        ),
    }


# ---- gradients


def gradient(recording: Recording, name: str) -> dict[str, float]:
    """By the scheme as a segment runs it, the recursion being f."""
    given, options = inputs(recording), recording.config[name]
    if options.get("ift"):
        searched = {"search": "anderson", "solver": "anderson", "tolerance": options["f_tol"]}
        # our budget is that of the depth, and the equation backwards is solved to the same
        calls = options["b_max_iter"]
        scheme = tiny.gradient("implicit", iterations=calls, **searched)
        total = options["f_max_iter"] + 1
    else:
        steps = {"recursions": options["grad"], "damping": options["tau"]}
        searched = {"search": "anderson", "tolerance": 1e-12}
        scheme = tiny.gradient("phantom", **searched, **steps)
        total = 200 + options["grad"]
    f = function(given)
    depth = Depth(total, scheme.tracked(total))
    start = Z(given["z0"])
    *_, state = scheme.states(lambda s, x, t: Z(f(s.z)), start, given["x"], depth)
    loss = (given["c"] * state.z).sum() + state.z.square().sum()
    loss.backward()
    of = f"deq/{name.removeprefix('deq_')}/"
    return {
        "states": absolute(state.z, recording.tensor(f"{of}z")),
        "losses": relative(loss, recording.tensor(f"{of}loss")),
        "gradients": max(
            relative(given[name].grad, recording.tensor(f"{of}grad/{name}")) for name in WEIGHTS
        ),
    }


def by_hand(recording: Recording) -> dict[str, float]:
    """The implicit gradient against linear algebra at the point where 2,000 iterations end."""
    given = inputs(recording)
    f = function(given)
    scheme = tiny.gradient("implicit", solver="iterate", iterations=300)
    start = Z(given["z0"])
    *_, state = scheme.states(lambda s, x, t: Z(f(s.z)), start, given["x"], Depth(400, 1))
    ((given["c"] * state.z).sum() + state.z.square().sum()).backward()
    return {
        "states": absolute(state.z, recording.tensor("exact/z")),
        "gradients": max(
            relative(given[name].grad, recording.tensor(f"exact/grad/{name}")) for name in WEIGHTS
        ),
    }


# ---- penalties


def jacobian(recording: Recording) -> dict[str, float]:
    given = inputs(recording)
    z = recording.tensor("exact/z").requires_grad_()
    vectors = list(recording.tensor("draw/jacobian_vectors"))
    value = jacobian_penalty(function(given), z, vectors).mean()
    value.backward()
    return {
        "losses": relative(value, recording.tensor("jacobian/loss")),
        "gradients": relative(given["W"].grad, recording.tensor("jacobian/grad/W")),
    }


def corrections(recording: Recording) -> dict[str, float]:
    """Of mean(z^2) of each recorded state."""
    states = recording.tensor("fp_correction/states")
    cells = states.square().flatten(1)[:, None]
    judged = Judged([], cells, torch.ones_like(cells[0], dtype=torch.bool), torch.ones(1))
    found = []
    for key in recording.under("fp_correction/"):
        for kind, weights in (("exp", "exponential"), ("linear", "linear")):
            if key.startswith(kind):
                gamma = float(key.removeprefix(kind))
                config = CorrectionConfig("correction", weights, gamma)
                (loss,) = Correction(config).losses(judged).values()
                theirs = recording.tensor(f"fp_correction/{key}")
                found.append(relative(loss.value[0], theirs))
    return {"losses": max(found)}
