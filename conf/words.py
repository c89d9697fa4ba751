"""The words that a user typed, before Hydra reads them: paths and grids are taken as they are, and
the options of other trainers answered with ours.
"""

import re
from collections.abc import Sequence

from conf import foreign
from tinyreason.errors import UserError

AS_THEY_ARE = ("puzzle", "run", "out", "json", "answers", "source", "init", "name", "to")
AS_THEY_ARE += ("checkpoint", "config", "dataset", "resume", "task.source", "task.alphabet")
AS_THEY_ARE += ("task.columns",)
MEANT = re.compile(r"null|true|false|auto|\?\?\?|['\"].*|", re.DOTALL)  # said in Hydra's own words
PLAIN = re.compile(r"[\w./~@:+%-]*[A-Za-z/~][\w./~@:+%-]*", re.ASCII)  # no quotes needed
FLAGS = re.compile(
    r"-\w$|--(help|hydra-help|version|cfg|resolve|package|run|multirun|shell-completion"
    r"|config-path|config-name|config-dir|experimental-rerun|info)(=.*)?$|-sc"
)


def mended(words: Sequence[str], known: Sequence[str]) -> list[str]:
    """The words as Hydra has to get them. `known` are the keys of the command. Raises UserError for
    an option that another trainer has.
    """
    sweep = any(word in ("-m", "--multirun") for word in words)
    found = []
    for word in words:
        refuse_foreign(word, known)
        key, equals, value = word.partition("=")
        if equals and key.lstrip("+") in AS_THEY_ARE:
            word = f"{key}={quoted(value, sweep)}"
        found.append(word)
    return found


def refuse_foreign(word: str, known: Sequence[str]) -> None:
    """Raises UserError for a word of another trainer."""
    key = word.lstrip("-+~").partition("=")[0]
    is_flag = word.startswith("--")
    if (is_flag and FLAGS.match(word)) or (not is_flag and (key in known or "=" not in word)):
        return
    if told := foreign.answer(word):
        raise UserError(told)
    if is_flag:
        raise UserError(f"{word}: options are written key=value, as in optim.lr=1e-3; see --help")


def quoted(value: str, sweep: bool = False) -> str:
    """A value that Hydra reads as the text that it is; a list element by element; in a sweep, where
    commas separate choices, as it was typed.
    """
    plain = PLAIN.fullmatch(value) and not is_number(value)
    if MEANT.fullmatch(value) or plain or (sweep and "," in value):
        return value
    if value.startswith("[") and value.endswith("]") and not re.search(r"['\"{\[]", value[1:]):
        return "[" + ",".join(quoted(part.strip(), sweep) for part in value[1:-1].split(",")) + "]"
    text = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", value)
    text = re.sub(r"(\\+)$", lambda found: found[1] * 2, text)
    return f"'{text}'"


def is_number(text: str) -> bool:
    """What Hydra would read as one: 1e5, 1_000, nan."""
    try:
        float(text.replace("_", ""))
    except ValueError:
        return False
    return True
