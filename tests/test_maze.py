"""Mazes: reference (the published set), determinism, invariants, and what is refused."""

import hashlib
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from data import maze_engine as engine
from data import maze_form
from data.maze_symmetry import turning
from tests.tiny import maze, read_mazes
from tinyreason.errors import UserError
from tinyreason.puzzle import Rows
from tinyreason.rules import maze as rules
from tinyreason.rules.maze import CHARACTERS, GOAL, OPEN, PATH, START, WALL

PUBLISHED = Path(__file__).parents[2] / "shared" / "puzzles" / "maze"
PUBLISHED_SHA256 = {
    "train": (
        "bf1af5229de21225999d61a758d5d730d4e5092cda953c6329be52a9fbfba721",
        "87b8a768443c1161613933f3d421a633ebb2e28e5b2443d54779ecabe3934c88",
    ),
    "test": (
        "7867d1c03c21521a4049921e2dd8a116db3afe517a023fa935e808a5cf08ed16",
        "c475af832610c8cd5b6cbdb55a8cae5c4d6656e8b5104cf46292b27f9729f43d",
    ),
}
GENERATED_SHA256 = "b8444cfac98af5b692ddb5640b8bca0a2c0dedee5277e3682572333e71313d4b"
needs_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="the published mazes are not beside the checkout"
)


def sha(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def grids(*texts: str) -> np.ndarray:
    """Tokens of mazes written as rows joined by '/'."""
    flat = [text.replace("/", "") for text in texts]
    return maze_form.encode(flat, CHARACTERS)


def slow_search(inputs: np.ndarray) -> tuple[list[int], int]:
    """An own plain breadth-first search: the path by the published rule, and how many shortest
    paths there are.
    """
    side = round(len(inputs) ** 0.5)
    start, goal = list(inputs).index(START), list(inputs).index(GOAL)
    parent, steps, ways, queue = {start: None}, {start: 0}, {start: 1}, deque([start])
    while queue:
        cell = queue.popleft()
        row, column = divmod(cell, side)
        for v, u in ((row + 1, column), (row, column - 1), (row, column + 1), (row - 1, column)):
            near = v * side + u
            if not (0 <= v < side and 0 <= u < side) or inputs[near] == WALL:
                continue
            if near not in steps:
                parent[near], steps[near], ways[near] = cell, steps[cell] + 1, 0
                queue.append(near)
            if steps[near] == steps[cell] + 1:
                ways[near] += ways[cell]
    path, cell = [], goal
    while cell is not None:
        path.append(cell)
        cell = parent[cell]
    return path, ways[goal]


def drawn_path(label: np.ndarray) -> set[int]:
    return set(np.flatnonzero((label == PATH) | (label == START) | (label == GOAL)).tolist())


@needs_published
def test_the_published_files_give_the_published_arrays():
    splits = maze(
        side=30, source=str(PUBLISHED), train_puzzles=None, valid_puzzles=0, test_puzzles=None
    ).load(0)
    for name, (inputs, labels) in PUBLISHED_SHA256.items():
        assert sha(splits[name].inputs) == inputs
        assert sha(splits[name].labels) == labels
    assert len(splits["valid"]) == 0


@needs_published
def test_the_tie_break_gives_all_published_answers():
    splits = maze(
        side=30, source=str(PUBLISHED), train_puzzles=None, valid_puzzles=0, test_puzzles=None
    ).load(0)
    inputs, labels = (
        np.concatenate([getattr(splits[s], k) for s in ("train", "test")])
        for k in ("inputs", "labels")
    )
    start, goal = (inputs == START).argmax(1), (inputs == GOAL).argmax(1)
    to_goal = rules.distances((inputs != WALL).reshape(-1, 30, 30), goal)
    found = engine.shortest_path(to_goal, start, (30, 30))
    assert (found == (labels >= START)).all(1).sum() == 2000
    assert found.sum(1).min() == 110
    other = engine.shortest_path(to_goal, start, (30, 30), np.random.Generator(np.random.PCG64(0)))
    assert not (other == found).all(1).any()  # none of them has a single shortest path


@needs_published
def test_published_answers_are_valid_and_optimal_and_a_damaged_one_is_not():
    task = maze(
        side=30, source=str(PUBLISHED), train_puzzles=None, valid_puzzles=0, test_puzzles=None
    )
    test = task.load(0)["test"]
    assert all(result.all() for result in task.check(test.inputs, test.labels).values())
    broken = test.labels.copy()
    rows = np.arange(len(broken))
    broken[rows, (broken == PATH).argmax(1)] = OPEN
    assert not any(result.any() for result in task.check(test.inputs, broken).values())


@needs_published
def test_rows_that_are_left_over_can_validate():
    task = maze(
        side=30, source=str(PUBLISHED), train_puzzles=900, valid_puzzles="auto", test_puzzles=None
    )
    splits, again, other = task.load(1), task.load(1), task.load(2)
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [900, 100, 1000]
    assert sha(splits["valid"].inputs) == sha(again["valid"].inputs) != sha(other["valid"].inputs)


def test_the_same_seed_gives_the_same_bytes():
    loaded = [maze(style=style).load(7) for style in ("random", "perfect")]
    parts = [splits[name] for splits in loaded for name in ("test", "valid", "train")]
    assert sha(np.concatenate([a for p in parts for a in (p.inputs, p.labels)])) == GENERATED_SHA256
    assert sha(maze().load(7)["test"].inputs) != sha(maze().load(8)["test"].inputs)


def test_test_mazes_do_not_depend_on_how_many_are_trained_on():
    assert sha(maze().load(0)["test"].inputs) == sha(
        maze(train_puzzles=5, valid_puzzles=1).load(0)["test"].inputs
    )


@pytest.mark.parametrize("style", ["random", "perfect"])
@pytest.mark.parametrize("side", [9, 10])
def test_generated_mazes_have_one_shortest_path_long_enough(style, side):
    splits = maze(style=style, side=side).load(3)
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 200,
        "valid": 20,
        "test": 60,
    }
    for part in splits.values():
        for inputs, label in zip(part.inputs, part.labels, strict=True):
            path, ways = slow_search(inputs)
            assert ways == 1
            assert set(path) == drawn_path(label)
            assert len(path) >= 16


def test_bfs_labels_follow_the_published_rule_where_paths_tie():
    part = maze(ties="bfs").load(3)["train"]
    found = [slow_search(inputs) for inputs in part.inputs]
    assert all(
        set(path) == drawn_path(label) for (path, _), label in zip(found, part.labels, strict=True)
    )
    assert sum(ways > 1 for _, ways in found) > 50


@pytest.mark.parametrize("side", [7, 8])
def test_a_perfect_maze_is_a_tree_that_reaches_every_open_cell(side):
    mazes = engine.perfect(np.random.Generator(np.random.PCG64(0)), 100, side)
    joints = (mazes[:, 1:] & mazes[:, :-1]).sum((1, 2)) + (mazes[:, :, 1:] & mazes[:, :, :-1]).sum(
        (1, 2)
    )
    assert (mazes.sum((1, 2)) == 2 * 16 - 1).all()  # 4 x 4 rooms and the doors between them
    assert (joints == mazes.sum((1, 2)) - 1).all()
    steps = rules.distances(mazes, mazes.reshape(100, -1).argmax(1))
    assert ((steps < engine.FAR) == mazes.reshape(100, -1)).all()


def test_no_two_mazes_are_equal_up_to_symmetry():
    task = maze(side=4, min_path=5, wall=0.3, train_puzzles=300)
    mazes = np.concatenate([part.inputs for part in task.load(0).values()])
    assert len({task.key(m) for m in mazes}) == len(mazes) == 380
    assert len({task.key(m[table]) for m in mazes for table in turning((4, 4), (4, 4))}) == len(
        mazes
    )


def test_a_wish_that_cannot_be_met_ends_in_one_line():
    with pytest.raises(UserError, match=r"no new maze in \d+ drawn with task.side=4 .*min_path=16"):
        maze(side=4, min_path=16).load(0)


def test_symmetries_are_the_numbered_ones_and_undone_by_their_inverse():
    grid = np.arange(25).reshape(5, 5)
    expected = [np.rot90(grid, k) for k in range(4)] + [
        grid[:, ::-1],
        grid[::-1],
        grid.T,
        np.rot90(grid)[:, ::-1],
    ]
    tables = turning((5, 5), (5, 5))
    for k, table in enumerate(tables):
        assert (grid.ravel()[table] == expected[k].ravel()).all()
        assert (table[tables[engine.DIHEDRAL_INVERSE[k]]] == np.arange(25)).all()
    assert len({table.tobytes() for table in tables}) == 8


@pytest.mark.parametrize("ties", ["unique", "bfs"])
def test_augmented_labels_are_still_valid_and_optimal(ties):
    task = maze(augment=True, ties=ties)
    splits = task.load(0)
    assert {name: part.copies for name, part in splits.items()} == {
        "train": 8,
        "valid": 1,
        "test": 1,
    }
    rows = splits["train"].rows()
    for k in range(8):
        turned = task.augment(rows, np.full(len(rows.inputs), k), np.random.default_rng(0))
        assert all(result.all() for result in task.check(turned.inputs, turned.labels).values())
        assert (turned.inputs == rows.inputs).all() == (k == 0)
        back = task.augment(
            turned, np.full(len(rows.inputs), engine.DIHEDRAL_INVERSE[k]), np.random.default_rng(0)
        )
        assert all((a == b).all() for a, b in zip(back, rows, strict=True))
    assert maze().load(0)["train"].copies == 1


def test_each_row_is_turned_by_its_own_copy():
    task = maze()
    rows = Rows(
        *(np.arange(200, dtype=np.uint8).reshape(2, 100) for _ in range(2)),
        np.array([3, 4], np.int32),
    )
    turned = task.augment(rows, np.array([0, 6]), np.random.default_rng(0))
    assert (turned.inputs[0] == rows.inputs[0]).all()
    assert (turned.labels[1].reshape(10, 10) == rows.labels[1].reshape(10, 10).T).all()
    assert turned.puzzle_ids.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("question", "answer", "valid", "optimal"),
    [
        ("S  #/ # #/   G/#   ", "S  #/o# #/oooG/#   ", True, True),
        ("S  #/ # #/   G/#   ", "Soo#/ #o#/  oG/#   ", True, True),  # the other shortest one
        ("S  #/ # #/   G/#   ", "S  #/o# #/oo G/#oo ", False, False),  # steps over a corner
        ("S  #/ # #/   G/#   ", "S  #/o# #/oo G/#ooo", True, False),  # a detour
        ("S  #/ # #/   G/#   ", "So #/o# #/oooG/#   ", False, False),  # a stray o beside the path
        ("S  #/ # #/   G/#   ", "S  #/o# #/oooG/#  o", False, False),  # a stray o elsewhere
        ("S  #/ # #/   G/#   ", "S  #/o# #/oooG/#oo ", False, False),  # a loop at the path
        ("S  #/ # #/   G/#   ", "S  #/oo #/ ooG/#   ", False, False),  # through a wall
        ("S  #/ # #/   G/#   ", "S  #/o# #/ooGG/#   ", False, False),  # G twice
        ("S  #/ # #/   G/#   ", "o  #/o# #/oooG/#   ", False, False),  # S lost
        ("S  #/ # #/   G/#   ", "S  #/o# #/ooo /#   ", False, False),  # G lost
        ("S  #/ # #/   G/#   ", "S  #/o  #/oooG/#   ", False, False),  # a wall lost
        ("S  #/ # #/   G/#   ", "S  #/ # #/   G/#   ", False, False),  # nothing drawn
        ("SG  /    /    /    ", "SG  /    /    /    ", True, True),  # nothing to draw
        ("S # /  # / #G /    ", "S # /oo# / #G /    ", False, False),  # does not arrive
    ],
)
def test_what_counts_as_a_path(question, answer, valid, optimal):
    result = maze(side=4, min_path=2).check(grids(question), grids(answer))
    assert (result["valid"].tolist(), result["optimal"].tolist()) == ([valid], [optimal])


def test_padding_or_nonsense_tokens_are_not_an_answer():
    inputs, answer = grids("S  #/ # #/   G/#   "), grids("S  #/o# #/oooG/#   ")
    for token in (0, 6, 255):
        wrong = answer.copy()
        wrong[0, -1] = token
        assert not maze(side=4, min_path=2).check(inputs, wrong)["valid"].any()


def is_chain(inputs: np.ndarray, answer: np.ndarray) -> bool:
    """Another definition of a path: one piece, S and G with one neighbour in it, every other cell
    with two.
    """
    cells = {divmod(cell, 4) for cell in drawn_path(answer)}
    beside = {
        (y, x): [c for c in ((y + 1, x), (y, x - 1), (y, x + 1), (y - 1, x)) if c in cells]
        for y, x in cells
    }
    ends = [divmod(list(inputs).index(end), 4) for end in (START, GOAL)]
    reached, edge = {ends[0]}, [ends[0]]
    while edge:
        new = [c for c in beside[edge.pop()] if c not in reached]
        reached.update(new)
        edge += new
    return reached == cells and all(
        len(near) == 1 + (cell not in ends) for cell, near in beside.items()
    )


def test_every_drawing_on_a_small_maze_is_judged_right_in_every_orientation():
    task = maze(side=4, min_path=2)
    inputs = grids("S  #/ # #/   G/#   ")
    ways = np.flatnonzero(inputs[0] == OPEN)
    subsets = (np.arange(1 << len(ways))[:, None] >> np.arange(len(ways))) & 1
    answers = np.repeat(inputs, len(subsets), 0)
    answers[:, ways] = np.where(subsets, PATH, OPEN)
    lengths = (answers == PATH).sum(1)
    expected = np.array([is_chain(inputs[0], answer) for answer in answers])
    assert sorted(lengths[expected]) == [4, 4, 6]
    for table in turning((4, 4), (4, 4)):
        found = task.check(np.repeat(inputs, len(answers), 0)[:, table], answers[:, table])
        assert (found["valid"] == expected).all()
        assert (found["optimal"] == (expected & (lengths == 4))).all()


def test_blanks_are_the_open_cells():
    assert maze(side=4).blanks(grids("S  #/ # #/   G/####")).sum() == 7


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("side", 2),
        ("side", "10"),
        ("side", True),
        ("style", "braided"),
        ("ties", "dfs"),
        ("wall", 1.0),
        ("wall", "many"),
        ("min_path", 101),
        ("min_path", 1),
        ("train_puzzles", 0),
        ("train_puzzles", 3.5),
        ("valid_puzzles", -1),
        ("augment", "yes"),
    ],
)
def test_an_option_out_of_range_is_named(option, value):
    with pytest.raises(UserError, match=rf"^task\.{option}={value}: must be [^\n]+$"):
        maze(**{option: value})


def test_generation_needs_numbers():
    with pytest.raises(UserError, match=r"task\.train_puzzles=None: must be 1 or more"):
        maze(train_puzzles=None).load(0)


GOOD = "S  # # #   G#   ", "S  #o# #oooG#   "


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        (GOOD[0].replace("#", "x"), GOOD[1], "question has "),
        (GOOD[0].replace("#", "\u00e9"), GOOD[1], "question has "),
        (GOOD[0].replace("#", "\u65e5"), GOOD[1], "question has "),
        (GOOD[1], GOOD[1], "question has "),
        (GOOD[0], GOOD[1].replace("#", "O"), "answer has "),
        (GOOD[0].replace("S", " "), GOOD[1].replace("S", " "), "exactly one 'S'"),
        (GOOD[0].replace("G", "S"), GOOD[1].replace("G", "S"), "exactly one 'S'"),
        (GOOD[0].replace("G", " "), GOOD[1].replace("G", " "), "exactly one 'G'"),
        (GOOD[0], GOOD[1].replace("#", " "), "answer differs from the question"),
        (GOOD[0], GOOD[1][:-1] + "#", "answer differs from the question"),
        (GOOD[0], GOOD[1].replace("#", "o"), "an 'o' on a cell that is not open"),
        (GOOD[0], GOOD[1].replace("S", "o"), "an 'o' on a cell that is not open"),
        (GOOD[0], GOOD[0], "not one path"),
        (GOOD[0], GOOD[1][:-1] + "o", "not one path"),
    ],
)
def test_a_malformed_row_is_refused_with_file_and_row(tmp_path, question, answer, why):
    file = tmp_path / "train.csv"
    rows = [GOOD, GOOD, (question, answer), GOOD]
    file.write_text(
        "source,question,answer,rating\n" + "".join(f"x,{q},{a},0\n" for q, a in rows),
        encoding="utf-8",
    )
    with pytest.raises(UserError) as caught:
        read_mazes(file, 4)
    assert str(caught.value).startswith(f"{file}:4: ")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def written(path: Path, mazes: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    def text(array):
        return "".join(CHARACTERS[token - 1] for token in array)

    lines = [f"own,{text(inputs)},{text(labels)},0\n" for inputs, labels in mazes]
    path.write_text("source,question,answer,rating\n" + "".join(lines), encoding="utf-8")
    return path


def test_generated_mazes_survive_a_csv_and_one_file_is_split(tmp_path):
    part = maze().load(0)["train"]
    file = written(tmp_path / "all.csv", list(zip(part.inputs, part.labels, strict=True)))
    again = read_mazes(file, 10)
    assert (again.inputs == part.inputs).all()
    assert (again.labels == part.labels).all()
    splits = maze(source=str(file), train_puzzles=None).load(0)
    assert {name: len(p) for name, p in splits.items()} == {"test": 60, "train": 120, "valid": 20}
    with pytest.raises(UserError, match=r"= 280, but .*all.csv has 200 puzzles"):
        maze(source=str(file)).load(0)


def test_a_test_maze_that_is_a_turned_training_maze_is_refused(tmp_path):
    task = maze(source=str(tmp_path), train_puzzles=None, valid_puzzles=0, test_puzzles=None)
    train = maze().load(0)["train"]
    pairs = list(zip(train.inputs, train.labels, strict=True))
    written(tmp_path / "train.csv", pairs[:100])
    table = turning((10, 10), (10, 10))[5]
    written(tmp_path / "test.csv", [*pairs[100:110], (pairs[40][0][table], pairs[40][1][table])])
    with pytest.raises(UserError) as caught:
        task.load(0)
    assert str(caught.value).startswith(
        f"{tmp_path / 'test.csv'}:12: up to symmetry the puzzle of "
    )
    assert "train.csv:42, " in str(caught.value)
