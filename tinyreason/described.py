"""What a trained model says of itself, beside its weights: how it is built, and what its puzzles
are.

A run says it in `config.yaml` and `puzzles.json`, an export in `config.json`.
"""

from dataclasses import dataclass, fields
from typing import Any

from tinyreason.depth import DepthConfig
from tinyreason.errors import UserError
from tinyreason.gradient import GradientConfig
from tinyreason.halting import HaltingConfig
from tinyreason.models import ModelConfig
from tinyreason.options import Options
from tinyreason.puzzle import Facts
from tinyreason.rules import RULES, Notation
from tinyreason.solver import EvalConfig
from tinyreason.untrusted import shown

FACTS = {  # key: (least, most)
    "vocab_size": (1, 256),
    "pad_id": (0, 255),
    "ignore_label_id": (0, 255),
    "blank_identifier_id": (0, 1 << 31),
    "num_puzzle_identifiers": (1, 1 << 31),
}
MOST_TASKS = 20_000  # of ARC, in one table of puzzle embeddings


@dataclass
class About(Options):
    """What the puzzles of a run are."""

    facts: Any  # Facts
    notation: Notation
    # of ARC: [name, copies, digest of the copies] of each task, in the order of its rows in the
    # table of puzzle embeddings; None where puzzles have no identifier of their own
    identifiers: Any

    def settle(self, shared: bool = False) -> None:
        """Check every value, and make `facts` what it states. Raises UserError; bounds are lower
        for what strangers share.
        """
        self.facts = facts_of(self.facts)
        self.check(shared=shared)
        check_notation(self.notation, self.facts)
        check_identifiers(self.identifiers, self.facts)


@dataclass
class Built(Options):
    """How a model is built, examined, and where its puzzles came from."""

    model: ModelConfig
    gradient: GradientConfig
    depth: DepthConfig
    halting: HaltingConfig
    eval: EvalConfig
    task: dict[str, Any]  # its options; how its puzzles were chosen


@dataclass
class Described(Built, About):
    """A trained model."""


def facts_of(stated: Any) -> Facts:
    """The facts in a JSON object. Raises UserError for those that no puzzles have."""
    if isinstance(stated, Facts):
        return stated
    if not isinstance(stated, dict) or stated.keys() != {field.name for field in fields(Facts)}:
        raise UserError(f"facts must have {', '.join(field.name for field in fields(Facts))}")
    for key, (least, most) in FACTS.items():
        value = stated[key]
        if not (whole(value, least, most) or (value is None and key == "ignore_label_id")):
            raise UserError(
                f"facts.{key} must be a whole number from {least} to {most}, not {shown(value)}"
            )
    for key in ("grid", "box"):
        if not is_pair(stated[key]) and not (key == "box" and stated[key] is None):
            raise UserError(f"facts.{key} must be [rows,columns], each from 1 to 256")
    grid, box = tuple(stated["grid"]), stated["box"] and tuple(stated["box"])
    if box and any(side % part for side, part in zip(grid, box, strict=True)):
        raise UserError(f"facts.box={stated['box']}: no grid of {stated['grid']} has such boxes")
    return Facts(**stated | {"grid": grid, "box": box})


def check_notation(notation: Notation, facts: Facts) -> None:
    """Raises UserError for one that such puzzles cannot have."""
    rules, alphabet = notation.rules, notation.alphabet
    if rules not in RULES:
        raise UserError(f"notation.rules={shown(rules)} is unknown; use one of {', '.join(RULES)}")
    tokens = facts.vocab_size - 1
    spelt = len(set(alphabet)) == len(alphabet) == tokens and alphabet.isprintable()
    if not spelt and not (alphabet == "" and rules in ("arc", "grid")):
        raise UserError(f"notation.alphabet must have {tokens} different printable characters")
    if rules == "sudoku" and facts.grid != square_of(facts.box):
        raise UserError(f"facts.box={facts.box}: a Sudoku of {facts.grid} has no such boxes")
    if rules == "maze" and tokens != 5:
        raise UserError(f"facts.vocab_size={facts.vocab_size}: a maze has 6 tokens")


def square_of(box: tuple[int, int] | None) -> tuple[int, int] | None:
    """The grid that has such boxes."""
    return box and (box[0] * box[1], box[0] * box[1])


def check_identifiers(identifiers: Any, facts: Facts) -> None:
    """Raises UserError unless they are names, copies and digests that fill the table."""
    if identifiers is None:
        return
    if not isinstance(identifiers, list) or len(identifiers) > MOST_TASKS:
        raise UserError("identifiers must be a list of tasks")
    if not all(is_task(one) for one in identifiers):
        raise UserError("identifiers must be [name, copies, digest] for each task")
    if 1 + sum(count for _, count, _ in identifiers) != facts.num_puzzle_identifiers:
        raise UserError(f"identifiers are not {facts.num_puzzle_identifiers} with the blank one")


def is_task(value: Any) -> bool:
    """[name, copies, digest]."""
    if not isinstance(value, list) or len(value) != 3:
        return False
    name, count, digest = value
    return isinstance(name, str) and whole(count, 1) and isinstance(digest, str)


def is_pair(value: Any) -> bool:
    """[rows, columns] of at most 256 x 256 cells."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(whole(side, 1, 256) for side in value)
    )


def whole(value: object, least: int, most: int = 1 << 31) -> bool:
    """A whole number in least..most; rejects bools and floats."""
    return type(value) is int and least <= value <= most
