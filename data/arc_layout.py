"""Where in a directory its ARC tasks lie: Kaggle's files, the folders training and evaluation, or
JSON files in whatever folders.

There must be one reading. Where there are two, both are named and refused: nobody notices that
tasks were read as another set than they are, or not at all. What holds no tasks is told as not
read.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from data.arc_kaggle import is_kaggle, kaggle_files
from data.arc_tree import Folder
from tinyreason.errors import UserError

SETS = ("training", "evaluation")
NO_TASKS = "sample_submission.json"  # lies beside Kaggle's files; known, so not worth a note

HoldsTasks = Callable[[Path], bool]


class Layout(NamedTuple):
    """One of `kaggle`, `sets` and `tasks` is there."""

    kaggle: dict[str, list[Path]]  # set: its challenges, and its solutions if they are known
    sets: dict[str, Folder]
    tasks: Folder | None
    unread: list[str]  # what lies there besides, as seen from the directory


class Place(NamedTuple):
    """A folder that can be a source, and what of it is named."""

    folder: Path
    named: Path


def layout(root: Folder, holds_tasks: HoldsTasks) -> Layout:
    """How the directory is read. Raises UserError, which names both, where there are two ways.

    `holds_tasks` tells whether there are tasks in a JSON file.
    """
    kaggle = [one for one in root.inside() if any(map(is_kaggle, one.files))]
    homes = list(homes_in(root))
    places = [Place(one.path, min(filter(is_kaggle, one.files))) for one in kaggle]
    places += [Place(one.path, max(sets_in(one).items())[1].path) for one in homes]
    if len(places) > 1:
        refuse_two(root, *places[:2])
    if kaggle:
        found = Layout(kaggle_files(kaggle[0]), {}, None, [])
        read = {file for files in found.kaggle.values() for file in files}
        places = [Place(kaggle[0].path, min(read))]
    elif homes:
        found = Layout({}, sets_in(homes[0]), None, [])
        read = {one.path for one in found.sets.values()}
    else:
        refuse_train(root)
        found = Layout({}, {}, root, [])
        read = {root.path}
    for path, files in left_over(root, read):
        beside = homes and path.is_relative_to(homes[0].path)
        for file in [] if beside else filter(holds_tasks, files):
            refuse_two(root, places[0], Place(file.parent, file))
        if path.name != NO_TASKS:
            name = path.relative_to(root.path).as_posix()
            found.unread.append(name + "/" * (path not in files and path.is_dir()))
    return found


def homes_in(folder: Folder) -> Iterator[Folder]:
    """The folders that hold training or evaluation, or both, but not those within these."""
    sets = [one.path for one in sets_in(folder).values()]
    if sets:
        yield folder
    for below in folder.folders:
        if below.path not in sets:
            yield from homes_in(below)


def sets_in(folder: Folder) -> dict[str, Folder]:
    """The folders training and evaluation in a folder, if tasks may lie there."""
    found = {}
    for below in folder.folders:
        name = below.path.name.lower()
        if name in SETS and below.holds_any():
            if name in found:
                raise UserError(f"{found[name].path} and {below.path}: two of one set; keep one")
            found[name] = below
    for path, wrong in folder.barred.items():
        if found and path.name.lower() in SETS:
            raise UserError(wrong)
    return found


def left_over(folder: Folder, read: set[Path]) -> Iterator[tuple[Path, list[Path]]]:
    """What is not among the files and whole folders that are `read`: files, or folders as a whole;
    with the JSON files of each that can be looked into.
    """
    if folder.path in read:
        yield from ((file, []) for one in folder.inside() for file in one.packed)
        return
    yield from ((file, [file]) for file in folder.files if file not in read)
    yield from ((path, []) for path in [*folder.packed, *folder.barred])
    for one in folder.folders:
        if any(path.is_relative_to(one.path) for path in read):
            yield from left_over(one, read)
        elif one.holds_any():
            yield one.path, one.all_files()


# ---- two readings


def refuse_two(root: Folder, first: Place, second: Place) -> None:
    """Raises UserError."""
    folders = dict.fromkeys(one.folder for one in (first, second) if one.folder != root.path)
    ways = " or ".join(f"task.source={folder}" for folder in folders)
    told = f"{root.path}: tasks in {first.named} and in {second.named}"
    raise UserError(f"{told}; " + (f"use {ways}" if ways else "move one of them away"))


def refuse_mixed(folder: Folder, holds_tasks: HoldsTasks) -> None:
    """Raises UserError for tasks in a folder and in one below it: of two sets, or of one and its
    copy.
    """
    for one in folder.inside():
        here = next(filter(holds_tasks, one.files), None) if one.folders else None
        if here is None:
            continue
        deeper = (file for below in one.folders for file in below.all_files())
        if there := next(filter(holds_tasks, deeper), None):
            told = f"{one.path}: tasks in it ({here.name}) and below it ({there})"
            raise UserError(f"{told}; move one of them away, or each into a folder of its own")


def refuse_train(root: Folder) -> None:
    """Raises UserError for a folder "train", which is no concept but a set by another name."""
    for one in root.inside():
        if one is not root and one.path.name.lower() == "train" and one.holds_any():
            use = f"rename it, or use task.source=[{one.path},FOLDER]"
            raise UserError(f"{one.path}: ARC's folders are named training and evaluation; {use}")
