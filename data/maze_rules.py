"""What makes a maze and an answer to it: tokens, the rules a row must keep, and the length of a
drawn path.

N mazes, n side, S = n * n cells.
"""

import numpy as np

from data.maze_engine import Mazes, distances

CHARACTERS = b"# SGo"
WALL, OPEN, START, GOAL, PATH = range(1, 6)
TOKENS = np.zeros(256, np.uint8)
TOKENS[np.frombuffer(CHARACTERS, np.uint8)] = [WALL, OPEN, START, GOAL, PATH]


def encode(texts: list[str], cells: int) -> np.ndarray:
    """(N, S) uint8 tokens of N strings of S characters; 0 for a character that no maze has."""
    return TOKENS[np.frombuffer("".join(texts).encode("latin-1", "replace"), np.uint8)].reshape(
        len(texts), cells
    )


def tokens(mazes: Mazes) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels (N, S) uint8 of mazes."""
    inputs = np.where(mazes.is_open, OPEN, WALL).astype(np.uint8)
    row = np.arange(len(inputs))
    inputs[row, mazes.start], inputs[row, mazes.goal] = START, GOAL
    return inputs, np.where(mazes.path & (inputs == OPEN), PATH, inputs).astype(np.uint8)


def path_lengths(inputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(N,) steps from S to G of the path drawn in `answers` (N, S); -1 where it is not a path.

    A path: the answer differs from the input only where an open cell became `o`, and S, G and all
    the `o` form one chain, with no cell left over. A chain that touches itself is none: its cells
    do not say in which order they go. So of the cells drawn, the shortest way from S to G has to
    use all.
    """
    drawn = answers == PATH
    kept = ((answers == inputs) | (drawn & (inputs == OPEN))).all(1)
    length = np.full(len(inputs), -1)
    steps = drawn[kept].sum(1) + 1
    ways = drawn[kept] | (inputs[kept] == START) | (inputs[kept] == GOAL)
    length[kept] = np.where(shortest(ways, inputs[kept]) == steps, steps, -1)
    return length


def shortest(ways: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """(N,) steps of the shortest way from S to G of `inputs` (N, S) over the cells `ways` (N, S)
    bool; FAR if none.
    """
    side = round(ways.shape[1] ** 0.5)
    start, goal = (inputs == START).argmax(1), (inputs == GOAL).argmax(1)
    return distances(ways.reshape(-1, side, side), start)[np.arange(len(ways)), goal]


def first_fault(inputs: np.ndarray, labels: np.ndarray) -> tuple[int, str] | None:
    """The first row that breaks a rule, and which one; None if all is well."""
    faults = _faults(inputs, labels)
    bad = np.logical_or.reduce(list(faults.values()))
    if not bad.any():
        return None
    first = int(bad.argmax())
    return first, next(why for why, found in faults.items() if found[first])


def _faults(inputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What can be wrong with a row -> (N,) bool.

    Later entries may rely on earlier ones not being so.
    """
    drawn = labels == PATH
    return {
        "question has a character other than '#', ' ', 'S' and 'G'": (
            (inputs == 0) | (inputs == PATH)
        ).any(1),
        "answer has a character other than '#', ' ', 'S', 'G' and 'o'": (labels == 0).any(1),
        "question does not have exactly one S": (inputs == START).sum(1) != 1,
        "question does not have exactly one G": (inputs == GOAL).sum(1) != 1,
        "answer differs from the question where it has no 'o'": ((labels != inputs) & ~drawn).any(
            1
        ),
        "answer has an 'o' on a cell that is not open": (drawn & (inputs != OPEN)).any(1),
        "the 'o' cells of the answer are not one path from S to G": path_lengths(inputs, labels)
        < 0,
    }
