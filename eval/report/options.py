"""The configuration of a run, and what in it is not as its command has it by default."""

import re
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from conf.cli import CONF, composed
from conf.files_decide import files_decide
from conf.schema import Config, plain, typed
from tinyreason.errors import UserError
from tinyreason.options import flat

ABSENT = "-"  # an option that one of the two does not have


def differences(config: dict[str, Any]) -> tuple[list[str], dict[str, tuple[Any, Any]]] | None:
    """The words of the nearest command, and option -> (the run's value, the command's); None where
    this version has no such command.
    """
    found = []
    for words in commands(config):
        try:
            found.append((words, changed(config, words)))
        except (UserError, HydraException, OmegaConfBaseException):
            continue
    return min(found, key=lambda one: len(one[1]), default=None)


def commands(config: dict[str, Any]) -> list[list[str]]:
    """The words that could have begun such a run: of its task, its scale and its model, which may
    be behind several choices.
    """
    name = re.escape(str(config["model"]["name"]))
    models = [
        path.stem
        for path in sorted((CONF / "model").glob("*.yaml"))
        if re.search(rf"^  name: {name}\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    choices = [[f"model={one}"] for one in models] or [["model=trm"]]
    scale = [f"scale={config['scale']}"] if config.get("scale") else []
    return [[f"task={config['task']['name']}", *choice, *scale] for choice in choices]


def changed(config: dict[str, Any], words: list[str]) -> dict[str, tuple[Any, Any]]:
    """What is not as `words` alone have it. Raises UserError, or Hydra's, for no such command."""
    usual = composed(words)
    source = usual.task.source
    if config["task"].get("source") != source:  # then what is in the files is no choice
        usual.task.source = config["task"].get("source")
        files_decide(usual, [*words, "task.source"])
    theirs, ours = flat(plain(typed(Config, usual))), flat(config)
    theirs["task.source"] = source
    keys = [*ours, *(key for key in theirs if key not in ours)]
    pairs = {key: (ours.get(key, ABSENT), theirs.get(key, ABSENT)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1] and key != "name"}
