"""Mazes out of other people's files: texts to tokens on a canvas, and the rules that rows keep.

Answers that a file lacks are the shortest ways.

N mazes, S cells.
"""

import math
from pathlib import Path

import numpy as np

from data.maze_engine import shortest_path
from data.maze_form import Written, encode
from data.picked import Picked
from data.read import Read
from tinyreason.rules.base import PAD
from tinyreason.rules.maze import (
    FAR,
    GOAL,
    OPEN,
    PATH,
    START,
    distances,
    is_way,
    path_lengths,
)


def on_canvas(
    path: Path,
    mazes: list[Written],
    alphabet: str,
    canvas: tuple[int, int],
    shapes: dict,
    notes: Picked,
) -> Read:
    """The mazes as tokens at the top left of a canvas; what is no grid goes to `notes`."""
    rows, grids = [], []
    for maze in mazes:
        shape = (
            (len(maze.question), len(maze.question[0]))
            if len(maze.question) > 1
            else (shapes.get(maze.cells))
        )
        why = unreadable(maze, shape, alphabet)
        if why:
            notes.bad(path, maze.row, why)
            continue
        rows.append(maze.row)
        pair = np.full((2, *canvas), PAD, np.uint8)
        for grid, text in zip(pair, (maze.question, maze.answer), strict=True):
            if text is not None:
                cells = encode(["".join(text)], alphabet).reshape(shape)
                grid[: shape[0], : shape[1]] = cells
        grids.append(pair.reshape(2, -1))
    arrays = np.array(grids, np.uint8).reshape(len(grids), 2, math.prod(canvas))
    return Read(path, np.array(rows, np.int64), arrays[:, 0].copy(), arrays[:, 1].copy())


def unreadable(maze: Written, shape: object, alphabet: str) -> str | None:
    """Why a text is no maze, if it is none."""
    for name, text in (("question", maze.question), ("answer", maze.answer)):
        if text is not None and len({len(line) for line in text}) > 1:
            return f"the lines of the {name} are not of one length"
    if isinstance(shape, list):
        told = " or ".join(f"{rows} x {columns}" for rows, columns in shape)
        rows, columns = shape[0]
        return f"{maze.cells} cells may be {told}; say which with task.grid=[{rows},{columns}]"
    if shape is None:
        return f"question has {maze.cells} characters, no rows and columns in which it is a maze"
    cut = len("".join(maze.answer)) if maze.answer is not None else maze.cells
    if cut != maze.cells:
        return f"answer has {cut} characters, not {maze.cells}"
    for name, text in (("question", maze.question), ("answer", maze.answer)):
        known = alphabet if name == "answer" else alphabet[:-1]
        strange = next((c for c in "".join(text or []) if c not in known), None)
        if strange is not None:
            place = "".join(text or []).index(strange) + 1
            others = ", ".join(map(repr, known))
            return f"{name} has {strange!r} at character {place}; it holds {others}"
    return None


def judged(
    read: Read, grid: tuple[int, int], alphabet: str, notes: Picked
) -> tuple[Read, np.ndarray]:
    """The mazes with an answer each, and (N,) bool: those with several shortest ways.

    What is wrong with a row goes to `notes`.
    """
    inputs, labels = read.inputs, read.labels.copy()
    good = np.ones(len(inputs), bool)
    for why, found in faults_of(inputs, labels, grid, alphabet).items():
        for i in np.flatnonzero(found & good):
            notes.bad(read.path, read.rows[i], why)
        good &= ~found
    kept = np.flatnonzero(good)
    start, goal = (inputs[kept] == START).argmax(1), (inputs[kept] == GOAL).argmax(1)
    ways = is_way(inputs[kept]).reshape(-1, *grid)
    from_start, to_goal = distances(ways, start), distances(ways, goal)
    steps = to_goal[np.arange(len(kept)), start]
    several = ((from_start + to_goal) == steps[:, None]).sum(1) > steps + 1
    unknown = ~labels[kept].any(1)
    labels[kept[unknown]] = answered(inputs[kept[unknown]], to_goal[unknown], start[unknown], grid)
    drawn = path_lengths(inputs[kept], labels[kept], grid)
    if longer := int((drawn > steps).sum()):
        first = read.rows[kept[(drawn > steps).argmax()]]
        notes.say(
            f"{read.path}: {longer} answers are a path but "
            f"not a shortest one (row {first} is the first)"
        )
    found = Read(read.path, read.rows, inputs, labels).select(kept)
    return found, several


def faults_of(inputs, labels, grid: tuple[int, int], alphabet: str) -> dict[str, np.ndarray]:
    """What can be wrong with a row -> (N,) bool.

    Later entries rely on earlier ones not being so.
    """
    start, goal, path = alphabet[2:]
    known = labels.any(1)
    drawn = labels == PATH
    ends = ((inputs == START).sum(1), (inputs == GOAL).sum(1))
    one = (ends[0] == 1) & (ends[1] == 1)
    reached = np.full(len(inputs), FAR)
    from_start = distances(is_way(inputs[one]).reshape(-1, *grid), (inputs[one] == START).argmax(1))
    reached[one] = from_start[np.arange(one.sum()), (inputs[one] == GOAL).argmax(1)]
    return {
        f"question does not have exactly one {start!r}": ends[0] != 1,
        f"question does not have exactly one {goal!r}": ends[1] != 1,
        f"there is no way from {start!r} to {goal!r}": reached >= FAR,
        f"answer differs from the question where it has no {path!r}": (
            ((labels != inputs) & ~drawn).any(1) & known
        ),
        f"answer has an {path!r} on a cell that is not open": (drawn & (inputs != OPEN)).any(1),
        f"the {path!r} cells of the answer are not one path from {start!r} to {goal!r}": (
            (path_lengths(inputs, labels, grid) < 0) & known
        ),
    }


def answered(inputs, to_goal, start, grid: tuple[int, int]) -> np.ndarray:
    """(N, S) the mazes with a shortest way drawn in; the first one found, by the published rule."""
    way = shortest_path(to_goal, start, grid)
    return np.where(way & (inputs == OPEN), PATH, inputs).astype(np.uint8)
