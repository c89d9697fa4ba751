"""How a run begins: with which puzzles, which it remembers, and from which weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import shorten

import torch

from conf.schema import Config
from data.registry import facts_of, load_task
from data.task import Task
from eval.load import changed, weights_for_init
from tinyreason import earlier
from tinyreason.cpu import fast_cpu_type, settle_threads
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.layers import Inner
from tinyreason.models import DTYPES, name_of
from tinyreason.puzzle import SPLITS, Facts, Puzzles
from tinyreason.ranks import Ranks
from tinyreason.run import puzzles
from tinyreason.run.console import say
from tinyreason.run.folder import RunFolder
from tinyreason.run.machine import machine_of
from tinyreason.trainer import TABLE, Trainer


def refuse_other_puzzles(config: Config, folder: RunFolder, splits: dict[str, Puzzles]) -> None:
    """Raise UserError where a run would go on with other puzzles than it was begun with."""
    before = puzzles.read(folder.path) if folder.begun else None
    why = changed(before, splits, SPLITS) if before else ""
    if why and not config.resume_override:
        raise UserError(
            f"{folder.path}: {why}; use name=NEW, put them back, or use resume_override=true"
        )
    if why:
        say(f"note: {why}")


def remember(path: Path, config: Config, task: Task, splits: dict[str, Puzzles]) -> None:
    """What its puzzles are, for whoever examines or continues the run."""
    facts, notation, train = task.facts, task.notation, splits["train"]
    digests, source = puzzles.digests(splits), config.task["source"]
    about = puzzles.Remembered(facts, notation, task.named_tasks(), digests, source)
    if len(train) > puzzles.MOST_KEYS:
        say(f"note: {path} remembers {puzzles.MOST_KEYS:,} of {len(train):,} training puzzles")
        train = replace(
            train,
            inputs=train.inputs[: puzzles.MOST_KEYS],
            labels=train.labels[: puzzles.MOST_KEYS],
        )
    puzzles.write(path, about, task.keys(train))


def begin_from(trainer: Trainer, init: str, task: Task) -> None:
    """Take over the weights of another run or export, as far as they fit; say which."""
    tensors, identifiers = weights_for_init(init)
    table = task.named_tasks()
    taken, fresh = trainer.take_weights(tensors, identifiers, table)
    if not any(tensors[name].ndim > 1 for name in taken):  # biases fit anywhere
        raise UserError(f"init={init}: none of its weights fits this model; use its model options")
    told = f", begun afresh: {', '.join(fresh)}" if fresh else ""
    say(f"init={init}: taken {len(taken)} of {len(taken) + len(fresh)} tensors{told}")
    if table and TABLE in taken and identifiers is not None:
        new = [one[0] for one in table if one not in identifiers]
        known = f"{len(table) - len(new)} of {len(table)} tasks keep their embedding"
        say(
            f"init={init}: {known}"
            + (f", begun afresh: {shorten(', '.join(new), 200)}" if new else "")
        )


def settled(config: Config, threads: bool = True) -> Config:
    """`config` as a run that begins has it: on a CPU with a number type and, if so asked, as many
    threads as pay.
    """
    if pick_device(config.device).type != "cpu":
        return config
    facts = facts_of(config.task)
    config = with_cpu_type(config, facts)
    if threads:
        use_threads(config, facts)
    return config


def with_cpu_type(config: Config, facts: Facts, saved: dict | None = None) -> Config:
    """`config` with a number type for model.dtype=auto on a CPU: one that pays, by timing, or the
    one of the run that goes on. `saved`: what its checkpoint was made on. With deterministic=true
    nothing depends on a clock.
    """
    if config.model.dtype != "auto":
        return config
    if saved is not None:
        name = saved.get("dtype", "float32")  # which versions had that timed nothing
    elif config.deterministic:
        name = "float32"
    else:
        name = name_of(fast_cpu_type(*sizes_of_layer(config, facts)))
    return replace(config, model=replace(config.model, dtype=name))


def use_threads(config: Config, facts: Facts, saved: dict | None = None) -> None:
    """As many as pay, by timing, or those of the run that goes on; with deterministic=true all."""
    if config.deterministic and saved is None:
        return
    dtype = DTYPES[config.model.dtype]
    line = settle_threads(*sizes_of_layer(config, facts), dtype, saved and saved["threads"])
    if line:
        say(line)


def kernels_of(made_on: dict | None, device: torch.device) -> str | None:
    """Those of the run that goes on, on the same card; None: to be chosen."""
    here = machine_of(device)
    if made_on is None or any(made_on[key] != here[key] for key in ("device", "hardware")):
        return None
    return earlier.made_on(made_on)["kernels"]


def sizes_of_layer(config: Config, facts: Facts) -> tuple[int, int, int]:
    """Rows, width and inner width of most of the work."""
    model = config.model
    rows = config.slots_at_once * (model.prefix + facts.seq_len)
    return rows, model.width, Inner(model.expansion, model.inner_multiple).width(model.width)


def for_all(choose: Callable[[Config], Config], config: Config, ranks: Ranks) -> Config:
    """What `choose` makes of the configuration of a rank's slots: the first one's, for all."""
    found = choose(replace(config, batch=config.batch // ranks.world))
    chosen = [found.micro_batch, found.model.recompute, found.model.dtype]
    micro_batch, again, dtype = ranks.shared(chosen)
    model = replace(found.model, recompute=again, dtype=dtype)
    return replace(found, batch=config.batch, micro_batch=micro_batch, model=model)


def loaded(config: Config, ranks: Ranks) -> tuple[Task, dict[str, Puzzles]]:
    """The task and its splits, the same for all ranks; what is downloaded is so once."""
    with ranks.first_then_others(str(config.task["source"]).startswith("hub:")):
        task, splits = load_task(config.task)
    ranks.refuse_unlike("the puzzles", lambda: str(puzzles.digests(splits)))
    return task, splits
