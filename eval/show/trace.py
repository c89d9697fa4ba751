"""The trace of one puzzle: everything that a page needs to step through its recursions, as JSON.

    {"format": 1,
     "run", "model", "task": {"rules", "rows", "columns", "box", "blank",
                               "first", "tokens"},
     "trained": {"segments", "recursions"},
     "question": [S tokens], "truth": [S tokens] or null, "scored": [S of 0 or 1] or null,
     "steps": [{"segment", "recursion", "answer": [S tokens], "sure": [S], "shade": [S],
                "others": {cell: [[token, p], ...]}, "halt", "finished", "residual", "at": [x, y],
                "checks": {name: bool}, "exact": bool or null}, ...],
     "start": [x, y], "explained": [2 shares]}

A step is a whole recursion: in TRM and HRM a cycle, since what is read changes at its end alone.
`segment` counts from 1, `recursion` within it. Probabilities are whole numbers per thousand: `sure`
of the answer, `others` of the next tokens of cells that are not certain, `shade` of a maze that the
cell is on the path, elsewhere as `sure`. `halt` is the halting head's probability (null if it was
not trained), `finished` whether an evaluation that halts would stop there. `residual` is
|f(z) - z| / |f(z)| of the latent that is read. `at` is that latent on the two principal axes of its
own path, which begins at `start`; `explained` is the variance on each. `tokens` has a character for
each token.

S cells, T steps, V tokens.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.arc_augment import BLACK, crop
from eval.trajectory import once_more, residual, states
from tinyreason.errors import UserError
from tinyreason.exits import cells_of
from tinyreason.models.base import Read
from tinyreason.noise import PuzzleNoise
from tinyreason.puzzle import IGNORE, Batch, Rows
from tinyreason.rules import Rules
from tinyreason.rules.maze import PATH
from tinyreason.segment import Carry
from tinyreason.solver import Solver
from tinyreason.trained import Trained

FORMAT = 1
CERTAIN = 995  # per thousand: no other token of such a cell is worth showing
OTHERS = 3  # tokens beside the answer
MOST_STEPS = 4096  # of a trace; a page of more is slow to open
MOST_NUMBERS = 1 << 27  # of all its latents, half a gigabyte
AT_ONCE = 1 << 16  # numbers of a state that are widened at once


def nothing() -> None:
    """Lets every step pass."""


class Seen(NamedTuple):
    """One whole recursion."""

    segment: int  # from 1
    recursion: int  # within it, from 1
    read: Read | None  # None at the start of the first segment
    z: Tensor  # (S D), the latent that is read
    residual: float | None


class Asked(NamedTuple):
    """The puzzle."""

    rules: Rules
    question: np.ndarray  # (S,) tokens
    labels: np.ndarray  # (S,), IGNORE where the answer is not known or not scored


def trace(
    trained: Trained,
    solver: Solver,
    rules: Rules,
    rows: Rows,
    number: int = 0,
    check: Callable[[], None] = nothing,
) -> dict[str, Any]:
    """That of the only row of `rows`; `number` is the one of the puzzle, for models that draw.
    `check` is called at every step, and may raise.
    """
    refuse_large(solver, trained.config.facts.seq_len)
    batch = Batch.of(rows, trained.config.facts, solver.device)
    labels = batch.labels[0].cpu().numpy()
    known = labels != IGNORE
    seen = []
    for one in watched(solver, batch, number):
        check()
        seen.append(one)
    path, explained = projected(torch.stack([one.z for one in seen]))
    steps = [
        step(one, at, solver, Asked(rules, rows.inputs[0], labels))
        for one, at in zip(seen[1:], path[1:], strict=True)
    ]
    return {
        "format": FORMAT,
        "run": trained.path.name,
        "model": trained.config.model.name,
        "task": described(rules),
        "trained": trained_depth(trained),
        "question": rows.inputs[0].tolist(),
        "truth": np.where(known, labels, rows.inputs[0]).tolist() if known.any() else None,
        "scored": known.astype(int).tolist() if known.any() else None,
        "steps": steps,
        "start": path[0],
        "explained": explained,
    }


def described(rules: Rules) -> dict[str, Any]:
    """What a page has to know to draw a grid."""
    facts = rules.facts
    return {
        "rules": rules.notation.rules,
        "rows": facts.grid[0],
        "columns": facts.grid[1],
        "box": list(facts.box) if facts.box else None,
        "blank": rules.blank,
        "first": int(bool(rules.notation.alphabet)),  # the token of the number 0
        "tokens": [rules.character(token) for token in range(facts.vocab_size)],
    }


def trained_depth(trained: Trained) -> dict[str, int]:
    """How deep it went in training."""
    config = trained.config
    return {"segments": trained.trained_segments, "recursions": config.model.recursions}


def refuse_large(solver: Solver, cells: int) -> None:
    """Raises UserError for more steps than can be kept, or looked at."""
    steps = solver.segments * solver.depth.total // (solver.model.config.cycle or 1)
    if steps > MOST_STEPS or steps * cells * solver.model.config.width > MOST_NUMBERS:
        fewer = "use fewer segments= or recursions="
        raise UserError(f"{steps:,} steps are too many to show; {fewer}")


@torch.no_grad()
def watched(solver: Solver, batch: Batch, number: int) -> Iterator[Seen]:
    """Every whole recursion of one puzzle, the start first."""
    model, cells = solver.model, batch.inputs.shape[1]
    model.eval()
    unit = model.config.cycle or 1
    carry = Carry.fresh(model, batch).refill(batch)
    for k in range(solver.segments):
        noise = PuzzleNoise([k], [number])
        before, *rest = states(solver, carry, noise)
        if k == 0:
            yield Seen(1, 0, None, on_cpu(before, cells), None)
        # a search for a fixed point shows where it ended alone
        first = solver.depth.total // unit - len(rest)
        for i, state in enumerate(rest, start=first + 1):
            z = on_cpu(state, cells)
            last, after = before, state
            if not solver.gradient.plain:
                last, after = state, once_more(solver, batch, state, noise)
            moved = residual(last, after, cells).item()
            yield Seen(k + 1, i * unit, model.read(state), z, moved)
            before = state
        carry = carry.advance(before)


def on_cpu(state: NamedTuple, cells: int) -> Tensor:
    """(S D) float32, the latent of the only puzzle that is read."""
    return cells_of(state[0], cells)[0].float().cpu()


def step(seen: Seen, at: list[float], solver: Solver, asked: Asked) -> dict[str, Any]:
    """One of the steps of a trace."""
    rules, labels = asked.rules, asked.labels
    read = seen.read
    answer = read.answer.cpu().numpy().astype(np.uint8)
    chances = read.logits[0].float().softmax(-1).cpu().numpy()
    right = (answer[0] == labels) | (labels == IGNORE)
    known = bool((labels != IGNORE).any())
    sure = per_thousand(chances.max(-1))
    maze = rules.notation.rules == "maze"
    halt = read.halt[0, 0].float().sigmoid().item() if solver.halting.learns else None
    return {
        "segment": seen.segment,
        "recursion": seen.recursion,
        "answer": as_read(rules, answer)[0].tolist(),
        "sure": sure,
        "shade": per_thousand(chances[:, PATH]) if maze else sure,
        "others": others(chances, answer[0]),
        "halt": None if halt is None or math.isnan(halt) else round(halt, 4),
        "finished": bool(solver.finished(read)[0]),
        "residual": round(seen.residual, 5) if math.isfinite(seen.residual) else None,
        "at": at,
        "checks": {
            name: bool(kept[0]) for name, kept in rules.check(asked.question[None], answer).items()
        },
        "exact": bool(right.all()) if known else None,
    }


def as_read(rules: Rules, answer: np.ndarray) -> np.ndarray:
    """The answer (1, S); of ARC less the colours beside the rectangle that counts as its grid."""
    if rules.notation.rules != "arc":
        return answer
    side = rules.facts.grid[0]
    rows, columns = crop(answer, side)[0]
    beside = answer.reshape(side, side) >= BLACK
    beside[:rows, :columns] = False
    return np.where(beside.reshape(1, -1), 0, answer)


def others(chances: np.ndarray, answer: np.ndarray) -> dict[str, list[list[int]]]:
    """The next most likely tokens of the cells that are not certain; `chances` (S V)."""
    found = {}
    order = np.argsort(-chances, axis=1, kind="stable")
    for cell in np.flatnonzero(chances.max(1) * 1000 < CERTAIN).tolist():
        tokens = [int(token) for token in order[cell] if token != answer[cell]][:OTHERS]
        pairs = [[token, per_thousand(chances[cell, token])] for token in tokens]
        found[str(cell)] = [pair for pair in pairs if pair[1]]
    return found


def per_thousand(chances: np.ndarray) -> list[int]:
    """Whole numbers, small in JSON; 0 for what is no number."""
    return np.rint(1000 * np.nan_to_num(chances)).astype(int).tolist()


def projected(path: Tensor) -> tuple[list[list[float]], list[float]]:
    """The states (T S D), on the CPU, of a path on its two principal axes, scaled to -1 .. 1
    together, and the share of the variance on each.
    """
    flat = path.flatten(1)
    # of the T x T products, which are few: the same axes as those of all S D numbers
    products = torch.zeros(len(flat), len(flat), dtype=torch.float64)
    for columns in flat.split(AT_ONCE, dim=1):
        centred = columns.double() - columns.double().mean(0)
        products += centred @ centred.T
    values, vectors = torch.linalg.eigh(products)
    values, vectors = values.clamp(min=0).flip(0), vectors.flip(1)
    points = (vectors * values.sqrt())[:, :2]
    if points.shape[1] < 2:  # a path of one state
        points = torch.nn.functional.pad(points, (0, 2 - points.shape[1]))
    scale = points.abs().max().clamp(min=1e-12)
    shares = values[:2] / values.sum().clamp(min=1e-30)
    rounded = [[round(v, 4) for v in point] for point in (points / scale).tolist()]
    return rounded, [round(v, 4) for v in shares.tolist()]
