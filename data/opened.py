"""Text files as people have them: plain or compressed, with a limit on everything.

Compression is seen from the first bytes, whatever the name says. A zip is read where it holds one
file; its name is never used as a path.
"""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tinyreason.errors import UserError

MAX_BYTES = 4 << 30  # of a file, after decompression; the whole of sudoku-extreme is below 1 GB
MAX_LINE = 100_000  # bytes of one line, below the csv module's own limit for a field (131,072)
MAX_EMPTY = 1000  # lines in a row
MAX_MEMBERS = 1000  # of a zip that is looked into
IDLE = ("__MACOSX/", ".DS_Store")  # what archivers add
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"PK\x03\x04": "zip"}
TEXTLESS = {b"PAR1": "a parquet file", b"\x93NUMPY": "an npy file", b"%PDF": "a PDF"}
TEXTLESS |= {b"PK\x05\x06": "an empty zip", b"\x89PNG": "a picture", b"SQLite": "a database"}
TEXTLESS |= {
    b"\xff\xfe": "UTF-16 text, save it as UTF-8",
    b"\xfe\xff": "UTF-16 text, save it as UTF-8",
}


def begins(path: Path) -> bytes:
    """The first bytes of a file. Raises UserError if it cannot be read."""
    try:
        if not path.is_file():
            raise UserError(f"{path}: not a file")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES >> 30} GiB")
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def kind_of(first: bytes, kinds: dict[bytes, str]) -> str | None:
    """What a file is, by its first bytes."""
    return next((kind for magic, kind in kinds.items() if first.startswith(magic)), None)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed while they are read. Raises UserError."""
    kind = kind_of(begins(path), MAGIC)
    if kind == "zip":
        with zipfile.ZipFile(path) as archive, archive.open(only_member(path, archive)) as file:
            yield file
        return
    openers = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    with openers.get(kind, open)(path, "rb") as file:
        yield file


def only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The file in a zip. Raises UserError unless there is exactly one, readable without a
    password.
    """
    if "[Content_Types].xml" in archive.namelist():
        raise UserError(f"{path}: an Excel workbook; save it as CSV (UTF-8)")
    if len(archive.infolist()) > MAX_MEMBERS:
        raise UserError(f"{path}: a zip of more than {MAX_MEMBERS} files; unpack the one you mean")
    found = [
        one
        for one in archive.infolist()
        if not one.is_dir()
        and not one.filename.startswith(IDLE[0])
        and not one.filename.endswith(IDLE[1])
    ]
    if len(found) != 1:
        names = ", ".join(one.filename[:40] for one in found[:3]) or "none"
        raise UserError(f"{path}: a zip of {len(found)} files ({names}), not one; unpack it")
    if found[0].flag_bits & 1:
        raise UserError(f"{path}: a zip with a password; unpack it")
    return found[0]


def lines_of(path: Path) -> Iterator[str]:
    """The decoded lines of a text file, refused before they can fill the memory.

    A byte-order mark is dropped, since spreadsheets write it. Raises UserError, `path:line: ...`.
    """
    number = size = empty = 0
    try:
        if kind := kind_of(begins(path), TEXTLESS):
            raise UserError(f"{path}: {kind}, not a text file of puzzles")
        with opened(path) as raw:
            file = io.BufferedReader(raw, 1 << 20)  # gzip's own readline is several times slower
            while line := file.readline(MAX_LINE + 1):
                number += 1
                size += len(line)
                if len(line) > MAX_LINE:
                    raise UserError(f"{path}:{number}: longer than {MAX_LINE} bytes")
                if size > MAX_BYTES:
                    limit = f"larger than {MAX_BYTES >> 30} GiB once decompressed"
                    raise UserError(f"{path}:{number}: the file is {limit}")
                empty = empty + 1 if line in (b"\n", b"\r\n") else 0
                if empty > MAX_EMPTY:
                    raise UserError(f"{path}:{number}: {MAX_EMPTY:,} empty lines in a row")
                if b"\0" in line:
                    raise UserError(f"{path}:{number}: a NUL byte")
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}:{number}: not UTF-8 (byte {error.start + 1} of the row); save it as UTF-8"
        ) from None
    except (*BROKEN, NotImplementedError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}:{number + 1}: cannot be read: {error}") from None


def text_of(path: Path, most: int) -> str:
    """The whole text of a file of at most `most` bytes, decompressed. Raises UserError."""
    content = bytes_of(path, most + 1)
    if len(content) > most:
        raise UserError(f"{path}: larger than {most >> 20} MiB; use one puzzle a line")
    if b"\0" in content:
        raise UserError(f"{path}:1: a NUL byte")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:1: not UTF-8 (byte {error.start + 1})") from None


def bytes_of(path: Path, most: int) -> bytes:
    """The first `most` bytes of a text file, decompressed. Raises UserError."""
    if kind := kind_of(begins(path), TEXTLESS):
        raise UserError(f"{path}: {kind}, not a text file of puzzles")
    try:
        with opened(path) as file:
            return file.read(most)
    except (*BROKEN, NotImplementedError) as error:
        raise UserError(f"{path}:1: cannot be read: {error}") from None
