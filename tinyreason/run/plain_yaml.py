"""YAML that says what it says: maps, lists, text, numbers. No tags, no anchors, no dates, and
nothing that is followed.

Saved configurations are read with it, since they come from anywhere. A tag could name a class, an
alias of an alias of an alias could fill the memory, and `${...}` would be looked up in the
environment by whoever reads on.
"""

from pathlib import Path
from typing import Any

import yaml

from tinyreason.errors import UserError

MOST = 1 << 16  # bytes; a configuration of ours has 2,000
DEEPEST = 10  # levels; ours has 3


def read_yaml(path: Path) -> dict[str, Any]:
    """The map in a YAML file. Raises UserError, `path: what is wrong`."""
    if path.stat().st_size > MOST:
        raise UserError(f"{path}: damaged, no configuration; it is larger than {MOST >> 10} KiB")
    try:
        text = path.read_text(encoding="utf-8")
        if why := what_is_not_plain(text):
            raise UserError(
                f"{path}: {why}, which a saved configuration never has; write a plain value"
            )
        config = yaml.safe_load(text)
    except UserError:
        raise
    except Exception:  # yaml's scanner and its constructors fail in as many ways as there are types
        config = None
    if not isinstance(config, dict) or not is_plain(config):
        raise UserError(f"{path}: damaged, no configuration; use name=NEW for a new run")
    return config


def what_is_not_plain(text: str) -> str | None:
    """The first thing in a YAML text that is more than a value; None if there is none."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > DEEPEST:
            return f"line {event.start_mark.line + 1} is nested {depth} deep"
        if getattr(event, "anchor", None) or isinstance(event, yaml.AliasEvent):
            return f"line {event.start_mark.line + 1} has an anchor or an alias"
        if getattr(event, "tag", None):
            return f"line {event.start_mark.line + 1} has a tag"
        if "${" in getattr(event, "value", ""):
            return f"line {event.start_mark.line + 1} has a '${{...}}'"
    return None


def is_plain(value: Any) -> bool:
    """Maps with text for keys, lists, text, numbers and null: no dates."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 64  # Python cannot even print one of 5,000 digits
    return value is None or isinstance(value, str | float)
