"""What a file determines is not asked: where puzzles come from files, the values that nobody typed
give way to what is in them.
"""

from collections.abc import Iterable

from omegaconf import DictConfig

COUNTS = ("train_puzzles", "valid_puzzles", "test_puzzles")


def files_decide(config: DictConfig, words: Iterable[str]) -> None:
    """Change `config.task` in place; `words` are those that the user typed.

    Sides and canvas become null: as in the files. Counts become "auto", what suits the files; those
    of ARC null, all tasks.
    """
    task = config.get("task")
    typed = {word.lstrip("+").split("=")[0] for word in words}
    if not task or task.get("source") in (None, "generate"):
        return
    if task.name == "arc" and "task.source" not in typed:
        return  # a recipe's source, with its own numbers
    values = dict.fromkeys(COUNTS, None if task.name == "arc" else "auto")
    if task.source != "bank":
        values |= {"side": None, "canvas": None}
    for key, value in values.items():
        if key in task and f"task.{key}" not in typed:
            task[key] = value
