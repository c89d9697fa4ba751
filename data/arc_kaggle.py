"""Kaggle's files of ARC tasks, by their names: `..._training_challenges.json` holds tasks without
the answers to their test inputs, `..._training_solutions.json` beside it has these.
"""

import re
from pathlib import Path

from data.arc_tree import Folder
from tinyreason.errors import UserError

KNOWN = ("training", "evaluation", "test")  # sets; the answers to the last are Kaggle's
CHALLENGES, SOLUTIONS = "challenges.json", "solutions.json"  # after a "_", once after a "-"
NAME = re.compile(rf"(?:.*[_-])?([^_-]*)[_-]({CHALLENGES}|{SOLUTIONS})", re.DOTALL)


def is_kaggle(file: Path) -> bool:
    """A file of challenges or of solutions."""
    return bool(NAME.fullmatch(file.name))


def kaggle_files(folder: Folder) -> dict[str, list[Path]]:
    """The challenges of each known set, and its solutions if they are there.

    Raises UserError for two of one set, solutions alone, and sets of which none is known.
    """
    for wrong in (told for path, told in folder.barred.items() if is_kaggle(path)):
        raise UserError(wrong)
    found = {CHALLENGES: {}, SOLUTIONS: {}}
    for file in filter(is_kaggle, folder.files):
        name, part = NAME.fullmatch(file.name).groups()
        if (other := found[part].setdefault(name, file)) != file:
            raise UserError(f"{other} and {file}: two of one set; move one of them away")
    challenges, solutions = found.values()
    for name, file in solutions.items():
        if name not in challenges or _stem(challenges[name]) != _stem(file):
            raise UserError(
                f"{file}: answers alone; put their challenges beside it, or move it away"
            )
    if not set(KNOWN) & challenges.keys():
        file = min(challenges.values())
        raise UserError(f"{file}: none of the sets {', '.join(KNOWN)}; use task.source={file}")
    return {
        name: [file, solutions[name]] if name in solutions else [file]
        for name, file in challenges.items()
        if name in KNOWN
    }


def solutions_of(challenges: Path) -> list[Path]:
    """The file of the solutions, if it lies beside the challenges."""
    stem = challenges.name.removesuffix(CHALLENGES)
    if stem == challenges.name:
        return []
    stems = dict.fromkeys((stem, re.sub("_$", "-", stem), re.sub("-$", "_", stem)))
    found = [challenges.with_name(stem + SOLUTIONS) for stem in stems]
    return [file for file in found if file.is_file()][:1]


def _stem(file: Path) -> str:
    """What the names of challenges and solutions share."""
    return file.name.removesuffix(CHALLENGES).removesuffix(SOLUTIONS).replace("-", "_")
