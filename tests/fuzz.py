"""Valid puzzle files, and seeded ways to spoil them: the input of `tests/test_fuzz.py`.

A way takes (rng, thing) and gives a new thing. `spoilt` applies a few of them, none included, so
that what must be accepted is drawn as well. Nothing here knows which results are valid: that is for
`tests/oracle.py` to say.
"""

import copy
import gzip
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator
EVIL = [
    "",
    "0",
    "9",
    "5",
    ".",
    "-",
    "+1",
    "1.0",
    "1e9",
    "nan",
    "inf",
    "None",
    "null",
    "true",
    " ",
    "\t",
    '"',
    '""',
    ",",
]
EVIL += [
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\ufeff",
    "\x1b[31m",
    "\x85",
    "\u2028",
    "٣",
    "４",
    "²",
    "①",
    "é",
    "😀",
    "'",
    "\\",
    "#",
]
EVIL += [
    "S",
    "G",
    "o",
    "../../etc/passwd",
    "${oc.env:HOME}",
    "__import__('os')",
    "=1+1",
    "x" * 1000,
    "1" * 5000,
]


def generator(*seed: int) -> Rng:
    return np.random.Generator(np.random.PCG64(list(seed)))


def pick(rng: Rng, choices: Sequence) -> Any:
    return choices[int(rng.integers(len(choices)))]


def spoilt(rng: Rng, thing: Any, ways: Sequence[Callable], most: int = 2) -> Any:
    """`thing` after 0 to `most` of the `ways`."""
    for _ in range(int(rng.integers(most + 1))):
        thing = pick(rng, ways)(rng, thing)
    return thing


# bytes


def flip(rng: Rng, content: bytes) -> bytes:
    if not content:
        return content
    at = int(rng.integers(len(content)))
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def cut(rng: Rng, content: bytes) -> bytes:
    a, b = sorted(rng.integers(len(content) + 1, size=2).tolist())
    return content[:a] + content[b:]


def truncate(rng: Rng, content: bytes) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def repeat(rng: Rng, content: bytes) -> bytes:
    a, b = sorted(rng.integers(len(content) + 1, size=2).tolist())
    return content[:b] + content[a:b] * int(rng.integers(1, 4)) + content[b:]


def insert(rng: Rng, content: bytes) -> bytes:
    at = int(rng.integers(len(content) + 1))
    noise = rng.bytes(int(rng.integers(1, 9))) if rng.random() < 0.3 else pick(rng, EVIL).encode()
    return content[:at] + noise + content[at:]


def recode(rng: Rng, content: bytes) -> bytes:
    way = pick(rng, ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "utf-7"])
    return content.decode("latin-1").encode(way)


BYTES = [flip, cut, truncate, repeat, insert, recode]


# CSV: a list of rows, the header first; each row a list of fields


def change_field(rng: Rng, rows: list[list[str]]) -> list[list[str]]:
    rows = [list(row) for row in rows]
    row = pick(rng, rows)
    if row:
        at = int(rng.integers(len(row)))
        row[at] = change_text(rng, row[at])
    return rows


def change_text(rng: Rng, text: str) -> str:
    at, evil = int(rng.integers(len(text) + 1)), pick(rng, EVIL)
    other = int(rng.integers(len(text) + 1))
    changed = [
        text[:at] + text[at + 1 :],
        text[:at] + evil + text[at:],
        text[:at] + evil + text[at + len(evil) :],  # as long as before, where there is room
        text[:at] + text[at : at + 1] * 2 + text[at + 1 :],
        text[:at] + text[other : other + 1] + text[at + 1 :],
        text[:at] + pick(rng, list(".0 #o12S")) + text[at + 1 :],
        evil,
        text + evil,
        text[::-1],
    ]
    return pick(rng, changed)


def change_rows(rng: Rng, rows: list[list[str]]) -> list[list[str]]:
    at, row = int(rng.integers(len(rows))), pick(rng, rows)
    changed = [
        rows[:at] + rows[at + 1 :],
        [*rows[:at], row, *rows[at:]],
        [*rows[:at], [], *rows[at:]],
        [*rows[:at], ["# a comment"], *rows[at:]],
        [*rows[:at], [*rows[at], pick(rng, EVIL)], *rows[at + 1 :]],
        [*rows[:at], rows[at][:-1], *rows[at + 1 :]],
    ]
    return pick(rng, changed) or rows


def change_both(rng: Rng, rows: list[list[str]]) -> list[list[str]]:
    """The same change in every long field of a row, so that they still agree: lines swapped, or two
    characters.
    """
    rows = [list(row) for row in rows]
    row = pick(rng, rows)
    seed = int(rng.integers(1 << 31))
    for at, text in enumerate(row):
        if len(text) >= 16:
            again = generator(seed)
            row[at] = pick(again, [swap_lines, swap_columns, swap_characters, put])(again, text)
    return rows


def swap_lines(rng: Rng, text: str) -> str:
    """Two lines of a square grid for each other."""
    side = round(len(text) ** 0.5)
    lines = [text[n : n + side] for n in range(0, len(text), side)]
    a, b = rng.integers(len(lines), size=2).tolist()
    lines[a], lines[b] = lines[b], lines[a]
    return "".join(lines)


def swap_columns(rng: Rng, text: str) -> str:
    side = round(len(text) ** 0.5)
    columns = [text[n::side] for n in range(side)]
    a, b = rng.integers(side, size=2).tolist()
    columns[a], columns[b] = columns[b], columns[a]
    return "".join("".join(line) for line in zip(*columns, strict=False))


def swap_characters(rng: Rng, text: str) -> str:
    a, b = pick(rng, ["12", "34", "14", "o ", "SG", "# "])
    return text.translate({ord(a): b, ord(b): a})


def put(rng: Rng, text: str) -> str:
    at = int(rng.integers(len(text)))
    return text[:at] + pick(rng, list("SG# o1.")) + text[at + 1 :]


def change_columns(rng: Rng, rows: list[list[str]]) -> list[list[str]]:
    order = rng.permutation(max(map(len, rows))).tolist()
    if rng.random() < 0.3:
        order = order[1:]
    changed = [[row[i] for i in order if i < len(row)] for row in rows]
    if rng.random() < 0.3:
        changed[0] = [
            pick(rng, [name, name.upper(), f" {name}", "question", "answer"]) for name in changed[0]
        ]
    return changed


ROWS = [change_field] * 5 + [change_both] * 2 + [change_rows, change_columns]


def csv_bytes(rng: Rng, rows: list[list[str]]) -> bytes:
    """The rows as some program might have written them."""
    everything, end = (
        rng.random() < 0.2,
        pick(rng, ["\n"] * 50 + ["\r\n"] * 40 + ["\r", "\n\r", "\r\r\n", "\n\n"]),
    )
    lines = [",".join(quoted(rng, field, everything) for field in row) for row in rows]
    text = end.join(lines) + (end if rng.random() < 0.8 else "")
    mark = "\ufeff" * int(pick(rng, [0] * 8 + [1, 1, 2]))
    return (
        spoilt(rng, (mark + text).encode(), BYTES, most=1)
        if rng.random() < 0.2
        else (mark + text).encode()
    )


def quoted(rng: Rng, field: str, everything: bool) -> str:
    needed = any(c in field for c in ',"\r\n')
    careless = rng.random() < 0.02
    return '"' + field.replace('"', '""') + '"' if (needed or everything) != careless else field


def csv_file(rng: Rng, rows: list[list[str]]) -> tuple[str, bytes]:
    """(name, content) of a file that holds the rows, or did."""
    content = csv_bytes(rng, spoilt(rng, rows, ROWS))
    if rng.random() < 0.9:
        return "puzzles.csv", content
    packed = gzip.compress(content, compresslevel=1, mtime=0)
    return "puzzles.csv.gz", spoilt(rng, packed, BYTES, most=1)


# JSON


DEEP = object()  # stands for a list in a list in a list ...
VALUES = [
    None,
    True,
    False,
    0,
    -1,
    9,
    10,
    1.0,
    0.5,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "1",
    "../x",
    [],
    {},
    [[]],
]
VALUES += [
    [[0]],
    [[1, 2], [3]],
    [[1] * 31],
    [[1]] * 31,
    [[1] * 30] * 30,
    {"input": [[1]]},
    "\ud800",
    "\n",
    DEEP,
]


def change_value(rng: Rng, value: Any) -> Any:
    """Something else somewhere in the value, in place; each level of it is met about as often."""
    whole = [value]
    holder, key = whole, 0
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.8:
        holder = holder[key]
        key = pick(rng, list(holder) if isinstance(holder, dict) else range(len(holder)))
    change_here(rng, holder, key)
    return whole[0] if whole else None


def change_here(rng: Rng, holder: Any, key: Any) -> None:
    kind = int(rng.integers(7))
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(pick(rng, [holder[key], pick(rng, VALUES)])))
    elif kind == 2 and isinstance(holder, dict):
        holder[pick(rng, [f"{key}x", key.upper(), "", "input", "output", "extra"])] = holder[key]
    elif kind == 3:
        holder[key] = [holder[key]]
    elif kind == 4 and isinstance(holder[key], int):
        holder[key] = int(holder[key]) + int(pick(rng, [-1, 1, 3, 256, 2**31, 2**63]))
    elif kind == 5 and isinstance(holder[key], str):
        holder[key] = change_text(rng, holder[key])
    else:
        holder[key] = copy.deepcopy(pick(rng, VALUES))


def json_bytes(rng: Rng, value: Any) -> bytes:
    """The value as text, sometimes spoilt."""
    # about 1,000 is what Python's own limit allows
    depth = int(pick(rng, [50, *range(930, 990), 100_000]))
    text = json.dumps(value, default=lambda _: "DEEP", ensure_ascii=bool(rng.random() < 0.5))
    text = text.replace('"DEEP"', "[" * depth + "]" * depth)
    spoils = [
        lambda t: t.replace("}", ",}", 1),
        lambda t: t.replace('"', "'"),
        lambda t: twice(rng, t),
    ]
    spoils += [lambda t: "// a comment\n" + t, lambda t: t + t, lambda t: t.replace("1", "01", 1)]
    if rng.random() < 0.1:
        text = pick(rng, spoils)(text)
    content = text.encode("utf-8", "surrogatepass")
    return spoilt(rng, content, BYTES, most=1) if rng.random() < 0.3 else content


def twice(rng: Rng, text: str) -> str:
    """An object with a name twice."""
    name = pick(rng, ['"train"', '"input"', '"vocab_size"'])
    return text.replace(name, f"{name}: [], {name}", 1)


def json_file(rng: Rng, text: bytes | str) -> bytes:
    """The JSON text `text`, or what is left of it."""
    return json_bytes(rng, spoilt(rng, json.loads(text), [change_value]))


# npy


def npy_bytes(array: np.ndarray, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def with_header(content: bytes, header: str) -> bytes:
    """The same data behind another header."""
    data, stated = (
        content[10 + int.from_bytes(content[8:10], "little") :],
        header.encode("latin-1", "replace")[:65535],
    )
    return content[:8] + len(stated).to_bytes(2, "little") + stated + data


SHAPES = [
    "()",
    "(1,)",
    "(0,)",
    "(-1, 6)",
    "(5, 6, 1)",
    "(5, 6L)",
    "(True, 6)",
    "(5, 6.0)",
    "[5, 6]",
    "(10**15, 6)",
]
SHAPES += [
    f"({10**15}, 6)",
    f"({2**63}, {2**63})",
    f"({10**4000}, {10**4000})",
    "(5, -6)",
    "(5, 6)",
    "(4,)",
    "(3,)",
    "(6, 5)",
]
KINDS = [
    "'|O'",
    "'O'",
    "'<i4'",
    "'>i4'",
    "'|u1'",
    "'u1'",
    "'|i1'",
    "'<f4'",
    "'|S1'",
    "'|V0'",
    "[('a', '|u1')]",
    "'<M8[s]'",
]
KINDS += ["'nonsense'", "None", "1", "('|u1', (2,))", "'|b1'", "'<U99999999'", "uint8", "'uint8'"]
HEADERS = [
    "",
    "{",
    "{}",
    "[]",
    "-" * 9000 + "1",
    "(" * 9000,
    "[" * 90 + "]" * 90,
    "'\\d'",
    "x" * 20_000,
    "1if 1else 2",
]
HEADERS += ["__import__('os').system('x')", "{'descr': '|u1', 'fortran_order': False}", "\0" * 50]


def change_header(rng: Rng, content: bytes) -> bytes:
    if rng.random() < 0.2:
        return with_header(content, pick(rng, HEADERS))
    length = int.from_bytes(content[8:10], "little")
    header = content[10 : 10 + length].decode("latin-1")
    shape, kind = header[header.find("'shape'") :], header[: header.find("'fortran_order'")]
    changed = [
        header.replace(shape, f"'shape': {pick(rng, SHAPES)}, }}\n"),
        header.replace(kind, f"{{'descr': {pick(rng, KINDS)}, "),
        header.replace("False", pick(rng, ["True", "0", "None", "1"])),
        header.replace(", }", ", 'more': 1}"),
        header.replace("'", '"'),
        header.replace(" ", "  "),
        change_text(rng, header),
    ]
    return with_header(content, pick(rng, changed))


def change_version(rng: Rng, content: bytes) -> bytes:
    return (
        content[:6] + bytes(pick(rng, [(2, 0), (3, 0), (1, 1), (0, 0), (255, 255)])) + content[8:]
    )


def change_data(rng: Rng, content: bytes) -> bytes:
    """Another number, of four bytes or of one."""
    length = 10 + int.from_bytes(content[8:10], "little")
    data = bytearray(content[length:])
    if len(data) >= 4:
        at = int(rng.integers(len(data) // 4)) * 4
        data[at : at + 4] = int(pick(rng, [0, 1, 2, 3, 4, 5, 255, 2**31, 2**32 - 1])).to_bytes(
            4, "little"
        )
    return content[:length] + bytes(data)


def change_array(rng: Rng, content: bytes) -> bytes:
    """An array of another type or shape, or no array."""
    small = np.arange(int(rng.integers(0, 40)))
    kind = pick(rng, ["u1", "i4", ">i4", "i8", "f4", "?", "S1", "c8", "O"])
    array = small.astype(kind)
    if len(small) == 30 or rng.random() < 0.5:
        array = np.resize(array, (int(rng.integers(0, 7)), int(rng.integers(1, 8))))
    return npy_bytes(array, pickled=True)


NPY = [change_header, change_header, change_version, change_data, change_data, change_array, *BYTES]
