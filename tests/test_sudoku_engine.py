"""The Sudoku engine: reference (a SAT solver, the published puzzles, all of 4x4), determinism,
invariants.
"""

import csv
import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from data import sudoku_symmetry as symmetry
from data.sudoku_board import BOX, board
from data.sudoku_generate import distinct, draw, full_grid, make
from data.sudoku_solve import UndecidedError, count_solutions, search, solve
from tinyreason.rules.sudoku import legal

PUBLISHED = Path(__file__).parents[2] / "shared" / "puzzles" / "sudoku"
needs_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="the published puzzles are not beside the checkout"
)
GENERATED_SHA256 = {
    (4, 6, 0): "ff8cdc770647af6c1f4afb923362a65d9a4372c1e36da5235edfd1e08b20f805",
    (6, None, 0): "0e9eeedbee4adbccfe6e9781fa5eeb2cf6d9aef49d19e9881eea7ffcd07fc322",
    (6, 12, 0): "1cf6e5b9ee3e94bcf4606cd634d9f874531346f2e61325048eaeccedb1f2e47d",
    (9, None, 1): "abe6a6248cd37f08b29c04263a1ceff37779aa1ab241fd38ee063173fd7b5cec",
}
# takes naive solvers minutes
NO_SOLUTION = ".....5.8....6.1.43..........1.5........1.6...3.......553.....61........4........."
EMPTY = "." * 81


def random(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def published(name: str, count: int) -> list[dict[str, str]]:
    with (PUBLISHED / name).open() as file:
        return [row for row, _ in zip(csv.DictReader(file), range(count), strict=False)]


def tokens(grids: list[tuple[int, ...]]) -> np.ndarray:
    return np.array(grids, np.uint8) + np.uint8(1)


# Reference


def sat_count(side: int, puzzle: tuple[int, ...]) -> int:
    """Solutions up to 2, from clauses that share no code with the solver."""
    solvers = pytest.importorskip("pysat.solvers", reason="needs the sat extra (python-sat)")
    high, wide = BOX[side]
    every = range(side)

    def name(row: int, column: int, digit: int) -> int:
        return 1 + (row * side + column) * side + digit

    sets = [[name(r, c, d) for d in every] for r in every for c in every]
    sets += [[name(r, c, d) for c in every] for r in every for d in every]
    sets += [[name(r, c, d) for r in every] for c in every for d in every]
    corners = [(r, c) for r in range(0, side, high) for c in range(0, side, wide)]
    sets += [
        [name(r + i, c + j, d) for i in range(high) for j in range(wide)]
        for r, c in corners
        for d in every
    ]
    clauses = sets + [[-a, -b] for one in sets for a, b in combinations(one, 2)]
    clauses += [[1 + cell * side + digit - 1] for cell, digit in enumerate(puzzle) if digit]
    with solvers.Cadical153(bootstrap_with=clauses) as sat:
        if not sat.solve():
            return 0
        sat.add_clause([-literal for literal in sat.get_model() if literal > 0])
        return 1 + sat.solve()


@pytest.mark.parametrize("side", [4, 6, 9])
def test_counts_agree_with_sat(side: int):
    """Puzzles with none, one and several solutions: random cells of a full grid, in half of them
    one digit changed.
    """
    rng, counts = random(side), []
    for trial in range(40):
        grid = np.array(full_grid(side, draw(side, rng).order.tolist()))
        grid[rng.permutation(side**2)[: rng.integers(side**2 // 2, side**2 * 3 // 4 + 1)]] = 0
        given = grid.nonzero()[0]
        if trial % 2:
            grid[given[0]] = grid[given[0]] % side + 1
        counts.append(count_solutions(side, grid.tolist()))
        assert counts[-1] == sat_count(side, tuple(grid.tolist()))
    assert set(counts) == {0, 1, 2}


@needs_published
def test_published_puzzles_with_several_solutions():
    puzzles = (PUBLISHED / "multi_solution.txt").read_text().split()[:60]
    assert [count_solutions(9, puzzle) for puzzle in puzzles] == [2] * 60
    assert [
        sat_count(9, tuple(int(c) if c != "." else 0 for c in puzzle)) for puzzle in puzzles[:10]
    ] == [2] * 10


@needs_published
def test_published_answers():
    for row in published("train_1k.csv", 60):
        assert "".join(map(str, solve(9, row["question"]).answer)) == row["answer"]
        assert count_solutions(9, row["question"]) == 1


def test_key_tells_all_classes_of_4x4():
    """There are 288 grids of side 4 in 2 classes, and 85,632 minimal puzzles in 36 classes (Russell
    2006).
    """
    b = board(4)
    grids = tokens([b.digits(x) for x, _ in search(b, b.full, 0)])
    assert grids.shape == (288, 16)
    subsets = np.arange(1 << 16)
    _, first, size = np.unique(symmetry.key(grids, grids, 4), return_index=True, return_counts=True)
    assert sorted(size) == [96, 192]
    total, keys = 0, set()
    for answer, count in zip(grids[first], size, strict=True):
        differ = ((grids != answer) << np.arange(16)).sum(1)
        unique = (subsets[:, None] & differ[differ > 0] != 0).all(1)
        spared = np.stack(
            [unique[subsets & ~(1 << cell)] & (subsets >> cell & 1 > 0) for cell in range(16)]
        )
        minimal = subsets[unique & ~spared.any(0)]
        total += count * len(minimal)
        puzzles = np.where(minimal[:, None] >> np.arange(16) & 1, answer, 1).astype(np.uint8)
        keys |= set(symmetry.key(puzzles, np.broadcast_to(answer, puzzles.shape), 4).tolist())
    assert (total, len(keys)) == (85_632, 36)


# The cap


def test_cap():
    assert count_solutions(9, EMPTY) == 2
    assert count_solutions(9, EMPTY, limit=50) == 50
    assert count_solutions(9, EMPTY, node_cap=3) is None
    with pytest.raises(UndecidedError):
        solve(9, EMPTY, node_cap=3)


def test_a_puzzle_that_defeats_search_is_given_up():
    """Stopping is what is tested: proving that it has no solution would take a thousand times
    longer.
    """
    assert count_solutions(9, NO_SOLUTION, node_cap=300) is None


@pytest.mark.parametrize("grid", ["." * 80, "." * 80 + "x", [0] * 80 + [10], [0] * 80 + [-1]])
def test_no_grid(grid):
    with pytest.raises(ValueError):
        solve(9, grid)


def test_contradictory_givens():
    assert solve(9, "11" + "." * 79) is None
    assert count_solutions(4, ".1..1..........1") == 0


# Generation


@pytest.mark.parametrize(("side", "clues", "least"), GENERATED_SHA256)
def test_same_seed_same_bytes(side: int, clues: int | None, least: int):
    made = distinct(side, 20, clues, least, random(7), set())
    assert (
        hashlib.sha256(b"".join(a.tobytes() for a in made)).hexdigest()
        == GENERATED_SHA256[side, clues, least]
    )


@pytest.mark.parametrize("side", [4, 6, 9])
def test_minimal_puzzles(side: int):
    """One solution, the stored one; two without any of the givens. Judged by the SAT solver."""
    for seed in range(1 if side == 9 else 4):
        puzzle, answer = make(side, None, 0, draw(side, random(seed)))
        assert solve(side, puzzle).answer == answer
        assert sat_count(side, puzzle) == 1
        for cell in np.flatnonzero(puzzle):
            assert sat_count(side, (*puzzle[:cell], 0, *puzzle[cell + 1 :])) == 2


@pytest.mark.parametrize(("side", "clues"), [(4, 7), (6, 14), (9, 30)])
def test_clues(side: int, clues: int):
    inputs, labels = distinct(side, 10, clues, 0, random(1), set())
    assert ((inputs > 1).sum(1) == clues).all()
    assert [count_solutions(side, row) for row in (inputs - 1).tolist()] == [1] * 10
    assert legal(labels, BOX[side]).all()


def test_min_guesses():
    inputs, _ = distinct(9, 4, None, 2, random(2), set())
    assert min(solve(9, row).guesses for row in (inputs - 1).tolist()) >= 2


def test_full_grids_are_of_many_classes():
    """Randomised solving, not the symmetries of one grid."""
    grids = tokens([full_grid(6, draw(6, random(seed)).order.tolist()) for seed in range(100)])
    assert legal(grids, BOX[6]).all()
    assert len(np.unique(symmetry.key(grids, grids, 6))) > 15


# Symmetries


def some(side: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    return distinct(side, count, None, 0, random(3), set())


@pytest.mark.parametrize("side", [4, 6, 9])
def test_symmetries(side: int):
    inputs, labels = (np.repeat(a, 50, 0) for a in some(side, 4))
    drawn = symmetry.draw(len(inputs), side, random(4))
    moved, answers = drawn.apply(inputs), drawn.apply(labels)
    assert (moved != inputs).any(1).mean() > 0.95
    assert legal(answers, BOX[side]).all()
    assert ((moved == answers) | (moved == 1)).all()
    assert ((moved > 1).sum(1) == (inputs > 1).sum(1)).all()
    assert (drawn.inverse().apply(moved) == inputs).all()
    assert (drawn.inverse().apply(answers) == labels).all()
    assert (symmetry.key(moved, answers, side) == symmetry.key(inputs, labels, side)).all()


def test_key_separates():
    """Swapping two rows of different bands, or transposing a 6x6 puzzle's givens, makes another
    puzzle.
    """
    inputs, labels = some(9, 4)
    swapped = [
        a.reshape(-1, 9, 9)[:, [3, 1, 2, 0, 4, 5, 6, 7, 8]].reshape(-1, 81)
        for a in (inputs, labels)
    ]
    assert not (symmetry.key(*swapped, 9) == symmetry.key(inputs, labels, 9)).any()
    inputs, labels = some(6, 4)
    flipped = [a.reshape(-1, 6, 6).swapaxes(1, 2).reshape(-1, 36) for a in (inputs, labels)]
    assert not (symmetry.key(*flipped, 6) == symmetry.key(inputs, labels, 6)).any()


@needs_published
def test_key_merges_no_published_puzzles():
    rows = published("test_2k.csv", 2000)
    inputs, labels = (
        np.array([[".123456789".index(c) + 1 for c in row[name]] for row in rows], np.uint8)
        for name in ("question", "answer")
    )
    assert len(np.unique(symmetry.key(inputs, labels, 9))) == 2000


# The law of a draw


def p_value(maps: np.ndarray, group: int) -> float:
    """Of a chi-square test that the rows of `maps` are uniform over `group` different ones."""
    counts = np.unique(maps, axis=0, return_counts=True)[1]
    assert len(counts) == group
    return chisquare(counts).pvalue


@pytest.mark.parametrize(("side", "cell_maps"), [(4, 128), (6, 3456)])
def test_all_cell_maps_are_equally_likely(side: int, cell_maps: int):
    drawn = symmetry.draw(20 * cell_maps, side, random(5))
    assert p_value(drawn.cells, cell_maps) > 1e-3


def test_cells_and_digits_are_independent():
    """All 128 x 24 elements of the 4x4 group."""
    drawn = symmetry.draw(20 * 3072, 4, random(6))
    assert p_value(np.concatenate([drawn.cells, drawn.tokens], axis=1), 3072) > 1e-3


def test_marginals_of_9x9():
    """Any digit goes anywhere, any cell goes anywhere, rows that share a band still do, half are
    transposed.
    """
    drawn = symmetry.draw(20_000, 9, random(8))
    assert (drawn.tokens[:, :2] == [0, 1]).all()
    for digit in range(2, 11):
        assert chisquare(np.bincount(drawn.tokens[:, digit])[2:]).pvalue > 1e-3
    for cell in (0, 40, 77):
        assert chisquare(np.bincount(drawn.cells[:, cell], minlength=81)).pvalue > 1e-3
    flipped = drawn.cells[:, 0] // 9 != drawn.cells[:, 1] // 9
    assert chisquare([flipped.sum(), (~flipped).sum()]).pvalue > 1e-3
    rows = np.where(flipped[:, None], drawn.cells[:, ::9] % 9, drawn.cells[:, ::9] // 9)
    assert p_value(rows, 1296) > 1e-3
