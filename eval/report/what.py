"""What a run is."""

from eval.report.seen import Seen
from eval.report.sheets import Told


def option_of(group: str, name: str = "name") -> Told:
    """A choice and its options in words: last (recursions=4)."""

    def say(run: Seen) -> str | None:
        options = run.config.get(group)
        options = dict(options) if isinstance(options, dict) else {}
        choice = options.pop(name, None)
        told = ", ".join(f"{key}={value}" for key, value in options.items())
        return choice and (f"{choice} ({told})" if told else choice)

    return say


def task(run: Seen) -> str:
    """Its puzzles."""
    options = run.config["task"]
    parts = [options["name"]]
    if run.trained is not None:
        parts.append("{} x {} cells".format(*run.trained.config.facts.grid))
    if options.get("source") is not None:
        parts.append(f"source={options['source']}")
    return ", ".join(parts)


def examples(run: Seen) -> str | None:
    parts = [f"{count:,} {split}" for split, count in run.examples.items()]
    return ", ".join(parts) or None


def model(run: Seen) -> str:
    options = run.config["model"]
    sizes = [f"{key}={options[key]}" for key in ("width", "layers", "mix") if key in options]
    return f"{options['name']} ({', '.join(sizes)})" if sizes else options["name"]


def depth(run: Seen) -> str | None:
    name = option_of("depth")(run)
    if run.trained is None:
        return name
    found = run.trained.depth()
    return f"{name}: {found.total} recursions a segment, {found.tracked} with gradient"


def steps(run: Seen) -> str | None:
    if run.steps is None:
        return None
    planned = run.chosen("steps")
    return f"{run.steps:,} of {planned:,}" if planned else f"{run.steps:,}"


def seed(run: Seen) -> str | None:
    own, data = run.config.get("seed"), run.config["task"].get("seed")
    parts = [f"{own}" if own is not None else None, f"task.seed={data}" if data != own else None]
    return ", ".join(part for part in parts if part) or None


def code(run: Seen) -> str:
    """The versions that it was trained with."""
    found = run.made.get("versions") or {}
    parts = [f"{name} {version}" for name, version in found.items()]
    own = [] if "tinyreason" in found else ["its own not written down"]
    return ", ".join(parts + own)


WHAT: dict[str, Told] = {
    "Task": task,
    "Puzzles": examples,
    "Model": model,
    "Parameters": lambda run: None if run.parameters is None else f"{run.parameters:,}",
    "Gradient": option_of("gradient"),
    "Depth": depth,
    "Supervision": option_of("supervision"),
    "Halting": option_of("halting", "rule"),
    "Steps": steps,
    "Batch": lambda run: run.config.get("batch"),
    "Seed": seed,
    "Versions": code,
    "Machine": lambda run: run.made.get("machine"),
}
