"""The way of puzzles through all segments, and symmetries and the way back: reference (the solver),
invariants.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.grid import Grid
from data.registry import load_task
from eval.trajectory import follow, residual
from tests import tiny
from tests.marks import hostile
from tests.test_grid import TABLE
from tests.test_maze_files import forms, texts, written
from tests.test_table import refusal
from tests.test_zoo import QUICK, trainer_of
from tinyreason.errors import UserError
from tinyreason.models.base import LoopState
from tinyreason.puzzle import Rows
from tinyreason.recursion import Depth
from tinyreason.solver import Solver

ROWS = 5
FEW = [hostile(name, when=name not in QUICK) for name in tiny.NAMES]


def solver_of(name: str, *words: str, **changes) -> tuple[Solver, Rows, object]:
    """A random model of that kind, and puzzles that are noise."""
    trainer = trainer_of(name, *words)
    torch.nn.init.normal_(trainer.model.heads.halt.weight)  # which is 0 and never halts at first
    torch.nn.init.zeros_(trainer.model.heads.halt.bias)
    segments = 1 if trainer.model.config.one_segment else 3
    how = (trainer.depth.full, trainer.gradient, trainer.halting, segments, False, ROWS, tiny.CPU)
    solver = replace(Solver(trainer.model, *how), **changes)
    return solver, trainer.feed.stream.rows(0, ROWS), trainer.feed.facts


def agrees_with_the_solver(solver: Solver, rows: Rows, facts) -> None:
    found, attempt = follow(solver, rows, facts), solver(rows, facts)
    assert np.array_equal(found.answers[:, -1], attempt.answers)
    assert np.allclose(found.halt[:, -1], attempt.halt_logits, atol=1e-5)
    assert np.array_equal(found.wants, attempt.wants)
    assert np.allclose(found.moved, attempt.moved, atol=1e-4)
    assert np.array_equal(found.exact(rows.labels, facts.ignore_label_id), attempt.exact)
    assert np.isfinite(found.residual).all()
    assert (found.residual >= 0).all()


@pytest.mark.parametrize("name", FEW)
def test_the_last_answers_are_those_of_the_solver(name):
    agrees_with_the_solver(*solver_of(name))


@pytest.mark.parametrize("name", ["trm", hostile("hrm")])
@pytest.mark.parametrize("gradient", ["implicit", hostile("phantom")])
def test_so_they_are_where_a_fixed_point_is_looked_for(name, gradient):
    agrees_with_the_solver(*solver_of(name, f"gradient={gradient}"))


@pytest.mark.parametrize("name", QUICK)
def test_a_disturbance_that_changes_nothing_changes_nothing(name):
    solver, rows, facts = solver_of(name)
    plain = follow(solver, rows, facts)
    same = follow(solver, rows, facts, lambda state, k, noise: state)
    assert np.array_equal(plain.answers, same.answers)
    assert np.array_equal(plain.halt, same.halt)
    assert np.array_equal(plain.residual, same.residual)


def test_a_disturbance_hears_the_segments_in_order_and_is_felt():
    solver, rows, facts = solver_of("trm", batch=2)
    heard = []

    def zeros(state, k, noise):
        heard.append((k, len(state[0])))
        return type(state)(*(torch.zeros_like(z) for z in state))

    found = follow(solver, rows, facts, zeros)
    assert heard == [(k, size) for size in (2, 2, 1) for k in range(3)]
    # every segment begins alike, so each answers alike, unlike the model as it is
    assert np.array_equal(found.halt[:, 0], found.halt[:, 2])
    assert not np.array_equal(found.halt, follow(solver, rows, facts).halt)


def test_noise_is_that_of_the_puzzle_and_the_segment():
    """Whatever the batch; and not that of a recursion of the model."""
    drawn = {}
    for size in (2, 5):
        solver, rows, facts = solver_of("trm", batch=size)
        seen = drawn.setdefault(size, {})

        def look(state, k, noise, seen=seen):
            seen.setdefault(k, []).append(noise.normal(state[0]))
            return state

        follow(solver, rows, facts, look)
    for k in range(3):
        two, five = (torch.cat(drawn[size][k]) for size in (2, 5))
        assert torch.equal(two, five)
        assert len(two.flatten().unique()) > 0.99 * two.numel()
    assert not torch.equal(drawn[5][0][0], drawn[5][1][0])


def test_more_answers_than_can_be_held_are_refused():
    solver, rows, facts = solver_of("trm", segments=1 << 30)
    with pytest.raises(UserError, match="use fewer segments= or max_puzzles="):
        follow(solver, rows, facts)


def test_finished_puzzles_are_told():
    solver, rows, facts = solver_of("trm", batch=2)
    told = []
    follow(solver, rows, facts, done=told.append)
    assert told == [2, 2, 1]


def test_a_residual_by_hand():
    """From (0, 0) to (3, 4) it is 1; the prefix does not count."""
    before = torch.tensor([[[9.0, 9.0], [0.0, 0.0]], [[0.0, 0.0], [3.0, 0.0]]])
    after = torch.tensor([[[0.0, 0.0], [3.0, 4.0]], [[5.0, 5.0], [3.0, 4.0]]])
    found = residual(LoopState(before), LoopState(after), 1)
    assert found.tolist() == pytest.approx([1.0, 4 / 5])


def test_of_cycles_the_residual_is_that_of_a_whole_one():
    solver, rows, facts = solver_of("trm")
    unit = solver.model.config.cycle
    assert unit > 1
    shorter = replace(solver, depth=Depth(solver.depth.total - unit, 1), segments=1)
    longer = replace(solver, segments=1)
    assert not np.array_equal(
        follow(shorter, rows, facts).residual, follow(longer, rows, facts).residual
    )


# ---- symmetries and the way back


def task_of(kind: str, folder):
    """A task and some of its examples."""
    if kind == "padded mazes":
        parts = [
            tiny.maze(side=side, min_path=side, train_puzzles=5, valid_puzzles=0, test_puzzles=0)
            for side in (4, 6)
        ]
        loaded = [task.load(0)["train"] for task in parts]
        pairs = [zip(texts(p.inputs), texts(p.labels), strict=True) for p in loaded]
        lines = ["question,answer", *(",".join(pair) for part in pairs for pair in part)]
        return from_file(written(folder / "a.csv", "\n".join(lines)))
    if kind == "rectangular mazes":
        return from_file(written(folder / "lines.csv", forms()["lines.csv"]))
    if kind == "rectangular mazes on a square":
        return from_file(written(folder / "lines.csv", forms()["lines.csv"]), side=6)
    if kind.startswith("sudoku"):
        counts = {"train_puzzles": 8, "valid_puzzles": 0, "test_puzzles": 0}
        task = tiny.sudoku(side=int(kind.split()[1]), **counts)
    elif kind == "maze":
        task = tiny.maze(side=6, min_path=6, train_puzzles=8, valid_puzzles=0, test_puzzles=0)
    else:
        words = ("canvas=10", "train_puzzles=3", "test_puzzles=2", "copies=8")
        task, splits = load_task(
            tiny.config("task=arc", "scale=small", *(f"task.{word}" for word in words)).task
        )
        return task, splits["test"].rows()
    return task, task.load(0)["train"].rows()


def from_file(path, **options):
    task = tiny.maze(source=str(path), **{"side": None} | tiny.FILE | options)
    return task, task.load(0)["train"].rows()


TASKS = ["sudoku 4", "sudoku 6", "sudoku 9", "maze", "padded mazes", "rectangular mazes"]
TASKS += ["rectangular mazes on a square", "arc"]


@pytest.mark.parametrize("kind", TASKS)
def test_an_image_is_mapped_back_to_what_it_was(kind, tmp_path):
    task, rows = task_of(kind, tmp_path)
    assert task.kinds
    for only in (None, *task.kinds):
        changed = False
        for seed in range(6):
            image = task.image(rows, np.random.default_rng(seed), only)
            assert np.array_equal(image.back(image.rows.labels), rows.labels)
            assert np.array_equal(image.back(image.rows.inputs), rows.inputs)
            assert image.rows.inputs.dtype == rows.inputs.dtype
            checks = task.check(image.rows.inputs, image.rows.labels)
            assert all(kept.all() for kept in checks.values())
            changed |= not np.array_equal(image.rows.inputs, rows.inputs)
        assert changed


def test_kinds_of_sudoku_do_what_they_are_called(tmp_path):
    task, rows = task_of("sudoku 9", tmp_path)
    rng = np.random.default_rng(0)
    blank = rows.inputs == 1
    grids = blank.reshape(-1, 9, 9)
    turned = {k: task.image(rows, rng, k).rows.inputs.reshape(-1, 9, 9) == 1 for k in task.kinds}
    assert np.array_equal(turned["digits"], grids)
    assert np.array_equal(np.sort(turned["rows"].sum(2)), np.sort(grids.sum(2)))
    assert np.array_equal(turned["rows"].sum(1), grids.sum(1))
    assert np.array_equal(turned["columns"].sum(2), grids.sum(2))
    flipped = (turned["transposed"] != grids).any((1, 2))
    assert np.array_equal(turned["transposed"][flipped], grids[flipped].swapaxes(1, 2))


def test_boxes_that_are_no_squares_are_not_transposed(tmp_path):
    assert "transposed" not in task_of("sudoku 6", tmp_path)[0].kinds
    assert "transposed" not in task_of("rectangular mazes", tmp_path)[0].kinds


def test_where_no_symmetry_is_known_none_is_drawn(tmp_path):
    options = tiny.FILE | {"columns": None, "bad": "refuse"}
    grid = Grid(source=str(written(tmp_path / "a.csv", TABLE)), **options)
    rows = grid.load(0)["train"].rows()
    assert grid.kinds == ()
    assert "no symmetries" in refusal(grid.image, rows, np.random.default_rng(0))
    arc = tiny.config("task=arc", "scale=small", "task.augment=false", "task.canvas=6")
    task, splits = load_task(arc.task)
    assert task.kinds == ()
    assert "without augmentations" in refusal(task.image, splits["test"].rows(), None)
