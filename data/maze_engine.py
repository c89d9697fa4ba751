"""Mazes as arrays, many at a time: distances, shortest paths, walls and symmetries. Knows no
file.

A maze is a grid with no border, n x n where it is drawn. All functions work on a batch of N mazes
of one size; cells are numbered row by row. Only `Generator.random` is drawn from: of numpy's
streams the one least likely to ever change.

N mazes, n side, S = n * n cells.
"""

from typing import NamedTuple

import numpy as np

from tinyreason.rules.maze import FAR, GOAL, OPEN, PATH, START, WALL, distances

DIHEDRAL_INVERSE = np.array([0, 3, 2, 1, 4, 5, 6, 7])  # the symmetry that undoes each


class Mazes(NamedTuple):
    """N mazes with their answers."""

    is_open: np.ndarray  # (N, S) bool, S and G included
    start: np.ndarray  # (N,) cell
    goal: np.ndarray  # (N,) cell
    path: np.ndarray  # (N, S) bool, start and goal included


def draw(
    rng: np.random.Generator,
    count: int,
    side: int,
    style: str,
    wall: float,
    min_path: int,
    ties: str,
) -> Mazes:
    """Those of `count` drawn mazes that hold a shortest path of `min_path` cells or more, start and
    goal counted.

    The hard ones are found by two floods: from a random cell to the farthest one, and from there.
    Of a maze that is kept, start and goal are then drawn from the cells that are far enough from
    each other. With `ties="unique"` the path is one of the shortest at random and the cells of all
    its rivals become walls; a shortest path has one cell at each distance from the start, so
    nothing as short is left. With `ties="bfs"` rivals stay and a fixed search decides.
    """
    is_open = (
        perfect(rng, count, side) if style == "perfect" else random_walls(rng, count, side, wall)
    )
    is_open = is_open[is_open.any((1, 2))]
    reached = _reached(distances(is_open, _any_of(rng, is_open.reshape(-1, side * side))))
    # no two cells of a region are farther apart than twice this radius
    maybe = 2 * reached.max(1) >= min_path - 1
    is_open, end = is_open[maybe], reached[maybe].argmax(1)
    far_enough = _reached(distances(is_open, end)) >= min_path - 1
    hard = far_enough.any(1)
    is_open, start = is_open[hard], _any_of(rng, far_enough[hard])
    from_start = distances(is_open, start)
    goal = _any_of(rng, _reached(from_start) >= min_path - 1)
    to_goal = distances(is_open, goal)
    path = shortest_path(to_goal, start, (side, side), rng if ties == "unique" else None)
    keep = is_open.reshape(-1, side * side)
    if ties == "unique":
        length = to_goal[np.arange(len(start)), start, None]
        keep = keep & (path | (from_start + to_goal > length))
    return Mazes(keep, start, goal, path)


def tokens(mazes: Mazes) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels (N, S) uint8 of mazes."""
    inputs = np.where(mazes.is_open, OPEN, WALL).astype(np.uint8)
    row = np.arange(len(inputs))
    inputs[row, mazes.start], inputs[row, mazes.goal] = START, GOAL
    return inputs, np.where(mazes.path & (inputs == OPEN), PATH, inputs).astype(np.uint8)


def _reached(steps: np.ndarray) -> np.ndarray:
    return np.where(steps < FAR, steps, -1)


def _any_of(rng: np.random.Generator, which: np.ndarray) -> np.ndarray:
    """(N,) one of the true cells of each row of `which` (N, S), each equally likely."""
    return (which * (1.0 - rng.random(which.shape))).argmax(1)


def random_walls(rng: np.random.Generator, count: int, side: int, wall: float) -> np.ndarray:
    """(count, side, side) bool, open cells: each is a wall with probability `wall`."""
    return rng.random((count, side, side)) >= wall


def perfect(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """(count, side, side) bool, open cells of perfect mazes: one path between any two cells.

    Every second cell of every second row is a room; a random depth-first search (of the usual
    methods the one with the longest corridors) joins them into a tree. Rooms reach the edge, as
    there is no border; of an even side one row and one column stay wall, on a random side.
    """
    rooms = (side + 1) // 2
    around = [
        [int(room) for room in row if room < rooms * rooms] for row in neighbours((rooms, rooms))
    ]
    mazes = np.zeros((count, side, side), bool)
    for maze in mazes:
        draws = rng.random(rooms * rooms + 2).tolist()
        rows, columns = _tree(around, rooms, draws)
        free = side - (2 * rooms - 1) + 1
        maze[np.array(rows) + int(draws[-2] * free), np.array(columns) + int(draws[-1] * free)] = (
            True
        )
    return mazes


def _tree(around: list[list[int]], rooms: int, draws: list[float]) -> tuple[list[int], list[int]]:
    """Rows and columns of the rooms and doors of one tree; each room uses up one of `draws`,
    uniform in [0, 1).
    """
    trail = [int(draws[0] * rooms * rooms)]
    seen = set(trail)
    rows, columns = [2 * (trail[0] // rooms)], [2 * (trail[0] % rooms)]
    while trail:
        here = trail[-1]
        ahead = [room for room in around[here] if room not in seen]
        if not ahead:
            trail.pop()
            continue
        room = ahead[int(draws[len(seen)] * len(ahead))]
        seen.add(room)
        trail.append(room)
        (y, x), (v, u) = divmod(here, rooms), divmod(room, rooms)
        rows += [2 * v, y + v]
        columns += [2 * u, x + u]
    return rows, columns


def neighbours(grid: tuple[int, int]) -> np.ndarray:
    """(S, 4) the cell down, left, right and up of each; S, one past the last cell, where that is
    off the grid.
    """
    rows, columns = grid
    cells = np.full((rows + 2, columns + 2), rows * columns)
    cells[1:-1, 1:-1] = np.arange(rows * columns).reshape(grid)
    around = cells[2:, 1:-1], cells[1:-1, :-2], cells[1:-1, 2:], cells[:-2, 1:-1]
    return np.stack([grid.ravel() for grid in around], 1)


def shortest_path(
    to_goal: np.ndarray,
    start: np.ndarray,
    grid: tuple[int, int],
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """(N, S) bool: the cells of one shortest path from `start` (N,) to the goal, both ends
    included.

    `to_goal` (N, S) are distances to the goal; `start` must reach it. With `rng` every step takes
    one of the directions that come nearer, each equally likely. Without, it takes the first of
    down, left, right, up. That path, read as a word of directions, comes first in the alphabet
    among all shortest ones; and so it is the one that a breadth-first search from the start finds
    which looks around in that order and keeps a cell's first discoverer as its parent.
    """
    count, cells = to_goal.shape
    around = neighbours(grid)
    far = np.concatenate([to_goal, np.full((count, 1), FAR)], 1)
    path = np.zeros((count, cells), bool)
    row, at = np.arange(count), start.copy()
    path[row, at] = True
    while len(row):
        nearer = far[row[:, None], around[at]] < far[row, at][:, None]
        weight = nearer if rng is None else nearer * (1.0 - rng.random(nearer.shape))
        going = nearer.any(1)
        row, at = row[going], around[at, weight.argmax(1)][going]
        path[row, at] = True
    return path
