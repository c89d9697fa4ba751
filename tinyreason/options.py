"""Options that say what they allow: the range and the choices of a value stand beside its field.

    width: int = option(least=1)
    mix: str = option(choices=("attention", "mixer"))

A part of a run that can be chosen by name (a model, a gradient scheme, ...) is a class with a
`Config`, a dataclass of such fields, and a registry of those classes by name; nothing is ever
imported or built by a path in a configuration.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from tinyreason.errors import UserError

Entry = TypeVar("Entry")


def option(
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    shared_most: float | None = None,
    default: Any = MISSING,
    words: tuple[str, ...] = (),
) -> Any:
    """A field of an `Options` class whose value is in a range or among some names; required, but
    for a `default`.

    None is in every range, and so are the `words`, which stand for a number that is chosen later.
    `shared_most` is the bound for files that strangers share: far above every published value, and
    low enough that a machine still answers.
    """
    limits = {"least": least, "most": most, "choices": choices, "shared_most": shared_most}
    return field(default=default, metadata=limits | {"words": words})


@dataclass
class Options:
    """Abstract. A configuration, or a part of one."""

    def check(self, prefix: str = "", shared: bool = False) -> None:
        """Raise UserError, `key=value ...`, for the first value that is not allowed."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Options):
                value.check(f"{prefix}{one.name}.", shared)
            elif one.metadata:
                check_value(f"{prefix}{one.name}", value, shared, **one.metadata)
        self.check_together(prefix)

    def check_together(self, prefix: str) -> None:
        """Raise UserError for values that do not go together.

        `prefix` stands before the names of the fields.
        """


def check_value(
    key: str,
    value: Any,
    shared: bool,
    least: float | None,
    most: float | None,
    choices: tuple[str, ...],
    shared_most: float | None,
    words: tuple[str, ...] = (),
) -> None:
    """Raise UserError unless the value of the option `key` is allowed."""
    if choices and value not in choices:
        raise UserError(f"{key}={value} is unknown; use one of {', '.join(choices)}")
    if value is None or value in words or least is None:
        return
    if words and isinstance(value, str):
        raise UserError(f"{key}={value} must be {least} or more, or {', '.join(words)}")
    if not least <= value < math.inf:  # NaN too
        raise UserError(f"{key}={value} must be {least} or more")
    upper = shared_most if shared and shared_most is not None else most
    if upper is not None and value > upper:
        raise UserError(f"{key}={value} must be from {least} to {upper}")


def chosen(registry: Mapping[str, Entry], key: str, name: object) -> Entry:
    """The entry of that name. Raises UserError, with the names that there are, if there is none."""
    if not isinstance(name, str) or name not in registry:
        raise UserError(f"{key}={name} is unknown; use one of {', '.join(registry)}")
    return registry[name]


def flat(config: dict, prefix: str = "") -> dict:
    """{"model.width": 64, ...}"""
    out = {}
    for key, value in config.items():
        out |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return out
