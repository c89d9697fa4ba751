"""ARC grids on a canvas, and the augmentation of HRM and TRM: 8 dihedral maps x permutations of the
colours 1..9.

Everything works on batches of encoded canvases: one gather does a dihedral map, a recolouring and a
translation at once. The dihedral numbers, the token encoding and the names of augmented puzzles are
those of the TRM reference (arXiv 2510.04871), so that its evaluator can read an `identifiers.json`
written here.

N rows, C side of the canvas, S = C * C cells, E examples of a task, A augmentations of a task.
"""

import hashlib
import re
from typing import NamedTuple

import numpy as np

from data.workers import Spread

PAD, EOS, BLACK = 0, 1, 2  # tokens; colour c is the token BLACK + c
VOCAB = 12
LARGEST = 30  # rows or columns of an ARC grid
# between a task, its dihedral map and its colours in the name of an augmented puzzle
SEPARATOR = "|||"
IDENTITY = np.arange(10, dtype=np.uint8)
INVERSE = np.array([0, 3, 2, 1, 4, 5, 6, 7], np.uint8)  # dihedral number of the inverse map
# of as many tries as augmentations are wanted; a task without enough distinct ones keeps fewer
ROUNDS = 5
CHUNK = 2048  # rows per gather, bounds its index array to 15 MB at C = 30

# Output cell (r, c) of a map reads source cell (r, c) or, where transposed, (c, r), each counted
# from the far end where
# flipped. 0 identity, 1-3 quarter turns (anticlockwise), 4 left-right, 5 up-down, 6 transpose, 7
# anti-transpose.
TRANSPOSED = np.array([0, 1, 0, 1, 0, 0, 1, 1], bool)
FLIPS_ROW = np.array([0, 0, 1, 1, 0, 1, 0, 1], bool)
FLIPS_COLUMN = np.array([0, 1, 1, 0, 1, 0, 0, 1], bool)


class Augmentations(NamedTuple):
    """What each puzzle identifier stands for; entry 0 is the blank one."""

    dihedral: np.ndarray  # (I,) uint8
    colours: np.ndarray  # (I, 10) uint8, new colour of each colour
    task: np.ndarray  # (I,) int32, index of its task; -1 for the blank one
    first: np.ndarray  # (tasks,) int32, identifier of copy 0 of each task; its other copies follow
    count: np.ndarray  # (tasks,) int32, distinct copies of each task

    @classmethod
    def of(cls, drawn: list[tuple[np.ndarray, np.ndarray]]) -> "Augmentations":
        """Number the (dihedral, colours) of each task, in order, from 1."""
        count = np.array([len(d) for d, _ in drawn], np.int32)
        dihedral = np.concatenate([np.zeros(1, np.uint8), *(d for d, _ in drawn)])
        colours = np.concatenate([IDENTITY[None], *(c for _, c in drawn)])
        task = np.concatenate([[-1], np.repeat(np.arange(len(drawn)), count)]).astype(np.int32)
        first = (1 + np.cumsum(count) - count).astype(np.int32)
        return cls(dihedral, colours, task, first, count)

    def __len__(self) -> int:
        """Identifiers, counting the blank one. (A NamedTuple would count its fields.)"""
        return self.dihedral.shape[0]

    def names(self, tasks: list[str]) -> list[str]:
        """The list in `identifiers.json`: index -> name."""
        described = zip(self.task[1:], self.dihedral[1:], self.colours[1:], strict=True)
        return ["<blank>", *(name(tasks[t], d, c) for t, d, c in described)]


def name(task: str, dihedral: int, colours: np.ndarray) -> str:
    """The reference's name of an augmented puzzle; the puzzle itself bears its task's name."""
    if dihedral == 0 and np.array_equal(colours, IDENTITY):
        return task
    return SEPARATOR.join([task, f"t{dihedral}", "".join(map(str, colours))])


def parse_name(text: str) -> tuple[str, int, np.ndarray]:
    """(task, dihedral, colours) of a name made by TRM ("|||") or by HRM ("_").

    Any other name is a task's own.
    """
    found = re.fullmatch(r"(.+?)(?:\|\|\||_)t([0-7])(?:\|\|\||_)(\d{10})", text, re.ASCII)
    if found is None or sorted(found[3]) != sorted("0123456789"):
        return text, 0, IDENTITY
    return found[1], int(found[2]), np.array([int(d) for d in found[3]], np.uint8)


def parse_names(names: list[str]) -> tuple[Augmentations, list[str]]:
    """What the identifiers in an `identifiers.json` stand for, and the tasks in it in order of
    appearance.
    """
    parsed = [parse_name(text) for text in names[1:]]
    tasks = list(dict.fromkeys(task for task, _, _ in parsed))
    number = {task: i for i, task in enumerate(tasks)}
    task = np.array([-1] + [number[task] for task, _, _ in parsed], np.int32)
    first, count = np.unique(task[1:], return_index=True, return_counts=True)[1:]
    dihedral = np.array([0] + [d for _, d, _ in parsed], np.uint8)
    colours = np.stack([IDENTITY] + [c for _, _, c in parsed])
    return Augmentations(
        dihedral, colours, task, (1 + first).astype(np.int32), count.astype(np.int32)
    ), tasks


def named_tasks(names: list[str], table: Augmentations) -> list[list]:
    """See `About.identifiers`: each task, how many copies it has, and a digest of what they are."""
    found = []
    for name, start, count in zip(names, table.first, table.count, strict=True):
        own = slice(start, start + count)
        sha = hashlib.sha256(table.dihedral[own].tobytes() + table.colours[own].tobytes())
        found.append([name, int(count), sha.hexdigest()[:16]])
    return found


def encode(grid: np.ndarray, canvas: int) -> np.ndarray:
    """(S,) uint8 tokens of a grid (rows, columns) of colours 0..9 at the top left corner.

    An EOS row below it and an EOS column to its right say where it ends; each is left out where the
    canvas ends first.
    """
    tokens = np.full((canvas, canvas), PAD, np.uint8)
    h, w = grid.shape
    tokens[:h, :w] = grid + BLACK
    tokens[h : h + 1, :w] = EOS
    tokens[:h, w : w + 1] = EOS
    return tokens.reshape(-1)


def decode(tokens: np.ndarray, canvas: int) -> np.ndarray:
    """The grid (rows, columns) of colours in one canvas (S,), by the rule of `crop`."""
    h, w = crop(tokens[None], canvas)[0]
    return tokens.reshape(canvas, canvas)[:h, :w] - BLACK


def crop(tokens: np.ndarray, canvas: int) -> np.ndarray:
    """(N, 2) rows and columns of the largest all-colour rectangle at (0, 0): where an answer (N, S)
    ends.

    Among equally large ones the one of fewest rows, as in the reference; (0, 0) if cell (0, 0)
    holds no colour.
    """
    coloured = tokens.reshape(-1, canvas, canvas) >= BLACK
    run = np.logical_and.accumulate(coloured, axis=2).sum(axis=2)  # colours that begin each row
    width = np.minimum.accumulate(run, axis=1)
    rows = (width * np.arange(1, canvas + 1)).argmax(axis=1)
    width = width[np.arange(len(rows)), rows]
    return np.stack([np.where(width > 0, rows + 1, 0), width], axis=1)


def extent(tokens: np.ndarray, canvas: int) -> np.ndarray:
    """(N, 2) rows and columns of grids that `encode` made, cheaper than `crop`; (0, 0) for an empty
    canvas.
    """
    coloured = tokens.reshape(-1, canvas, canvas) >= BLACK
    return np.stack([coloured[:, :, 0].sum(axis=1), coloured[:, 0, :].sum(axis=1)], axis=1)


def turned(shape: np.ndarray, dihedral: np.ndarray) -> np.ndarray:
    """(N, 2) shapes after the maps `dihedral` (N,)."""
    return np.where(TRANSPOSED[dihedral, None], shape[:, ::-1], shape)


def transform(
    tokens, shape, dihedral, colours, offset, canvas: int, spread: Spread = map
) -> np.ndarray:
    """(N, S) uint8: each grid of `tokens` recoloured, mapped, and encoded anew at `offset`.

    tokens (N, S) hold a grid of `shape` (N, 2) at (0, 0), whatever lies around it; dihedral (N,);
    colours (N, 10); offset (N, 2), rows and columns. The grid must fit at its offset. `spread`
    shares the work.
    """
    parts = (slice(i, i + CHUNK) for i in range(0, len(tokens), CHUNK))
    fields = (tokens, shape, dihedral, colours, offset)
    done = list(spread(_transformed, ((*(a[p] for a in fields), canvas) for p in parts)))
    return np.concatenate(done) if done else np.zeros_like(tokens)


def _transformed(piece: tuple) -> np.ndarray:
    """A piece of the work."""
    return _transform(*piece)


def _transform(tokens, shape, dihedral, colours, offset, canvas: int) -> np.ndarray:
    n, across = len(tokens), TRANSPOSED[dihedral]
    new = turned(shape, dihedral)
    # which of the two source flips each output axis takes
    flips = np.where(across[:, None], [1, 0], [0, 1])
    flips = np.stack([FLIPS_ROW[dihedral], FLIPS_COLUMN[dihedral]], axis=1)[
        np.arange(n)[:, None], flips
    ]
    stride = np.where(across[:, None], [1, canvas], [canvas, 1])
    at = np.arange(canvas) - offset[:, :, None]  # (N, 2, C): place in the grid along each axis
    inside = (at >= 0) & (at < new[:, :, None])
    source = np.where(flips[:, :, None], new[:, :, None] - 1 - at, at) * stride[:, :, None]
    source = np.where(inside, source, 0)  # 0 is any readable cell
    source[:, 0] += np.arange(n)[:, None] * canvas * canvas
    cells = tokens.reshape(-1)[source[:, 0, :, None] + source[:, 1, None, :]]
    palette = token_table(colours).reshape(-1)
    cells = palette[cells + (np.arange(n) * VOCAB)[:, None, None]]
    ends = at == new[:, :, None]
    (r, c), (end_r, end_c) = inside.transpose(1, 0, 2), ends.transpose(1, 0, 2)
    eos = (end_r[:, :, None] & c[:, None]) | (r[:, :, None] & end_c[:, None])
    return np.where(r[:, :, None] & c[:, None], cells, eos).astype(np.uint8).reshape(n, -1)


def token_table(colours: np.ndarray) -> np.ndarray:
    """(N, 12) uint8, new token of each token; PAD and EOS stay."""
    table = np.zeros((len(colours), VOCAB), np.uint8)
    table[:, EOS] = EOS
    table[:, BLACK:] = colours + BLACK
    return table


def inverse_colours(colours: np.ndarray) -> np.ndarray:
    """(N, 10) the permutations that undo `colours` (N, 10)."""
    return np.argsort(colours, axis=1).astype(np.uint8)


def draw_distinct(views: np.ndarray, copies: int, canvas: int, rng: np.random.Generator):
    """At most `copies` augmentations of one task that all differ in content: (dihedral (A,),
    colours (A, 10)).

    views (E, n, S) are the canvases of each example by which contents are compared. The first is
    the identity. The dihedral map is uniform over 8, the colours 1..9 over their permutations;
    repeats are dropped, at most ROUNDS * (copies - 1) tries (the reference's retry factor).
    """
    dihedral, colours = np.zeros(1, np.uint8), IDENTITY[None]
    marks = _marks(views, canvas)
    for _ in range(ROUNDS):
        missing = copies - len(dihedral)
        if missing <= 0:
            break
        dihedral = np.concatenate([dihedral, rng.integers(8, size=copies - 1, dtype=np.uint8)])
        fresh = rng.permuted(np.tile(IDENTITY[1:], (copies - 1, 1)), axis=1)
        colours = np.concatenate([colours, np.pad(fresh, ((0, 0), (1, 0)))])
        seen = np.unique(_contents(marks, dihedral, colours), return_index=True)[1]
        keep = np.sort(seen)[:copies]
        dihedral, colours = dihedral[keep], colours[keep]
    return dihedral, colours


def _marks(views: np.ndarray, canvas: int) -> np.ndarray:
    """(8, E, 12) uint64: for each map, example and token, the sum of random weights of the cells
    with that token.

    An example's hash under new colours is then a dot product of 12 terms instead of a pass over its
    cells.
    """
    e, n, s = views.shape
    weights = np.random.Generator(np.random.PCG64(0)).integers(2**64, size=n * s, dtype=np.uint64)
    flat = views.reshape(-1, s)
    shape, still = extent(flat, canvas), np.zeros((len(flat), 2), int)
    plain = np.tile(IDENTITY, (len(flat), 1))
    marks = np.zeros((8, e, VOCAB), np.uint64)
    for d in range(8):
        cells = transform(flat, shape, np.full(len(flat), d), plain, still, canvas).reshape(e, -1)
        for token in range(1, VOCAB):
            marks[d, :, token] = np.where(cells == token, weights, np.uint64(0)).sum(
                axis=1, dtype=np.uint64
            )
    return marks


def _contents(marks: np.ndarray, dihedral: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(A,) uint64, equal for augmentations that make the same set of examples (in any order, as in
    the reference).
    """
    tokens = token_table(colours).astype(np.uint64)
    hashed = np.einsum("av,aev->ae", tokens, marks[dihedral])
    for shift, factor in (
        (30, 0xBF58476D1CE4E5B9),
        (27, 0x94D049BB133111EB),
    ):  # splitmix64's finaliser
        hashed = (hashed ^ (hashed >> np.uint64(shift))) * np.uint64(factor)
    return (hashed ^ (hashed >> np.uint64(31))).sum(axis=1, dtype=np.uint64)


def pair_keys(inputs: np.ndarray, labels: np.ndarray, canvas: int) -> np.ndarray:
    """(N,) uint64 of pairs (N, S): equal for those that dihedral maps and permutations of the
    colours 1..9 turn into each other.
    """
    n = len(inputs)
    plain, still = np.tile(IDENTITY, (n, 1)), np.zeros((n, 2), int)
    best: list[bytes] = []
    for d in range(8):
        maps = np.full(n, d)
        sides = [
            transform(tokens, extent(tokens, canvas), maps, plain, still, canvas)
            for tokens in (inputs, labels)
        ]
        turned = [recoloured(row).tobytes() for row in np.concatenate(sides, axis=1)]
        best = turned if not best else list(map(min, best, turned))
    digests = [hashlib.sha256(one).digest()[:8] for one in best]
    return np.array([int.from_bytes(one, "big") for one in digests], np.uint64)


def recoloured(tokens: np.ndarray) -> np.ndarray:
    """Colours 1..9 numbered in the order in which they first appear."""
    found, first = np.unique(tokens, return_index=True)
    table = np.arange(VOCAB, dtype=np.uint8)
    colours = found > BLACK
    order = np.argsort(first[colours])
    table[found[colours][order]] = BLACK + 1 + np.arange(colours.sum())
    return table[tokens]
