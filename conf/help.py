"""The page that `--help` prints: purpose, examples, and a command's own options.

Everything stands somewhere else already: purpose, examples, defaults and remarks in the yaml files,
ranges beside the fields of a configuration, choices in the folders of the groups. Commands without
a yaml print the docstring of their module.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

CONF = Path(__file__).parent
WORDS = ("-h", "--help")
WIDTH = 100
COLUMN = 26  # where remarks begin
MOST_TOLD = 1e15  # no bound that anybody meets


def asked(words: Sequence[str]) -> bool:
    """Whether a user wants the page."""
    return any(word in WORDS for word in words)


def page(config_name: str, words: Sequence[str]) -> str:
    """The page of the command whose options are in `conf/<config_name>.yaml`, with the options of
    the choices among `words`.
    """
    text = (CONF / f"{config_name}.yaml").read_text(encoding="utf-8")
    schema = schema_of(config_name)
    groups = groups_in(text, words)
    parts = [head_of(text)]
    if groups:
        lines = [line_of(f"{g}={c}", " | ".join(choices_of(g))) for g, c in groups.items()]
        if "- experiment: null" in text:
            lines.append(line_of("experiment=null", " | ".join(choices_of("experiment"))))
        parts.append("\n".join(["Choices:", *lines]))
    parts.append("\n".join(["Options:", *option_lines(text, "", schema, groups)]))
    for group, choice in groups.items():
        text = (CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")
        # a model and a scale set options of other groups too
        prefix = "" if "@package _global_" in text else f"{group}."
        if lines := option_lines(text, prefix, schema, groups):
            parts.append("\n".join([f"Options of {group}={choice}:", *lines]))
    return "\n\n".join(parts)


def plain_page(doc: str) -> str:
    """The docstring of a module, as a page."""
    return textwrap.dedent(doc).strip()


def head_of(text: str) -> str:
    """The comment at the top of a yaml."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" "))
    return "\n".join(lines)


def groups_in(text: str, words: Sequence[str]) -> dict[str, str]:
    """Group -> its choice, from the list of defaults and the words of a user."""
    defaults = re.findall(r"^  - (\w+): (\w+)", text, re.MULTILINE)
    typed = dict(word.split("=", 1) for word in words if "=" in word)
    found = {}
    for group, choice in defaults:
        if choice != "null" and (CONF / group).is_dir():
            wanted = typed.get(group, choice)
            found[group] = wanted if (CONF / group / f"{wanted}.yaml").is_file() else choice
    return found


def choices_of(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def option_lines(text: str, prefix: str, schema: type | None, groups: dict[str, str]) -> list[str]:
    """`key=default  remark (range)` of every value in a yaml, those in groups of values too."""
    lines, inside = [], ""
    for line in text.split("\nhydra:")[0].splitlines():
        found = re.match(r"( *)([\w]+):(?: +([^#]*?))? *(?:# (.*))?$", line)
        if not found or found[2] == "defaults":
            continue
        indent, key, value, remark = found.groups()
        inside = inside if indent else ""
        if not value:
            inside = f"{key}."
            continue
        path = f"{prefix}{inside}{key}"
        if key == "name" and "." in path:  # that of the choice
            continue
        limits = limits_of(schema, path, groups)
        known = remark and limits[1:-1] in remark
        told = " ".join(part for part in (remark, "" if known else limits) if part)
        lines.append(line_of(f"{path}={'' if value == '???' else value}", told))
    return lines


def line_of(option: str, remark: str) -> str:
    """An option and what is to be said of it, wrapped beside it."""
    begin = f"  {option}".ljust(COLUMN)
    if not remark:
        return begin.rstrip()
    if not begin.endswith(" "):
        begin += " "
    wrapped = textwrap.wrap(remark, WIDTH - COLUMN) or [""]
    first = wrapped if len(begin) <= COLUMN else textwrap.wrap(remark, max(WIDTH - len(begin), 30))
    rest = [" " * COLUMN + line for line in first[1:]]
    return "\n".join([begin + first[0], *rest])


def limits_of(schema: type | None, path: str, groups: dict[str, str]) -> str:
    """The range and the choices of a field, as a remark; "" where it has none."""
    *parts, name = path.split(".")
    for part in parts:
        schema = part_of(schema, part, groups.get(part)) if is_dataclass(schema) else None
    found = [one for one in fields(schema) if one.name == name] if is_dataclass(schema) else []
    return told(found[0].metadata) if found and found[0].metadata else ""


def told(limits: Any) -> str:
    """A range or choices in words."""
    if limits["choices"]:
        return f"({' | '.join(limits['choices'])})"
    if limits["least"] is None:
        return ""
    if limits["most"] is None or limits["most"] > MOST_TOLD:
        allowed = [f"{limits['least']:g} or more", *limits["words"]]
        return f"({', '.join(allowed)})"
    return f"({limits['least']:g} to {limits['most']:g})"


def schema_of(config_name: str) -> type | None:
    """The types of a command's configuration."""
    from conf import schema  # torch with it, for pages alone

    names = {"train": "Config", "solve": "SolveConfig", "build": "BuildConfig"}
    names["diagnose"] = "DiagnoseConfig"
    return getattr(schema, names.get(config_name, ""), None)


def part_of(schema: type, group: str, choice: str | None) -> type | None:
    """The types of a group, those of its choice where the options depend on it."""
    from tinyreason.axes import AXES

    if group not in AXES or choice is None:
        return get_type_hints(schema).get(group)
    entry = AXES[group].get(choice)
    return entry.Config if entry else get_type_hints(schema).get(group)
