"""How a loss falls with parameters, recursions and data: scaling laws.

    python -m eval.law collect runs/a runs/b runs/c out=runs.csv
    python -m eval.law fit runs.csv
    python -m eval.law fit mine.csv baseline=theirs.csv json=law.json
    python -m eval.law fit depth.csv law=depth

`fit` finds L = E + A (N_once + r^phi N_rec)^-alpha + B D^-beta in a CSV with the columns
n_once,n_rec,r,D,loss[,group]: phi is what a recursion is worth, 0 nothing and 1 as much as layers
of its own (arXiv 2604.21106). Intervals of 95 % come from drawing groups of rows again; without a
column `group` those are the rows of the same budget, D (n_once + r n_rec), and the same r.

law=        recurrence | chinchilla (N,D,loss) | depth (L,loss) | parcae (T,loss): y_inf + A e^-kx
baseline=   another CSV: the difference of phi, with its interval
resamples=  of the intervals
seed=       of starts and resamples
json=       a file for the numbers
D=          collect: examples (as the optimizer drew them) | unique (training puzzles)
out=        collect: the CSV to write
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

from conf import help
from conf.cli import one_line
from eval.cost.report import split, writable
from eval.law import collect, fit, read
from eval.law.laws import LAWS, Recurrence, Rows
from tinyreason.errors import UserError

OWN = {"law": "recurrence", "baseline": None, "resamples": "200", "seed": "0", "json": None}
OWN |= {"D": "examples", "out": None}
INTERVAL = (2.5, 97.5)  # percentiles


def main(words: list[str]) -> None:
    if help.asked(words) or not words:
        print(help.plain_page(__doc__))
        return
    own, paths = split(words[1:], OWN)
    if words[0] not in VERBS:
        raise UserError(f"{words[0]} is unknown; use fit FILE.csv, or collect runs/a runs/b ...")
    if strange := [word for word in paths if "=" in word and not Path(word).exists()]:
        raise UserError(f"{strange[0]} is no option here; use one of {', '.join(OWN)}")
    VERBS[words[0]]([Path(path) for path in paths], own)


def collected(paths: list[Path], own: dict) -> None:
    """CSV of runs."""
    if not paths or own["out"] is None:
        raise UserError("use collect runs/a runs/b ... out=FILE.csv")
    if own["D"] not in collect.COUNTED:
        raise UserError(f"D={own['D']} is unknown; use one of {', '.join(collect.COUNTED)}")
    out = writable("out", own["out"])
    count = collect.collect(paths, out, own["D"])
    print(f"wrote {out}: {count} runs; D counts {own['D']}")


def fitted(paths: list[Path], own: dict) -> None:
    """Print a law, and write its numbers."""
    if len(paths) != 1:
        raise UserError(
            "use fit FILE.csv, one file; another to compare it with is baseline=FILE.csv"
        )
    if own["law"] not in LAWS:
        raise UserError(f"law={own['law']} is unknown; use one of {', '.join(LAWS)}")
    if own["baseline"] and own["law"] != "recurrence":
        raise UserError("baseline= compares phi; use law=recurrence with it")
    out = writable("json", own["json"])
    found = report(paths[0], own)
    if own["baseline"]:
        other = report(Path(own["baseline"]), own)
        found["baseline"] = other
        found["delta_phi"] = difference(found, other)
        low, high = found["delta_phi"]["interval"]
        print(f"\ndelta phi {found['delta_phi']['value']:+.3f} [{low:+.3f}, {high:+.3f}]")
    for one in (found, found.get("baseline", {})):
        one.pop("phis", None)
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n")
        print(f"wrote {out}")


def report(path: Path, own: dict) -> dict:
    """Fit one file, and print what was found."""
    law, seed = LAWS[own["law"]](), whole("seed", own["seed"], 0)
    rows, groups = read.read(path, law)
    if groups is not None:
        rows["group"] = groups
    best = fit.fit(law, rows, seed)
    groups = best.rows.get("group", cells(best.rows))
    thetas = fit.resampled(best, groups.astype(int), whole("resamples", own["resamples"], 1), seed)
    many = [law.told(theta) for theta in thetas]
    told, scale = law.told(best.theta), np.abs(best.rows["loss"]).max()
    if own["law"] in ("depth", "parcae"):  # which are fitted to shares of the largest value
        for one in (told, *many):
            one |= {key: one[key] * scale for key in ("y_inf", "A")}
    spread = {key: np.percentile([one[key] for one in many], INTERVAL) for key in told}
    print(f"{path}: {len(rows['loss'])} rows, {groups.max() + 1} groups, R2 {best.R2:.4f}")
    for key, value in told.items():
        low, high = spread[key]
        print(f"  {key:6} {value:12.5g}  [{low:.5g}, {high:.5g}]")
    found = {"rows": len(rows["loss"]), "R2": best.R2, "law": own["law"], "parameters": told}
    found["intervals"] = {key: [float(x) for x in pair] for key, pair in spread.items()}
    if own["law"] == "recurrence":
        found |= by_recursions(best) | restricted(rows, seed)
        found["phis"] = [one["phi"] for one in many]
    found["warnings"] = read.warnings(best.rows)
    for line in found["warnings"]:
        print(f"warning: {line}")
    return found


def by_recursions(best: fit.Fit) -> dict:
    """What is left of the loss, by r."""
    found = {}
    for r in np.unique(best.rows["r"]):
        left = best.residuals[best.rows["r"] == r]
        mean, rmse = float(left.mean()), float(np.sqrt((left**2).mean()))
        found[f"{r:g}"] = {"mean": mean, "rmse": rmse}
        print(f"  r={r:<4g} residual {mean:+.5f}, rmse {rmse:.5f} (log loss)")
    return {"residuals": found}


def restricted(rows: Rows, seed: int) -> dict:
    """Fits in which a recursion is worth nothing, or as much as layers of its own."""
    found = {}
    for phi in (0.0, 1.0):
        found[f"{phi:g}"] = fit.fit(Recurrence(phi), rows, seed).R2
        print(f"  phi={phi:g} held: R2 {found[f'{phi:g}']:.4f}")
    return {"R2_at_phi": found}


def cells(rows: Rows) -> np.ndarray:
    """(n,) numbers of the groups: rows of the same budget and the same r; of a curve, each row."""
    if "D" not in rows:
        return np.arange(len(rows["loss"]))
    r = rows.get("r", np.ones_like(rows["D"]))
    size = rows["N"] if "N" in rows else rows["n_once"] + r * rows["n_rec"]
    budget = np.round(np.log2(rows["D"] * size), 1)
    return np.unique(np.stack((budget, r)), axis=1, return_inverse=True)[1].ravel()


def difference(one: dict, other: dict) -> dict:
    """Of two phis; their resamples are independent."""
    pairs = np.subtract(one["phis"], other["phis"])
    value = one["parameters"]["phi"] - other["parameters"]["phi"]
    return {"value": value, "interval": [float(x) for x in np.percentile(pairs, INTERVAL)]}


def whole(key: str, value: str, least: int) -> int:
    """Raises UserError."""
    if not re.fullmatch("[0-9]{1,6}", value) or int(value) < least:
        raise UserError(f"{key}={value} must be a whole number, {least} or more")
    return int(value)


VERBS = {"fit": fitted, "collect": collected}


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
