"""Puzzles in parquet files, and in pairs of npy arrays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.json_table import as_text
from data.raw import Raw
from tinyreason.errors import UserError
from tinyreason.untrusted import read_npy_any


def parquet(path: Path) -> Raw:
    """Columns of a parquet file; needs the parquet extra."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(f"{path}: a parquet file; pip install 'tinyreason[parquet]'") from None
    try:
        names = ParquetFile(path).schema_arrow.names
    except (ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable parquet: {str(error)[:100]}") from None

    def rows() -> Iterator[tuple[int, list[str]]]:
        number = 0
        try:
            for batch in ParquetFile(path).iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, [field_text(row[name]) for name in names]
        except (ArrowException, OSError) as error:
            raise UserError(
                f"{path}:{number + 1}: not readable parquet: {str(error)[:100]}"
            ) from None

    return Raw(path, rows, names, "parquet")


def field_text(value: Any) -> str:
    """A value of a column; bytes and objects are no texts of puzzles."""
    return (
        as_text(value) if isinstance(value, str | int | float | list | None) else str(type(value))
    )


def arrays(path: Path) -> Raw:
    """`quizzes.npy` beside `solutions.npy`: whole numbers (N, S) or (N, rows, columns)."""
    answer = partner(path)
    found = [read_npy_any(one) for one in (path, answer) if one is not None]
    if len(found) == 2 and found[0].shape != found[1].shape:
        raise UserError(f"{answer}: shape {found[1].shape}, but {path.name} has {found[0].shape}")
    note = f"npy, answers in {answer.name}" if answer else "npy"

    def rows() -> Iterator[tuple[int, list[str]]]:
        for i in range(len(found[0])):
            yield i + 1, [as_text(array[i].tolist()) for array in found]

    return Raw(path, rows, ["question", "answer"][: len(found)], note)


def partner(path: Path) -> Path | None:
    """The file of answers beside one of questions: the same name but for the field's words."""
    for question, answer in zip(("question", "quiz", "puzzle", "input"), PARTNERS, strict=True):
        for one in answer:
            for end in ("s", "es", "zes", ""):
                name = path.stem.lower()
                if name.endswith(question + end):
                    for plural in ("s", ""):
                        other = path.with_name(
                            path.stem[: -len(question + end)] + one + plural + ".npy"
                        )
                        if other.is_file():
                            return other
    return None


PARTNERS = (
    ("answer", "solution"),
    ("solution", "answer"),
    ("solution", "answer"),
    ("label", "output"),
)
