"""ARC-style tasks made on the fly: six families of rules, each rule drawn anew for each task.

A task is 3 or 4 demonstrations and one test pair of the same rule. These are no ARC tasks: they are
small, they come from six families, and a score on them says nothing about ARC. They exist so that
the task runs with no download.

Grids are (rows, columns) uint8 colours 0..9, from 3 cells a side up to `canvas - 1`, at most 12.
"""

from collections.abc import Callable

import numpy as np

from data.arc_read import ArcTask

Pair = tuple[np.ndarray, np.ndarray]
Rule = Callable[[np.random.Generator], Pair]
LARGEST_SIDE = 12


def task(canvas: int, family: str, rng: np.random.Generator) -> tuple[list[Pair], list[Pair]]:
    """(demonstrations, test pairs) of one new rule of `family`.

    No two pairs of a task have the same input.
    """
    rule = FAMILIES[family](canvas, rng)
    wanted, pairs = int(rng.integers(3, 5)) + 1, {}
    while len(pairs) < wanted:
        grid, answer = rule(rng)
        pairs.setdefault((grid.shape, grid.tobytes()), (grid, answer))
    *demonstrations, test = pairs.values()
    return demonstrations, [test]


def _size(canvas: int, rng: np.random.Generator, least: int = 3) -> tuple[int, int]:
    h, w = rng.integers(least, min(canvas - 1, LARGEST_SIDE) + 1, 2)
    return int(h), int(w)


def _colours(n: int, rng: np.random.Generator) -> np.ndarray:
    """n different colours, none of them black."""
    return rng.permutation(np.arange(1, 10, dtype=np.uint8))[:n]


def _scatter(shape: tuple[int, int], colours: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A grid half black, half `colours`, with each of the colours at least once."""
    grid = rng.choice(colours, shape) * rng.integers(0, 2, shape, dtype=np.uint8)
    grid.flat[rng.permutation(grid.size)[: len(colours)]] = colours
    return grid


def recolour(canvas: int, rng: np.random.Generator) -> Rule:
    """Two or three colours each become another one; the rest stays."""
    n = int(rng.integers(2, 4))
    old, new = _colours(n, rng), _colours(n, rng)
    table = np.arange(10, dtype=np.uint8)
    table[old] = np.roll(old, 1) if np.any(old == new) else new

    def rule(rng: np.random.Generator) -> Pair:
        grid = _scatter(_size(canvas, rng), old, rng)
        return grid, table[grid]

    return rule


def reflect(canvas: int, rng: np.random.Generator) -> Rule:
    """The whole grid is mirrored or turned."""
    maps = (
        np.fliplr,
        np.flipud,
        np.transpose,
        np.rot90,
        lambda g: np.rot90(g, 2),
        lambda g: np.rot90(g, 3),
    )
    turn, colours = maps[int(rng.integers(len(maps)))], _colours(3, rng)

    def rule(rng: np.random.Generator) -> Pair:
        grid = _scatter(_size(canvas, rng), colours, rng)
        return grid, np.ascontiguousarray(turn(grid))

    return rule


def translate(canvas: int, rng: np.random.Generator) -> Rule:
    """Everything moves by the same step; what leaves at one edge comes back at the other."""
    steps = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]
    step, colours = steps[int(rng.integers(len(steps)))], _colours(3, rng)

    def rule(rng: np.random.Generator) -> Pair:
        grid = _scatter(_size(canvas, rng), colours, rng)
        return grid, np.roll(grid, step, axis=(0, 1))

    return rule


def fill(canvas: int, rng: np.random.Generator) -> Rule:
    """The inside of a frame is filled with a colour; specks outside stay."""
    frame, speck, paint = _colours(3, rng)

    def rule(rng: np.random.Generator) -> Pair:
        h, w = _size(canvas, rng, least=4)
        grid = speck * (rng.random((h, w)) < 0.15).astype(np.uint8)
        rows, columns = int(rng.integers(3, h + 1)), int(rng.integers(3, w + 1))
        r, c = int(rng.integers(h - rows + 1)), int(rng.integers(w - columns + 1))
        grid[r : r + rows, c : c + columns] = frame
        inside = (slice(r + 1, r + rows - 1), slice(c + 1, c + columns - 1))
        grid[inside] = 0
        answer = grid.copy()
        answer[inside] = paint
        return grid, answer

    return rule


def count(canvas: int, rng: np.random.Generator) -> Rule:
    """As many cells as one colour has, in a bar of one row; the other colour does not count."""
    counted, other, bar = _colours(3, rng)

    def rule(rng: np.random.Generator) -> Pair:
        h, w = _size(canvas, rng)
        n = int(rng.integers(1, 6))
        grid = np.zeros(h * w, np.uint8)
        grid[: n + int(rng.integers(1, 4))] = other
        grid[:n] = counted
        return rng.permutation(grid).reshape(h, w), np.full((1, n), bar, np.uint8)

    return rule


def crop(canvas: int, rng: np.random.Generator) -> Rule:
    """A patterned patch in a grid of specks is cut out; the patch alone has its colours."""
    border, inner, speck = _colours(3, rng)

    def rule(rng: np.random.Generator) -> Pair:
        h, w = _size(canvas, rng, least=4)
        grid = speck * (rng.random((h, w)) < 0.3).astype(np.uint8)
        rows, columns = int(rng.integers(2, h)), int(rng.integers(2, w))
        r, c = int(rng.integers(h - rows + 1)), int(rng.integers(w - columns + 1))
        patch = np.where(rng.random((rows, columns)) < 0.5, border, inner).astype(np.uint8)
        patch[0, 0] = patch[-1, -1] = border  # opposite corners show how far it reaches
        grid[r : r + rows, c : c + columns] = patch
        return grid, patch

    return rule


FAMILIES: dict[str, Callable[[int, np.random.Generator], Rule]] = {
    f.__name__: f for f in (recolour, reflect, translate, fill, count, crop)
}


def generate(split: str, n: int, canvas: int, seed: int) -> list[ArcTask]:
    """n synthetic tasks, the families in turn; each depends on (seed, split, its number, canvas)
    alone.
    """
    families, tasks = list(FAMILIES), []
    for i in range(n):
        rng = np.random.Generator(np.random.PCG64([seed, ord(split), i]))
        family = families[i % len(families)]
        tasks.append(ArcTask(f"{split}{i:05d}-{family}", *task(canvas, family, rng)))
    return tasks
