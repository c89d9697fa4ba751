"""How the mazes of a file are written: what each character is, and the shape of a grid, follow from
the puzzles.

A start and a goal stand once in each maze, a path only in answers, and a path runs over open cells.
Of a grid written in one line, the shape is the one in which the paths are paths.

N mazes, S cells.
"""

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.table import Record
from tinyreason.errors import UserError
from tinyreason.rules.maze import CHARACTERS, FAR, GOAL, START, distances, is_way, path_lengths

LARGEST = 100  # rows or columns
STARTS, GOALS = "SsBbAa@", "GgEeFfTtZ"  # which of the two ends is the start, where a letter says it
PATHS = "o*.+px"  # for files without answers: the first that is free
TRIED = 60  # mazes by which a shape is judged
NONE = 255  # of a character that no maze of the file has


class Written(NamedTuple):
    """A maze as it is written: rows of one length, or all cells in a row."""

    row: int
    question: list[str]
    answer: list[str] | None

    @property
    def cells(self) -> int:
        return sum(map(len, self.question))


def looks(text: str) -> bool:
    """Whether a text may be a maze: few kinds of characters, many cells."""
    cells = text.replace("\r\n", "\n").replace("\n", "")
    return len(cells) >= 9 and 2 <= len(set(cells)) <= 5


def written(records: list[Record]) -> list[Written]:
    """The lines of each grid."""
    return [
        Written(one.row, lines(one.question), None if one.answer is None else lines(one.answer))
        for one in records
    ]


def lines(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").split("\n") if line]


# ---- what each character is


def alphabet_of(mazes: list[Written], path: Path, given: str | None) -> str:
    """The characters of wall, open cell, start, goal and path. Raises UserError if unsure."""
    if given is not None:
        return given
    questions = [Counter("".join(maze.question)) for maze in mazes]
    most = {
        c for c, n in Counter(c for one in questions for c in one).items() if 2 * n > len(mazes)
    }
    if most <= set(CHARACTERS[:-1]) and most & {"S", "G"}:
        return CHARACTERS
    ends = sorted(c for c in most if sum(one[c] == 1 for one in questions) * 2 > len(mazes))
    rest = sorted(most - set(ends))
    drawn = drawn_over(mazes)
    paths = sorted({path for _, path in drawn} - most)
    if len(ends) != 2 or len(rest) > 2 or not rest or len(paths) > 1:
        unsure(path, f"{len(ends)} kinds of cells stand once in a maze, {len(rest)} more often")
    start, goal = ends if order_of(*ends) else reversed(ends)
    found = "".join(sorted(rest))
    under = Counter({u: count for (u, path), count in drawn.items() if path in paths})
    trail = paths[0] if paths else next(c for c in PATHS if c not in most)
    if under:
        open_ = under.most_common(1)[0][0]
        wall = next((c for c in found if c != open_), next(c for c in "#X" if c not in most))
        return wall + open_ + start + goal + trail
    if len(rest) == 1:
        unsure(path, f"all other cells are {rest[0]!r}")
    both = [wall + open_ + start + goal + trail for wall, open_ in (found, found[::-1])]
    ways = [one for one in both if has_ways(mazes, one)]
    if len(ways) > 1 and CHARACTERS[0] in rest:  # of this project's own way to write mazes
        ways = [one for one in ways if one[0] == CHARACTERS[0]]
    if len(ways) != 1:
        told = " or ".join(f"{one[0]!r} the walls" for one in ways or both)
        unsure(path, f"{told}", (ways or both)[0])
    return ways[0]


def unsure(path: Path, why: str, example: str = CHARACTERS) -> None:
    advice = f"say which is wall, open, start, goal and path, as in task.alphabet='{example}'"
    raise UserError(
        f"{path}: the characters of these mazes can be read in more than one way ({why}); {advice}"
    )


def order_of(one: str, two: str) -> bool:
    """The first of two ends is the start, unless their letters say otherwise."""
    later = two in STARTS and one not in STARTS
    earlier = one in GOALS and two not in GOALS
    return not later and not earlier


def drawn_over(mazes: list[Written]) -> Counter:
    """(character in the question, character in the answer) -> how often they differ so; what is
    rare is a fault of a row.
    """
    found: Counter = Counter()
    for maze in mazes:
        if maze.answer is not None:
            question, answer = "".join(maze.question), "".join(maze.answer)
            if len(question) == len(answer):
                found.update((q, a) for q, a in zip(question, answer, strict=True) if q != a)
    enough = found.total() / 20
    return Counter({pair: count for pair, count in found.items() if count >= enough})


def has_ways(mazes: list[Written], alphabet: str) -> bool:
    """In most mazes a way leads from start to goal."""
    shapes = shapes_of(mazes, alphabet, None)
    return all(shape is not None for shape in shapes.values())


# ---- the shape of a grid


def shapes_of(
    mazes: list[Written], alphabet: str, given: tuple[int, int] | None
) -> dict[int, tuple[int, int] | list | None]:
    """Length -> (rows, columns) of the mazes that are written in one line of so many characters;
    None where no shape makes sense, a list where several do.
    """
    flat: dict[int, list[Written]] = {}
    for maze in mazes:
        if len(maze.question) == 1:
            flat.setdefault(len(maze.question[0]), []).append(maze)
    return {n: shape_of(some[:TRIED], n, alphabet, given) for n, some in flat.items()}


def shape_of(mazes, length: int, alphabet: str, given: tuple[int, int] | None):
    """The rows and columns of mazes of one length: as the user says, square, or the only ones in
    which most paths are paths.
    """
    if given is not None and math.prod(given) == length:
        return given
    sides = [n for n in range(2, min(length, LARGEST) + 1) if length % n == 0]
    shapes = [(n, length // n) for n in sides if 2 <= length // n <= LARGEST]
    shapes.sort(key=lambda shape: shape[0] != shape[1])
    fitting = []
    for shape in shapes:
        if 2 * sensible(mazes, shape, alphabet) > len(mazes):
            if shape[0] == shape[1]:
                return shape
            fitting.append(shape)
    if not fitting and shapes and shapes[0][0] == shapes[0][1]:
        return shapes[0]  # what is wrong with its rows is told row by row
    return fitting[0] if len(fitting) == 1 else fitting or None


def sensible(mazes: list[Written], shape: tuple[int, int], alphabet: str) -> int:
    """How many mazes, read in this shape, have a path for an answer; without answers, a way."""
    inputs = encode(["".join(maze.question) for maze in mazes], alphabet)
    good = ((inputs == START).sum(1) == 1) & ((inputs == GOAL).sum(1) == 1)
    if not good.any():
        return 0
    if mazes[0].answer is None:
        from_start = distances(is_way(inputs).reshape(-1, *shape), (inputs == START).argmax(1))
        reached = from_start[np.arange(len(mazes)), (inputs == GOAL).argmax(1)]
        return int((good & (reached < FAR)).sum())
    texts = ["".join(maze.answer or [""]) for maze in mazes]
    same = [len(text) == inputs.shape[1] for text in texts]
    texts = [
        text if fits else alphabet[0] * inputs.shape[1]
        for text, fits in zip(texts, same, strict=True)
    ]
    return int((good & (path_lengths(inputs, encode(texts, alphabet), shape) >= 0)).sum())


def encode(texts: list[str], alphabet: str) -> np.ndarray:
    """(N, cells) uint8 tokens of texts of one length; NONE for a character that is not in the
    alphabet.
    """
    points = np.array([list(map(ord, text)) for text in texts], np.int64).reshape(len(texts), -1)
    found = np.full(points.shape, NONE, np.uint8)
    for token, character in enumerate(alphabet, 1):
        found[points == ord(character)] = token
    return found


def cut_at_the_ends(mazes: list[Written], open_: str) -> bool:
    """Open cells are spaces, lengths differ, and yet no text begins or ends with one."""
    texts = ["".join(maze.question) for maze in mazes if len(maze.question) == 1]
    ends = any(text[0] == " " or text[-1] == " " for text in texts if text)
    return open_ == " " and not ends and len({len(text) for text in texts}) > 1


def parse_alphabet(value: object) -> str | None:
    """`task.alphabet`: wall, open, start, goal, path; or None."""
    fits = isinstance(value, str) and len(value) == len(set(value)) == 5 and value.isprintable()
    if value is not None and not fits:
        raise UserError(
            f"task.alphabet={value}: must be five different characters, for wall, open, "
            f"start, goal and path, as in task.alphabet='{CHARACTERS}', or null"
        )
    return value


def parse_grid(value: object) -> tuple[int, int] | None:
    """`task.grid`, [rows, columns], or None."""
    if value is None:
        return None
    pair = list(value) if isinstance(value, list | tuple) else []
    if len(pair) != 2 or not all(type(n) is int and 2 <= n <= LARGEST for n in pair):
        raise UserError(f"task.grid={value}: must be [rows,columns], each 2 to {LARGEST}, or null")
    return tuple(pair)
