"""Options from plain values, as JSON and YAML have them: exactly the keys that a class states, each
of its type.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from tinyreason.axes import AXES
from tinyreason.errors import UserError
from tinyreason.options import Options, chosen
from tinyreason.untrusted import shown

MOST_DIGITS = 1 << 63  # a whole number beyond it fits no counter of ours


def from_plain(schema: type, stated: Any, key: str = ""):
    """An instance of the dataclass `schema` with the values `stated`; `key` is where they stand.

    What an axis of a run holds depends on its name. Raises UserError, one line.
    """
    if not isinstance(stated, Mapping):
        raise UserError(f"{key or 'the configuration'} is {shown(stated)}, not an object")
    if key in AXES:
        schema = chosen(AXES[key], f"{key}.name", stated.get("name")).Config
    prefix = f"{key}." if key else ""
    hints, names = get_type_hints(schema), [one.name for one in fields(schema)]
    for name in sorted(stated.keys() - set(names), key=str):
        raise UserError(f"{prefix}{shown(name)} is no option; it has {', '.join(names)}")
    for one in fields(schema):
        if one.name not in stated and one.default is MISSING:
            raise UserError(f"{prefix}{one.name} is missing")
    given = [name for name in names if name in stated]
    return schema(**{n: value_of(hints[n], stated[n], f"{prefix}{n}") for n in given})


def value_of(hint: Any, value: Any, key: str) -> Any:
    """`value`, if it is of the type `hint`: Options, a plain type or a list of it; or None."""
    if hint is Any:
        return value
    if isinstance(hint, UnionType):
        inner = [one for one in get_args(hint) if one is not type(None)]
        return None if value is None else value_of(inner[0], value, key)
    if get_origin(hint) is dict:
        return value_of(dict, value, key)
    if get_origin(hint) is list:
        (inner,) = get_args(hint)
        return [value_of(inner, one, key) for one in value_of(list, value, key)]
    if issubclass(hint, Options):
        return from_plain(hint, value, key)
    if hint is float and type(value) is int and abs(value) < MOST_DIGITS:
        return float(value)
    fits = type(value) is hint and not (hint is int and abs(value) >= MOST_DIGITS)
    if not fits:
        raise UserError(f"{key}={shown(value)} must be {NAMES.get(hint, hint.__name__)}")
    return value


NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}
