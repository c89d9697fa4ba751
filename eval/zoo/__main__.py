"""The systems of the field side by side, for the training FLOPs of experiment=trm_small_slow.

    python -m eval.zoo plan
    python -m eval.zoo train systems=huginn,ouro lrs=1e-3,3e-3 share=0.2
    python -m eval.zoo table out=docs/zoo.md

The first says what a segment of each costs, and how many steps its budget buys. The second trains
each on 6x6 Sudokus: one short run of `share` of the budget for each learning rate, then one of all
of it with the rate that was best on held-out puzzles. Its runs are runs/zoo-*; those that are
finished stay, so the same command goes on where it was stopped. The third writes the table of what
was found.

systems=   names as `plan` prints them; all by default
lrs=       learning rates to try
share=     of the budget, for each try
seed=      of the runs
out=       of the table; of a file that has one, the rest stays
"""

import sys

from conf import help
from conf.cli import one_line
from eval.cost.report import split, writable
from eval.zoo import equal, sweep, table
from eval.zoo.systems import SYSTEMS, System
from tinyreason.errors import UserError

OWN = {"systems": None, "lrs": "1e-3,3e-3", "share": "0.2", "seed": "0", "out": None}


def main(words: list[str]) -> None:
    if help.asked(words) or not words:
        print(help.plain_page(__doc__))
        return
    verb, (own, others) = words[0], split(words[1:], OWN)
    if others:
        raise UserError(f"{others[0]} is no option here; use one of {', '.join(OWN)}")
    if verb not in VERBS:
        raise UserError(f"{verb} is unknown; use one of {', '.join(VERBS)}")
    VERBS[verb](chosen_systems(own["systems"]), own)


def chosen_systems(names: str | None) -> list[System]:
    """Those named, all by default. Raises UserError."""
    if names is None:
        return list(SYSTEMS)
    known = {sweep.folder_name(system): system for system in SYSTEMS}
    for name in names.split(","):
        if name not in known:
            raise UserError(f"systems={name} is unknown; use one of {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def plan(systems: list[System], own: dict) -> None:
    """What a segment costs, and what the budget buys."""
    print(f"budget: {equal.budget() / 1e12:.1f} TFLOPs\n")
    print(
        "| system | parameters | MFLOPs a puzzle and segment | steps |\n| --- | --- | --- | --- |"
    )
    for system in systems:
        config = equal.config_of(system.words)
        each = equal.flops_of_step(config) / config.batch / 1e6
        name, steps = sweep.folder_name(system), equal.steps_of(system)
        print(f"| {name} | {equal.parameters_of(system):,} | {each:.1f} | {steps:,} |", flush=True)


def train(systems: list[System], own: dict) -> None:
    """Sweep, then the whole budget."""
    lrs, share, seed = own["lrs"].split(","), sweep.share_of(own["share"]), own["seed"]
    for system in systems:
        sweep.run(system, lrs, share, seed)


def write(systems: list[System], own: dict) -> None:
    """The table, to a file or to the screen."""
    path = writable("out", own["out"])
    text = table.page(systems)
    if path is None:
        print(text)
        return
    before = path.read_text() if path.is_file() else ""
    path.write_text(table.placed(text, before))
    print(f"wrote {path}")


VERBS = {"plan": plan, "train": train, "table": write}


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
