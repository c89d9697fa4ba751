"""Where puzzles come from when they are not generated: CSV files, a built data set, the Hugging
Face hub.

Nothing here knows what a puzzle means. Whatever is missing raises UserError, one line.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from data import dataset as folder
from tinyreason.errors import UserError
from tinyreason.hub import download
from tinyreason.puzzle import SPLITS, Facts, Puzzles

KINDS = (
    "'generate', a file of puzzles, a pair "
    "'[train.csv,test.csv]', a directory with train.csv and test.csv, "
    "a directory written by data.build, 'hub:owner/name[@revision]'"
)
ENDS = re.compile(r"\.(csv|tsv|txt|jsonl|json|sdm|parquet)(\.(gz|bz2|xz|zip))?|\.(zip|npy)")
HUB_FILES = [
    "*.csv",
    "*.json",
    "*.npy",
    "*.gz",
    "*.parquet",
]  # data only: nothing that could be executed or unpickled

Source = str | Path | Sequence[str | Path]


def resolve(source: Source) -> Path | list[Path]:
    """The existing local path, or pair of paths, that `task.source` names; `hub:` is downloaded or
    found in its cache.

    A path that was resolved before comes back unchanged.
    """
    if isinstance(source, str) and source.startswith("hub:"):
        return download(source, "task.source", "dataset", HUB_FILES)
    if isinstance(source, str | Path):
        return _existing(source)
    if not isinstance(source, Sequence) or len(source) != 2:
        raise UserError(
            f"task.source={source}: use generate, a path, "
            "or a list of two files, [train.csv,test.csv]"
        )
    return [_existing(one) for one in source]


def is_folder(source: Source) -> bool:
    """Whether the source is a data set that `data.build`, HRM or TRM wrote."""
    path = resolve(source)
    return isinstance(path, Path) and (path / "train" / "dataset.json").is_file()


def folder_splits(source: Source) -> tuple[Facts, dict[str, Puzzles], list[str]]:
    """The facts, the splits by name, and the identifier names of such a folder."""
    return folder.read(resolve(source))


def files_of(path: Path | list[Path]) -> dict[str, Path]:
    """The file of each split; "all" where there is one, which the task then splits."""
    if isinstance(path, list):
        return dict(zip(("train", "test"), path, strict=True))
    if path.is_file():
        return {"all": path}
    found = {split: file_in(path, split) for split in SPLITS}
    found = {split: file for split, file in found.items() if file}
    if "train" in found and "test" in found:
        return found
    missing = "test" if "train" in found else "train"
    raise UserError(
        f"{path}: no {missing}.csv, {missing}.csv.gz or train/dataset.json in it; "
        f"a source is {KINDS}"
    )


def _existing(source: str | Path) -> Path:
    try:
        path = Path(source).expanduser()
        found = path.exists()
    except (OSError, RuntimeError, ValueError):  # a name too long, the home of nobody, a NUL
        found = False
    if not found:
        raise UserError(
            f"task.source={str(source)!r}: no such file or directory; a source is {KINDS}"
        )
    return path


def file_in(directory: Path, split: str) -> Path | None:
    """The file of a split: its name, whatever it ends in. Raises UserError for two."""
    found = sorted(
        path
        for path in directory.glob(f"{split}.*")
        if path.is_file() and ENDS.fullmatch(path.name.removeprefix(split))
    )
    if len(found) > 1:
        raise UserError(
            f"{directory}: holds both {found[0].name} and {found[1].name}; name the files you mean"
        )
    return found[0] if found else None
