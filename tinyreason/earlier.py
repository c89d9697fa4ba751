"""What earlier versions wrote, as this one says it: options that have another name now, and states
of another form.
"""

import re
from copy import deepcopy
from typing import Any

OPTIONS = {  # as they were typed before 0.2, and as they are now
    "model.gradient": "gradient=one_step, full, bptt, or gradient=last gradient.recursions=4",
    "model.recursion": "model.name",
    "model.checkpoint": "model.recompute",
}
RENAMED = {  # in `model`, since 0.2
    "recursion": "name",
    "checkpoint": "recompute",
}
ADDED = {  # options of a model that some saved configurations lack, and what was computed then
    "recompute": False,
}
ADDED_TO_RUNS = {  # options that are newer than some saved runs, and what those runs did
    "supervision.name": "last",
    "micro_batch": None,
    "init": None,
    "resume_override": False,
    "deterministic": False,
    "kernels": "plain",
    "graph": "false",
    "checkpoint.keep_last": 3,
    "checkpoint.carry": "keep",
}
SEARCHES = {  # of gradient=phantom and implicit, since 0.4
    "search": "recur",
    "mixing": 1.0,
    "memory": 6,
    "ridge": 1e-4,
    "tolerance": 0.0,
    "jacobian": 0.0,
    "vectors": 1,
}
MADE_ON = {  # what a checkpoint is made on, where versions before 0.6 did not say so
    "tinyreason": "before 0.6.1",
    "kernels": "plain",
    "dtype": "float32",
    "ranks": 1,
}
ADDED_TO_DEPTHS = {"poisson": {"ramp": 0}}
FILES = {"ambiguous": "drop", "bad": "refuse", "columns": None}  # of tasks, since 0.3
# of `eval`, since 0.4; `confidence` since 0.5
EXIT = {"exit": "none", "exit_threshold": None, "exit_pool": "mean", "confidence": None}
ADDED_TO_TASKS = {
    "sudoku": FILES | {"box": None, "min_rating": None, "max_rating": None},
    "maze": FILES | {"alphabet": None, "grid": None},
    "arc": {"bad": "refuse"},
}


def options(config: dict[str, Any]) -> dict[str, Any]:
    """The options of a run or of an export, whichever version saved them.

    What is unknown stays as it is.
    """
    config = deepcopy(config)
    task, model = config.get("task"), config.get("model")
    if isinstance(task, dict) and isinstance(task.get("name"), str):
        config["task"] = ADDED_TO_TASKS.get(task["name"], {}) | bank(task)
    if isinstance(config.get("halting"), dict):
        config["halting"].setdefault("weight", 0.5)  # since 0.4
    if isinstance(config.get("eval"), dict):
        config["eval"] = EXIT | config["eval"]
    scheme = config.get("gradient")
    if isinstance(scheme, dict) and scheme.get("name") in ("phantom", "implicit"):
        config["gradient"] = SEARCHES | scheme
    depth = config.get("depth")
    if isinstance(depth, dict) and isinstance(depth.get("name"), str):
        config["depth"] = ADDED_TO_DEPTHS.get(depth["name"], {}) | depth
    if not isinstance(model, dict):
        return config
    for old, new in RENAMED.items():
        if old in model and new not in model:
            model[new] = model.pop(old)
    for key, value in ADDED.items():
        model.setdefault(key, value)
    if "gradient" in model and "gradient" not in config:  # a group since 0.2, as is the depth
        config["gradient"] = gradient(model.pop("gradient"))
        config.setdefault("depth", {"name": "fixed"})
    return config


def made_on(saved: dict[str, Any]) -> dict[str, Any]:
    """Of a checkpoint, see `Trainer.made_on`."""
    told = MADE_ON | saved
    if names := re.fullmatch(r"triton \((.*)\)", told["kernels"]):  # until 0.6
        told["kernels"] = ", ".join(f"Triton {name}" for name in names[1].split(", "))
    return told


def bank(task: dict[str, Any]) -> dict[str, Any]:
    """Before 0.3, valid puzzles made do with what the others left of the 2,000 of the bank."""
    counts = [task.get(f"{split}_puzzles") for split in ("train", "test", "valid")]
    if task.get("source") != "bank" or "bad" in task or any(type(n) is not int for n in counts):
        return task
    return task | {"valid_puzzles": min(counts[2], max(0, 2000 - counts[0] - counts[1]))}


def exported(config: dict[str, Any]) -> dict[str, Any]:
    """The description of an export: formats 1 and 2 did not say what their tokens mean."""
    config, task, facts = options(config), config.get("task"), config.get("facts")
    if config.get("format") in (1, 2) and isinstance(task, dict) and isinstance(facts, dict):
        config.setdefault("notation", notation(task.get("name"), facts.get("vocab_size")))
        config.setdefault("identifiers", None)
    return config


def notation(rules: Any, vocab_size: Any) -> dict[str, Any]:
    """How tasks were written before 0.3, when each had one alphabet."""
    digits = ".123456789"[: vocab_size - 1] if isinstance(vocab_size, int) else ""
    alphabet = {"sudoku": digits, "maze": "# SGo"}.get(rules, "")
    return {"rules": rules, "alphabet": alphabet, "padded": False}


def gradient(value: Any) -> dict[str, Any]:
    """`model.gradient` of 0.1: a scheme's name, or the number of recursions to track."""
    if re.fullmatch(r"[0-9]{1,9}", str(value)):
        return {"name": "last", "recursions": int(value)}
    return {"name": value}


def meter(saved: dict[str, Any]) -> dict[str, Any]:
    """The sums of a log line under way: in 0.1 by name, with the divisors among them."""
    if "slots" not in saved:
        return saved
    rest = {k: v for k, v in saved.items() if k not in ("slots", "left", "skipped")}
    counted = {k: [v, saved["slots" if "loss" in k else "left"]] for k, v in rest.items()}
    return counted | {"puzzles": [saved["left"], None], "skipped": [saved["skipped"], None]}


def optimizer(state: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The state of an AdamATan2: in 0.1 the first parameter counted the steps for all."""
    counts = [one["t"] for one in state.values() if "t" in one]
    return {i: {"t": counts[0].clone(), **one} if counts else one for i, one in state.items()}
