"""What a file determines is not asked: where puzzles come from files, the values that nobody typed
give way to what is in them.
"""

from collections.abc import Iterable

from omegaconf import DictConfig

GENERATED = ("generate",)
ONES_OWN = ("side",)  # null: as in the files
COUNTS = ("train_puzzles", "valid_puzzles", "test_puzzles")  # auto: what suits the files


def files_decide(config: DictConfig, words: Iterable[str]) -> None:
    """Change `config.task` in place; `words` are those that the user typed."""
    task = config.get("task")
    if task is None or task.name == "arc" or task.source in GENERATED:
        return
    typed = {word.lstrip("+").split("=")[0] for word in words}
    for key in ONES_OWN:
        if key in task and f"task.{key}" not in typed and task.source != "bank":
            task[key] = None
    for key in COUNTS:
        if key in task and f"task.{key}" not in typed:
            task[key] = "auto"
