"""Where puzzles come from when they are not generated: CSV files, a built data set, the Hugging
Face hub.

Nothing here knows what a puzzle means: a question and an answer are strings of the right length,
and the task judges their characters. Whatever is missing or malformed raises UserError, one line:
`path:row: what is wrong`.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from data import dataset as folder
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Puzzles

MAX_BYTES = 4 << 30  # of a file, after decompression; the whole of sudoku-extreme is below 1 GB
MAX_LINE = 100_000  # bytes of one line, below the csv module's own limit for a field (131,072)
KINDS = (
    "'generate', a CSV or CSV.gz file, a pair "
    "'[train.csv,test.csv]', a directory with train.csv and test.csv, "
    "a directory written by data.build, 'hub:owner/name[@revision]'"
)
HUB_FILES = [
    "*.csv",
    "*.json",
    "*.npy",
    "*.gz",
]  # data only: nothing that could be executed or unpickled
HUB_PART = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"
HUB_NAME = re.compile(rf"hub:({HUB_PART}/{HUB_PART})(?:@({HUB_PART}(?:/{HUB_PART})*))?", re.ASCII)

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


def split_files(source: Source) -> tuple[Path, Path | None]:
    """The training and the test CSV; no test CSV where the source is a single file, which the task
    then splits.
    """
    path = resolve(source)
    if isinstance(path, list):
        return path[0], path[1]
    if path.is_file():
        return path, None
    return _csv_in(path, "train"), _csv_in(path, "test")


def read_csv(path: Path, seq_len: int) -> list[tuple[int, str, str]]:
    """(row, question, answer) of every row; the header is row 1.

    The columns `question` and `answer` must be there, others are ignored. Both strings have
    `seq_len` characters and come back as written: in a maze a space is an open cell. A byte-order
    mark is accepted, since spreadsheets write it.
    """
    rows = []
    with closing(_lines(path)) as lines:
        table = csv.reader(lines, strict=True)
        try:
            header = next(table, [])
            question, answer = _columns(path, header)
            for row in table:
                if len(row) != len(header) or not len(row[question]) == len(row[answer]) == seq_len:
                    raise UserError(f"{path}:{table.line_num}: {_misfit(row, header, seq_len)}")
                rows.append((table.line_num, row[question], row[answer]))
        except csv.Error as error:
            raise UserError(f"{path}:{table.line_num}: {error}") from None
    if not rows:
        raise UserError(f"{path}: no puzzles, only a header")
    return rows


def choose(
    total: int, counts: dict[str, int | None], seed: int, where: Path
) -> dict[str, np.ndarray]:
    """Disjoint random choices among the `total` rows of a file, in file order each; None takes all
    that are left.

    `counts` are served in turn; a file with too few rows for one raises UserError, which names the
    option. Only "valid_puzzles" makes do with what is left, possibly nothing.
    """
    order, at, chosen = np.random.Generator(np.random.PCG64(seed)).permutation(total), 0, {}
    for name, count in counts.items():
        left = total - at
        if count is not None and count > left and name != "valid_puzzles":
            raise UserError(
                f"task.{name}={count}: {where} has {left} of "
                f"its {total} rows left; null takes all of them"
            )
        taken = left if count is None else min(count, left)
        chosen[name] = np.sort(order[at : at + taken])
        at += taken
    return chosen


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


def _csv_in(directory: Path, split: str) -> Path:
    found = [path for end in ("csv", "csv.gz") if (path := directory / f"{split}.{end}").is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{directory}: holds both {found[0].name} and {found[1].name}; name the files you mean"
        )
    raise UserError(
        f"{directory}: no {split}.csv, {split}.csv.gz or "
        f"train/dataset.json in it; a source is {KINDS}"
    )


def hub_parts(name: str, key: str) -> tuple[str, str | None]:
    """(owner/name, revision) of `hub:owner/name[@revision]`, the value of the option `key`.

    Raises UserError.
    """
    found = HUB_NAME.fullmatch(name)
    if found is None or ".." in name or "--" in found[1]:
        raise UserError(f"{key}={name!r}: not of the form hub:owner/name[@revision]")
    return found[1], found[2]


def download(name: str, key: str, kind: str, files: list[str]) -> Path:
    """The local copy of the `files` (patterns) of a `kind` ("dataset", "model") on the hub; `name`
    as in `hub_parts`.

    Found in the hub's cache if it is there. Raises UserError, one line.
    """
    repository, revision = hub_parts(name, key)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(f"{key}=hub:... needs the hub extra: pip install -e '.[hub]'") from None
    try:
        return Path(
            snapshot_download(repository, repo_type=kind, revision=revision, allow_patterns=files)
        )
    except (
        Exception
    ) as error:  # every transport fails in its own class; all of them are the user's to mend
        raise UserError(f"{key}={name}: cannot be downloaded: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """One line about what a library raised."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def _lines(path: Path) -> Iterator[str]:
    """The decoded lines of a CSV or CSV.gz, refused before they can fill the memory."""
    number = size = 0
    try:
        if not path.is_file():
            raise UserError(f"{path}: not a file")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES >> 30} GiB")
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as raw:
            file = io.BufferedReader(raw, 1 << 20)  # gzip's own readline is several times slower
            while line := file.readline(MAX_LINE + 1):
                number += 1
                size += len(line)
                if len(line) > MAX_LINE:
                    raise UserError(f"{path}:{number}: longer than {MAX_LINE} bytes")
                if size > MAX_BYTES:
                    raise UserError(
                        f"{path}:{number}: the file is larger than "
                        f"{MAX_BYTES >> 30} GiB once decompressed"
                    )
                if b"\0" in line:
                    raise UserError(f"{path}:{number}: a NUL byte")
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{number}: not UTF-8 (byte {error.start + 1} of the row)") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}:{number + 1}: cannot be read: {error}") from None


def _columns(path: Path, header: list[str]) -> tuple[int, int]:
    """Where the question and the answer stand."""
    if not header:
        raise UserError(
            f"{path}:1: no header; the first row must name the columns question and answer"
        )
    for name in ("question", "answer"):
        if header.count(name) != 1:
            found = ",".join(header)[:80]
            raise UserError(
                f"{path}:1: {header.count(name)} columns named "
                f"{name!r} in the header {found!r}, not one"
            )
    return header.index("question"), header.index("answer")


def _misfit(row: list[str], header: list[str], seq_len: int) -> str:
    if len(row) != len(header):
        return f"{len(row)} fields, the header has {len(header)}"
    name = next(n for n in ("question", "answer") if len(row[header.index(n)]) != seq_len)
    return f"{name} has {len(row[header.index(name)])} characters, not {seq_len}"
