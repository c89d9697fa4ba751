"""How fast does a configuration train, and how near to what the machine can do?

    python -m eval.speed
    python -m eval.speed model.mix=attention,mixer
    python -m eval.speed baseline=true repeats=20
    python -m eval.speed task=sudoku model=trm scale=paper compile=false,true repeats=10

It takes the words of train.py, and

repeats=5        how often each variant is timed
baseline=true    first the same arithmetic as the references write it: one operation a line, no
                 gradients of our own, not compiled
threads=N        on a CPU; without it as many as pay, by timing, as train.py does
json=FILE        the numbers too

A word with choices, as in `model.mix=attention,mixer`, times them in turn, A B A B, and prints how
many times as fast as the first each is (median, and from the quarter to three quarters of the
pairs): ratios hold where a shared machine's speed drifts. Beside each step stands a large matrix
product in the same type: the share of it is what a step reaches of this machine. Puzzles are random
tokens of the task's shape, so every puzzle takes all its segments. Drawing alone is timed on the
task's own puzzles: its share is CPU seconds, for every slot, over the seconds of a step by the
clock. What `deterministic=false,true` costs on CUDA is asked like this too; cuBLAS then has that
option's workspace in both.
"""

import itertools
import sys
from dataclasses import replace

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from conf import help
from conf.cli import choose_scale, composed, keys_of, one_line
from conf.schema import Config, training_config
from conf.words import mended
from data.registry import load_task
from eval.begin import settled
from eval.cost.report import count_of, refuse_bare, split, writable
from eval.speed import measure, report
from eval.speed.baseline import make_plain
from eval.speed.made import PLAIN, fitted_here, random_trainer
from tinyreason.errors import UserError
from tinyreason.run.atomic import write_whole
from tinyreason.run.console import say
from tinyreason.run.deterministic import deterministic

OWN = {"repeats": "5", "baseline": "false", "threads": None, "json": None}


def variants(words: list[str]) -> dict[str, list[str]]:
    """Each combination of choices by its name, as the words that select it."""
    choices = [choices_of(word) for word in mended(words, keys_of("train"))]
    varied = [i for i, c in enumerate(choices) if len(c) > 1]
    return {
        " ".join(one[i] for i in varied) or "as given": list(one)
        for one in itertools.product(*choices)
    }


def choices_of(word: str) -> list[str]:
    """One word for each of the choices in it; a list in brackets is one."""
    found = OverridesParser.create().parse_override(word)
    if not found.is_sweep_override():
        return [word]
    return [f"{found.get_key_element()}={value}" for value in found.sweep_string_iterator()]


def own_words(words: list[str]) -> tuple[dict, list[str]]:
    """The words of this command, and those of train.py. Raises UserError for bad ones."""
    own, others = split(words, OWN)
    refuse_bare(others)
    own["repeats"] = count_of("repeats", own["repeats"])
    if own["threads"] is not None:
        own["threads"] = count_of("threads", own["threads"])
    own["json"] = writable("json", own["json"])
    if own["baseline"] not in ("true", "false"):
        raise UserError(f"baseline={own['baseline']} must be true or false")
    return own, others


def with_baseline(configs: dict[str, Config]) -> dict[str, Config]:
    """Before each variant the plain one of the same sizes, once where several share it."""
    found = {}
    for name, config in configs.items():
        plain = replace(config, **PLAIN)
        if plain not in found.values():
            found["plain" if len(configs) == 1 else f"plain, {name}"] = plain
        found[name] = config
    return found


def settled_all(configs: dict[str, Config], threads: int | None) -> dict[str, Config]:
    """With the number types of this machine; on a CPU as many threads as asked for, or as pay for
    the first.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    found = {name: settled(config, threads=False) for name, config in configs.items()}
    if threads is None:
        settled(next(iter(found.values())))
    return found


def timed(configs: dict[str, Config], repeats: int) -> list[measure.Timed]:
    """All variants, in turn."""
    found, tasks = [], {str(c.task): c.task for c in configs.values()}
    loaded = {key: load_task(task) for key, task in tasks.items()}  # once where variants share it
    # before CUDA is used at all
    with deterministic(any(c.deterministic for c in configs.values())):
        for name, config in configs.items():
            config = fitted_here(config)
            trainer = random_trainer(config)
            if name.startswith("plain"):
                make_plain(trainer.model)
                make_plain(trainer.averaged)
            found.append(measure.begun(name, config, trainer))
    measure.time_in_turn(found, repeats)
    measure.time_evaluation(found, repeats)
    for one in found:
        measure.look_inside(one, *loaded[str(one.config.task)])
    return found


def main(words: list[str]) -> None:
    if help.asked(words):
        print(help.plain_page(__doc__))
        return
    own, words = own_words(words)
    configs = {k: training_config(composed(v)) for k, v in variants(words).items()}
    configs = settled_all(configs, own["threads"])
    if own["baseline"] == "true":
        configs = with_baseline(configs)
    found = timed(configs, own["repeats"])
    print(report.table(found))
    for one in {v.dtype: v for v in found}.values():
        say(report.machine(one))
    if own["json"]:
        write_whole(own["json"], report.as_json(found).encode())


if __name__ == "__main__":
    with one_line():
        choose_scale()
        main(sys.argv[1:])
