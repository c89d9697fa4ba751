"""A trained model for examination, with the puzzles that it is examined on: its own, or others.

    trained = open_run("runs/sudoku-trm")
    examined = puzzles_for(trained, "test", source=None)

Runs and exports that earlier versions made say less of their puzzles; what is missing follows from
their task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conf.schema import Config, typed
from data.arc import ARC
from data.from_files import FromFiles
from data.registry import load_task, make_task
from data.task import Task
from tinyreason import earlier
from tinyreason.described import About
from tinyreason.errors import UserError
from tinyreason.exported import ELSEWHERE, Exported, folder_of, is_exported
from tinyreason.models import RecursiveModel
from tinyreason.puzzle import Facts, Puzzles
from tinyreason.puzzle_embedding import rows_by_name
from tinyreason.rules import Notation
from tinyreason.run import puzzles
from tinyreason.run.chosen import state_of, weights_of
from tinyreason.run.console import say
from tinyreason.run.folder import read_config
from tinyreason.run.manifest import NAME
from tinyreason.trained import CPU, Trained, combined, open_trained

EMBEDDINGS = ("own", "mean")  # of ARC tasks that the run does not know: refused, or the mean


@dataclass
class Examined:
    """The puzzles of one split, and their task."""

    task: Task
    puzzles: Puzzles
    trained_on: np.ndarray | None  # (N,) bool, up to symmetry; None where that is not known


def open_run(
    run: str | Path, checkpoint: str = "last", weights: str = "ema", device: torch.device = CPU
) -> Trained:
    """What `run=` names: runs/NAME, an exported folder or hub:owner/name[@revision].

    Raises UserError.
    """
    path = folder_of(str(run))
    if is_exported(path):
        found = open_trained(path)
    else:
        config = read_config(path)
        typed(Config, config).check()
        about = puzzles.read(path) or about_of(path, config)
        found = Trained(path, combined(path, config, about))
    found.checkpoint, found.weights, found.device = checkpoint, weights, device
    return found


def about_of(run: Path, config: dict[str, Any]) -> About:
    """Of a run of an earlier version: only ARC's identifiers are counted when puzzles are loaded,
    and the table of embeddings has them.
    """
    facts = make_task(config["task"]).facts
    _, state = state_of(run, "last")
    table = weights_of(state, "raw").get("encoder.puzzles.table")
    if table is not None:
        facts = replace(facts, num_puzzle_identifiers=len(table))
    stated = earlier.notation(config["task"]["name"], facts.vocab_size)
    return About(facts, Notation(**stated), None)


# ---- puzzles


def puzzles_for(
    trained: Trained,
    split: str,
    source: Any = None,
    limit: int | None = None,
    how: Mapping[str, Any] | None = None,
) -> Examined:
    """The puzzles of a split: the run's own, or those of another `source`, all of them or `limit`;
    `how` they are to be read, as options of the task. Raises UserError.
    """
    options = trained.config.task
    if source is None:
        return own(trained, split)
    options = options | {"source": source}
    if source in ELSEWHERE:
        side = {"side": trained.config.facts.grid[0]} if "side" in options else {}
        task, splits = load_task(options | side)
        return Examined(task, the(splits, split), trained_on(trained, task, the(splits, split)))
    if options["name"] == "arc":
        known = asked(how or {}, options)
        task, splits = load_task(options | {"train_puzzles": None, "test_puzzles": None} | known)
        return Examined(task, the(splits, split), None)
    task = reader(trained, source, how)
    like = (trained.config.facts, trained.config.notation)
    found = task.examine(source, split, limit, options["seed"], like)
    refuse_others(trained, task.facts)
    return Examined(task, found, trained_on(trained, task, found))


OTHER_CHOICE = (
    "this run was made by an earlier version, which chose rows in another way where a file has "
    "more than 3,000 or repeats some; puzzles that it was trained on may be among these"
)
COUNTS = ("train_puzzles", "valid_puzzles", "test_puzzles")
SEEN = ("side", "columns", "box", "alphabet", "grid", "min_rating", "max_rating")  # in the files


def reader(trained: Trained, source: Any, how: Mapping[str, Any] | None = None) -> Task:
    """The run's task for other files: what is seen in files is not as it was in the run's own."""
    options = trained.config.task | dict.fromkeys(COUNTS, "auto") | {"source": source}
    options |= {key: None for key in SEEN if key in options}
    return make_task(options | asked(how or {}, options))


def asked(how: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not null. Raises UserError for one that the task does not have."""
    found = {key: value for key, value in how.items() if value is not None}
    if strange := found.keys() - options.keys():
        raise UserError(f"task.{min(strange)} is no option of task={options['name']}")
    return found


def own(trained: Trained, split: str) -> Examined:
    """The run's own puzzles, held against what it remembers of them."""
    if trained.config.task.get("source") is None:
        files = "its puzzles were files where it was trained"
        raise UserError(f"{trained.path}: {files}; use source=PATH of yours")
    task, splits = load_task(trained.config.task)
    found = the(splits, split)
    remembers = isinstance(trained.config, Exported) or (trained.path / puzzles.ABOUT).is_file()
    if not remembers and isinstance(task, FromFiles) and task.source not in ELSEWHERE:
        say(f"note: {OTHER_CHOICE}")
    remembered = None if isinstance(trained.config, Exported) else puzzles.read(trained.path)
    if remembered and (why := changed(remembered, splits, (split,))):
        say(f"note: {why} since this run was trained")
        return Examined(task, found, trained_on(trained, task, found))
    return Examined(task, found, None)


def changed(
    remembered: puzzles.Remembered, splits: dict[str, Puzzles], names: tuple[str, ...]
) -> str:
    """Which splits do not hold what they held; "" where all do."""
    now = puzzles.digests({name: splits[name] for name in names})
    told = []
    for name, found in now.items():
        before = remembered.splits.get(name, {})
        if before != found:
            then, count = before.get("examples"), found["examples"]
            what = f"{then} examples then, {count} now"
            told.append(f"{name} ({what if then != count else 'others, or in another order'})")
    return f"the puzzles of {remembered.source} have changed: {', '.join(told)}" if told else ""


def the(splits: dict[str, Puzzles], split: str) -> Puzzles:
    if split not in splits:
        raise UserError(f"split={split} is unknown; use one of {', '.join(splits)}")
    return splits[split]


def trained_on(trained: Trained, task: Task, found: Puzzles) -> np.ndarray | None:
    """(N,) bool: the puzzles that, up to symmetry, the run was trained on; None where it does not
    remember them.
    """
    if isinstance(trained.config, Exported):
        return None
    keys = puzzles.read_keys(trained.path)
    return None if keys is None else np.isin(task.keys(found), keys)


def refuse_others(trained: Trained, theirs: Facts) -> None:
    """Raises UserError where the puzzles are not of the kind that the model takes. Identifiers are
    matched by name, or not used.
    """
    mine = trained.config.facts
    theirs = replace(theirs, num_puzzle_identifiers=mine.num_puzzle_identifiers)
    if mine != theirs:
        raise UserError(f"{trained.path}: a model for {told(mine)}; these are {told(theirs)}")


def told(facts: Facts) -> str:
    """Facts in words."""
    boxes = f" with boxes of {facts.box[0]} x {facts.box[1]}" if facts.box else ""
    return f"{facts.grid[0]} x {facts.grid[1]} cells of {facts.vocab_size} tokens{boxes}"


# ---- ARC: puzzle identifiers by name


def model_for(trained: Trained, task: Task, embedding: str) -> RecursiveModel:
    """The model, its puzzle embeddings in the order of the task's identifiers. Raises UserError for
    a task that the run does not know, unless `embedding` is "mean".
    """
    if embedding not in EMBEDDINGS:
        raise UserError(f"embedding={embedding} is unknown; use one of {', '.join(EMBEDDINGS)}")
    refuse_others(trained, task.facts)
    model = trained.model
    if not isinstance(task, ARC) or model.encoder.puzzles is None:
        return model
    rows, unknown = rows_of(trained, task)
    if unknown and embedding == "own":
        names = ", ".join(unknown[:3]) + (" ..." if len(unknown) > 3 else "")
        raise UserError(
            f"{trained.path} was not trained on {len(unknown)} of these tasks ({names}), so it has "
            "no embedding for them; use embedding=mean, or train on their demonstrations"
        )
    if unknown:
        say(f"note: {len(unknown)} tasks are unknown to this run and get the mean embedding")
    table = model.encoder.puzzles.table
    fresh = mean_embedding(table)
    known = torch.from_numpy(np.maximum(rows, 0)).to(table.device)
    missing = torch.from_numpy(rows < 0).to(table.device)
    model.encoder.puzzles.table = torch.where(missing[:, None], fresh, table[known])
    return model


def mean_embedding(table: torch.Tensor) -> torch.Tensor:
    """(D,) for a task that is not known; row 0 of a table (I D) is the blank identifier's."""
    return table[1:].mean(0) if len(table) > 1 else table[0]


def rows_of(trained: Trained, task: ARC) -> tuple[np.ndarray, list[str]]:
    """(I,) row of the run's table for each identifier of the task, -1 where there is none; and the
    names of the tasks without. Raises UserError where the copies of a task differ.
    """
    known = trained.config.identifiers
    if known is None:
        if task.facts.num_puzzle_identifiers != trained.config.facts.num_puzzle_identifiers:
            raise UserError(
                f"{trained.path} was made by an earlier "
                "version, which did not write down the names "
                "of its tasks, and these are not as many"
            )
        say("note: this run does not name its tasks; they are matched by their number")
        return np.arange(task.facts.num_puzzle_identifiers), []
    wanted = task.named_tasks()
    return rows_by_name(known, wanted), unknown_tasks(known, wanted, str(trained.path))


def unknown_tasks(known: list[list], wanted: list[list], where: str) -> list[str]:
    """The names of those that have no rows. Raises UserError where only their copies differ."""
    names, unknown = {name: (count, digest) for name, count, digest in known}, []
    for name, count, digest in wanted:
        if name not in names:
            unknown.append(name)
        elif names[name] != (count, digest):
            raise UserError(
                f"{where}: task {name} was trained with {names[name][0]} other augmentations than "
                f"these {count}; use the same task.copies, task.seed and grids"
            )
    return unknown


# ---- weights alone


def weights_for_init(init: str) -> tuple[dict[str, torch.Tensor], list[list] | None]:
    """The averaged weights that `init=` names, a run, one of its checkpoints, an export or
    hub:owner/name, and the names of its ARC tasks. Raises UserError.
    """
    path, step = Path(init), "last"
    if path.suffix == ".pt":
        found = NAME.fullmatch(path.name)
        if not found or not path.is_file():
            raise UserError(f"init={init}: no such checkpoint")
        path, step = path.parents[1], str(int(found[1]))
    trained = open_run(init if step == "last" else path, step)
    if isinstance(trained.config, Exported):
        trained.weights = trained.config.weights
    return trained.model.state_dict(), trained.config.identifiers
