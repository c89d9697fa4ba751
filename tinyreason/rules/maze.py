"""Mazes: what makes a maze, and the length of a path that is drawn into one.

Tokens: PAD 0, wall 1, open 2, start 3, goal 4, path 5. N mazes, S cells of a grid with no border.
"""

import numpy as np

from tinyreason.rules.base import PAD, Rules

CHARACTERS = "# SGo"
WALL, OPEN, START, GOAL, PATH = range(1, 6)
FAR = np.int32(1 << 30)  # distance of a cell that cannot be reached


class MazeRules(Rules):
    """Final."""

    blank = OPEN  # each open cell stays as it is or becomes path

    def check(self, inputs: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
        """See `path_lengths`: "valid" is any path, "optimal" one of the shortest."""
        length = path_lengths(inputs, answers, self.facts.grid)
        valid = length >= 0
        optimal = valid.copy()
        ways, mazes = is_way(inputs[valid]), inputs[valid]
        optimal[valid] = length[valid] == shortest(ways, mazes, self.facts.grid)
        return {"valid": valid, "optimal": optimal}

    def contradiction(self, question: np.ndarray) -> str | None:
        start, goal, path = self.notation.alphabet[2:]
        if (question == PATH).any():
            return f"a question has no path ({path!r}) drawn in it"
        for token, character in ((START, start), (GOAL, goal)):
            if (count := int((question == token).sum())) != 1:
                return f"{count} cells are {character!r}, not exactly one"
        if shortest(is_way(question[None]), question[None], self.facts.grid)[0] == FAR:
            return f"there is no way from {start!r} to {goal!r}"
        return None

    def draw(self, cells: list[list[str]]) -> list[str]:
        """With a frame: a maze has no border of its own."""
        edge = "+" + "-" * len(cells[0]) + "+"
        return [edge, *("|" + "".join(row) + "|" for row in cells), edge]


def is_way(inputs: np.ndarray) -> np.ndarray:
    """(N, S) bool: what a path may use."""
    return (inputs != WALL) & (inputs != PAD)


def path_lengths(inputs: np.ndarray, answers: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(N,) steps from S to G of the path drawn in `answers` (N, S); -1 where it is not a path.

    A path: the answer differs from the input only where an open cell became path, and S, G and all
    path cells form one chain, with no cell left over. A chain that touches itself is none: its
    cells do not say in which order they go. So of the cells drawn, the shortest way from S to G has
    to use all. What stands beside a smaller maze does not count.
    """
    drawn = (answers == PATH) & (inputs != PAD)
    same = (answers == inputs) | (inputs == PAD)
    kept = (same | (drawn & (inputs == OPEN))).all(1)
    length = np.full(len(inputs), -1)
    steps = drawn[kept].sum(1) + 1
    ways = drawn[kept] | (inputs[kept] == START) | (inputs[kept] == GOAL)
    length[kept] = np.where(shortest(ways, inputs[kept], grid) == steps, steps, -1)
    return length


def shortest(ways: np.ndarray, inputs: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(N,) steps of the shortest way from S to G of `inputs` (N, S) over the cells `ways` (N, S)
    bool; FAR if there is none.
    """
    start, goal = (inputs == START).argmax(1), (inputs == GOAL).argmax(1)
    return distances(ways.reshape(-1, *grid), start)[np.arange(len(ways)), goal]


def distances(is_open: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(N, S) int32 steps from `start` (N,) over open cells (N, rows, columns) bool; FAR where there
    is no way.

    One flood for the whole batch: the frontier of all mazes is one list of cells of one padded
    array, so every cell is handled once and the number of numpy calls is that of the longest path.
    """
    rows, columns = is_open.shape[1:]
    width = columns + 2
    free = np.pad(is_open, ((0, 0), (1, 1), (1, 1))).ravel()
    steps = np.array([width, -1, 1, -width])
    reached = np.full(free.size, FAR)
    first = np.empty(free.size, np.int32)
    edge = np.arange(len(start)) * width * (rows + 2)
    edge = edge + (start // columns + 1) * width + start % columns + 1
    free[edge] = False
    for step in range(rows * columns):
        reached[edge] = step
        near = (edge[:, None] + steps).ravel()
        near = near[free[near]]
        free[near] = False
        order = np.arange(len(near), dtype=np.int32)
        first[near] = order
        edge = near[first[near] == order]  # a cell found from two sides is kept once
        if not len(edge):
            break
    inside = reached.reshape(-1, rows + 2, width)[:, 1:-1, 1:-1]
    return np.ascontiguousarray(inside).reshape(len(start), rows * columns)
