"""What lies below a directory of ARC tasks: its folders and their JSON files, none of them opened.

Anybody may have left anything there, so nothing is read twice and nothing is lost. A link is
followed where it stays within the directory; a file or folder that was reached already, as by a
link to a folder above, is barred, and so is what lies too deep. Whoever reads a folder refuses what
is barred in it; whoever does not says that it is not read. macOS's "._" files and hidden folders
hold no tasks and are passed over.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tinyreason import untrusted
from tinyreason.errors import UserError

DEEPEST = 8  # folders below the directory
MAX_ENTRIES = 500_000  # of any kind: no folder of tasks, but a whole disk
PACKED = (".jsonl", ".json.gz", ".json.bz2", ".json.xz", ".zip", ".tar", ".tgz", ".tar.gz")


class Folder(NamedTuple):
    """A folder. `barred` says of each entry that cannot be read why; `packed` may hold tasks, but
    in no form that is read here.
    """

    path: Path
    files: list[Path]  # *.json
    folders: list["Folder"]
    barred: dict[Path, str]
    packed: list[Path]

    def inside(self) -> Iterator["Folder"]:
        """Itself and all below."""
        yield self
        for below in self.folders:
            yield from below.inside()

    def all_files(self) -> list[Path]:
        """The JSON files in it and below."""
        return [file for folder in self.inside() for file in folder.files]

    def holds_any(self) -> bool:
        """Whether a JSON file lies in it or below, or may do so."""
        return any(folder.files or folder.barred for folder in self.inside())

    def refuse_barred(self) -> None:
        """Raises UserError for what cannot be read, in it or below."""
        for folder in self.inside():
            for wrong in folder.barred.values():
                raise UserError(wrong)


def walk(root: Path, max_files: int) -> Folder:
    """The tree below `root`. Raises UserError where it is too large to be one of tasks."""
    return _Walk(root, max_files).folder(root, root.resolve(), 0)


class _Walk:
    def __init__(self, root: Path, max_files: int):
        self.root, self.max_files = root, max_files
        self.homes = untrusted.homes_of(root)
        self.seen: dict[Path, Path] = {}  # by the place where it really lies
        self.entries = self.files = 0

    def folder(self, path: Path, real: Path, depth: int) -> Folder:
        """`real` is the path without links."""
        self.seen[real] = path
        found = Folder(path, [], [], {}, [])
        for entry in self.entries_of(path, found.barred):
            place = Path(entry.path)
            is_link, is_folder = entry.is_symlink(), os.path.isdir(place)
            is_json = place.suffix.lower() == ".json"
            if not (is_folder or is_json or (is_link and _may_be_a_folder(place))):
                found.packed.extend([place] * entry.name.lower().endswith(PACKED))
            elif is_link and (wrong := untrusted.wrong_link(place, self.homes)):
                found.barred[place] = wrong
            elif is_json or is_folder:
                home = place.resolve() if is_link else real / entry.name
                add = self.add_folder if is_folder else self.add_file
                add(found, place, home, depth)
            else:
                told = "a link that leads to nothing; remove it, or put there what it points to"
                found.barred[place] = f"{place}: {told}"
        return found

    def entries_of(self, path: Path, barred: dict[Path, str]) -> list[os.DirEntry]:
        """Those that count, links last, so that what they lead to is known by its own name."""
        found = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    self.entries += 1
                    if self.entries > MAX_ENTRIES:
                        told = f"{self.root}: more than {MAX_ENTRIES:,} files and folders"
                        raise UserError(f"{told}; use task.source=FOLDER, that of the tasks")
                    if not _passed_over(entry):
                        found.append(entry)
        except OSError as error:
            barred[path] = f"{path}: cannot be read: {error.strerror}"
        return sorted(found, key=lambda entry: (entry.is_symlink(), entry.name))

    def add_folder(self, found: Folder, path: Path, real: Path, depth: int) -> None:
        if real in self.seen:
            found.barred[path] = _twice(path, self.seen[real])
        elif depth == DEEPEST:
            told = f"{path}: more than {DEEPEST} folders deep"
            found.barred[path] = f"{told}; use task.source=FOLDER, one nearer to the tasks"
        else:
            found.folders.append(self.folder(path, real, depth + 1))

    def add_file(self, found: Folder, path: Path, real: Path, _depth: int) -> None:
        self.files += 1
        if self.files > self.max_files:
            raise UserError(f"{self.root}: more than {self.max_files:,} files of JSON")
        is_blob = any(real.is_relative_to(home) for home in self.homes[1:])
        if real in self.seen and not is_blob:  # equal files of the hub share a blob
            found.barred[path] = _twice(path, self.seen[real])
            return
        self.seen[real] = path
        found.files.append(path)


def _may_be_a_folder(link: Path) -> bool:
    """A link to nothing that is found, which by its name was no file."""
    return not link.suffix and not os.path.exists(link)


def _passed_over(entry: os.DirEntry) -> bool:
    """Hidden folders, and what macOS puts beside each file on foreign disks and in archives."""
    if entry.name.startswith("._"):
        return True
    return entry.name.startswith(".") and os.path.isdir(entry.path)


def _twice(path: Path, other: Path) -> str:
    return f"{path} and {other} are the same by a link, and would be read twice; remove the link"
