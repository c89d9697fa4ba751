"""A trained model in use: grids in, answers out, from a run, an export or a wheel."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import tinyreason
import train
from data.registry import load_task
from eval import export, solve
from tests import tiny
from tests.test_export import WORDS
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts
from tinyreason.rules import Notation, make_rules

ROOT = Path(__file__).parents[1]
QUICK = ("scale=small", "model.width=16", "model.heads=2", "steps=6", "batch=4", "save_every=2")
QUICK += (
    "halting.segments=2",
    "eval.segments=null",
    "eval.batch=8",
    "ema=0.5",
    "optim.warmup=1",
    "eval_every=4",
)
COUNTS = ("task.train_puzzles=12", "task.valid_puzzles=4", "task.test_puzzles=8")
RUNS = {
    "sudoku": ("task=sudoku", "task.side=4", *COUNTS),
    "maze": ("task=maze", *COUNTS),
}
PUZZLE = "12..3.......2..1"
MAZE = "S  #   \n ####  \n".replace("\n", "")


def test_the_9x9_sudokus_of_newspapers_are_solved_by_what_ships():
    question = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
    answer = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
    solved = tinyreason.load(str(ROOT / "pretrained/sudoku9"), device="cpu").solve([question])
    assert solved.answers == [answer]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    root, before = tmp_path_factory.mktemp("work"), Path.cwd()
    os.chdir(root)
    try:
        for name, words in RUNS.items():
            train.train(tiny.config(*words, *QUICK, "device=cpu", f"name={name}"))
    finally:
        os.chdir(before)
    return root / "runs"


@pytest.fixture(scope="module")
def shared(runs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("shared") / "model"
    export.main(OmegaConf.create(WORDS | {"run": str(runs / "sudoku"), "out": str(out)}))
    return out


def words(run: Path, **changes) -> OmegaConf:
    nothing = (
        "source",
        "max_puzzles",
        "segments",
        *tiny.EXIT_OPTIONS,
        "halt",
        "batch",
        "votes",
        "json",
        "answers",
    )
    given = {"run": str(run), "checkpoint": "last", "split": "test", "device": "cpu"}
    given |= {"weights": "ema", "embedding": "own", "puzzle": None, "task": {}}
    return OmegaConf.create(dict.fromkeys(nothing) | given | changes)


def refusal(function, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- from Python


def test_any_way_to_write_a_grid_gives_the_same_answer(runs):
    model = tinyreason.load(runs / "sudoku", device="cpu")
    cells = [[int(c) if c != "." else 0 for c in PUZZLE[i : i + 4]] for i in range(0, 16, 4)]
    ways = [
        PUZZLE,
        PUZZLE.replace(".", "0"),
        "\n".join(PUZZLE[i : i + 4] for i in range(0, 16, 4)),
        "1 2 | . .\n3 . | . .\n----+----\n. . | . .\n2 . | . 1\n",
        cells,
        [[cell or None for cell in row] for row in cells],
        np.array(cells),
        np.array([cells]),
        [PUZZLE],
        (cells,),
        json.dumps(cells),
    ]
    found = [model.solve(way) for way in ways]
    assert all(len(one) == 1 for one in found)
    assert len({one.answers[0] for one in found}) == 1
    one = found[0]
    assert one.grids.shape == (1, 4, 4)
    told = ["?" if value < 0 else ".1234"[value] for value in one.grids[0].ravel()]
    assert "".join(told) == one.answers[0]
    assert (one.valid.dtype, one.valid.shape) == (bool, (1,))
    assert 0 < one.confidence[0] < 1
    assert one.segments.tolist() == [2]


def test_many_puzzles_are_answered_as_in_an_evaluation(runs, shared):
    config = tinyreason.load(runs / "sudoku").config
    puzzles = load_task(config.task)[1]["test"]
    run, model = (tinyreason.load(path, device="cpu") for path in (runs / "sudoku", shared))
    found, again = (one.solve(tiny_texts(puzzles.inputs)) for one in (run, model))
    assert found.answers == again.answers
    assert found.confidence.tobytes() == again.confidence.tobytes()
    attempt = run.solver()(puzzles.rows(), config.facts)
    assert (found.tokens == attempt.answers).all()


def tiny_texts(tokens: np.ndarray) -> list[str]:
    return tiny.sudoku_texts(tokens)


@pytest.mark.parametrize(
    ("grid", "why"),
    [
        ("12..", "2 rows of 2 cells; this model takes 4 rows of 4 cells"),
        (PUZZLE[:-1], "15 cells, not 16"),
        (PUZZLE[:-1] + "9", "row 4, column 4 is '9'; this model knows '.1234'"),
        ("11" + PUZZLE[2:], "row 1 has two 1s"),
        ("1..." + "1..." + "........", "column 1 has two 1s"),
        ("1....1..........", "box 1 has two 1s"),
        ([[1, 2], [3]], "its rows are not of one length"),
        ([[5] * 4] * 4, "row 1, column 1 is 5, not a number from 0 to 4"),
        ([["a", "bc", "a", "a"]] * 4, "a cell is 'bc'"),
        ([[True] * 4] * 4, "a cell is 'True'"),
        ([], "no puzzles"),
        (np.zeros(16), "an array of shape (16,)"),
        ("", "empty"),
        ("x" * 200_000, "longer than 100,000 characters"),
        ([PUZZLE, PUZZLE[:-1]], "puzzle 2: 15 cells"),
    ],
)
def test_what_is_no_puzzle_is_refused_before_anything_is_solved(runs, grid, why):
    model = tinyreason.load(runs / "sudoku", device="cpu")
    assert why in refusal(model.solve, grid)


def test_checkpoints_are_chosen(runs):
    chosen = (tinyreason.load(runs / "sudoku", checkpoint=which) for which in ("last", 2, "best"))
    weights = [next(iter(one.model.parameters())) for one in chosen]
    assert not torch.equal(weights[0], weights[1])
    missing = tinyreason.load(runs / "sudoku", checkpoint=3)
    assert "there are those of steps 2, 4, 6" in refusal(lambda: missing.model)
    strange = tinyreason.load(runs / "sudoku", checkpoint="newest")
    assert "checkpoint=newest is unknown; use best, last or a step" in refusal(
        lambda: strange.model
    )


def test_halting_stops_early_and_says_after_how_many_segments(runs):
    model = tinyreason.load(runs / "sudoku", device="cpu")
    torch.nn.init.constant_(model.model.heads.halt.bias, 5.0)
    assert model.solve(PUZZLE, halt=True).segments.tolist() == [1]
    assert model.solve(PUZZLE, halt=False, segments=3).segments.tolist() == [3]


def test_a_maze_is_drawn_with_its_path_and_without_a_way_refused(runs):
    model = tinyreason.load(runs / "maze", device="cpu")
    open_ = "S     " + " " * 24 + "     G"
    picture = str(model.solve(open_))
    assert picture.splitlines()[0].startswith("+------+     +------+")
    assert "segments" in picture.splitlines()[-1]
    walled = "S#    " + "##    " + " " * 18 + "     G"
    assert "there is no way from 'S' to 'G'" in refusal(model.solve, walled)
    assert "0 cells are 'G', not exactly one" in refusal(model.solve, open_.replace("G", " "))
    assert "'x'" in refusal(model.solve, open_[:-2] + "xG")


def test_a_run_of_an_earlier_version_names_the_way_out():
    kept = ROOT / "tests" / "kept" / "0.1.0"
    assert "use `python -m eval.export run=" in refusal(tinyreason.load, kept / "trm")
    assert len(tinyreason.load(kept / "exported").solve(PUZZLE)) == 1


def test_smaller_puzzles_and_numbers():
    facts = Facts(vocab_size=6, grid=(4, 4))
    rules = make_rules(facts, Notation("maze", "# SGo", True))
    question = rules.tokens("S  \n # \n  G")
    assert question.reshape(4, 4).tolist() == [[3, 2, 2, 0], [2, 1, 2, 0], [2, 2, 4, 0], [0] * 4]
    assert rules.text(question, question) == "S   #   G"
    numbers = make_rules(Facts(vocab_size=30, grid=(1, 3)), Notation("grid", "", False))
    assert numbers.tokens("0 12 29").tolist() == [0, 12, 29]
    assert "not a number from 0 to 29" in refusal(numbers.tokens, "0 12 30")


# ---- from the command line


def test_a_puzzle_is_answered_side_by_side(runs, capsys):
    solve.main(words(runs / "sudoku", puzzle=PUZZLE))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 2 | . .     ")
    assert lines[2] == "----+----     ----+----"
    assert lines[-1].endswith(", 2 segments")
    assert "\033" not in "".join(lines)


def test_a_file_is_answered_to_a_table_and_to_json(runs, tmp_path, capsys):
    path = tmp_path / "mine (1).txt"
    path.write_text(f"{PUZZLE}\n{'.' * 16}\n")
    out, table = tmp_path / "out.json", tmp_path / "out.csv"
    solve.main(words(runs / "sudoku", puzzle=str(path), json=str(out), answers=str(table)))
    told = capsys.readouterr().out
    assert "2 Sudokus of 4x4 (no answers, blank .)" in told
    assert "2 puzzles, " in told
    assert " a second" in told
    rows = list(csv.DictReader(table.read_text().splitlines()))
    stated = json.loads(out.read_text())
    assert [row["question"] for row in rows] == [PUZZLE, "." * 16]
    assert [row["answer"] for row in rows] == [row["answer"] for row in stated]
    assert set(stated[0]) == {"question", "answer", "valid", "confidence", "segments"}


def test_standard_input_is_read_in_any_form(runs, capsys, monkeypatch):
    import io

    drawn = "1 2 | . .\n3 . | . .\n----+----\n. . | . .\n2 . | . 1\n"
    for text, count in ((PUZZLE, 1), (drawn, 1), (f"puzzle\n{PUZZLE}\n{'.' * 16}\n", 2)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        solve.main(words(runs / "sudoku", puzzle="-"))
        assert capsys.readouterr().out.count(" segments") == count
    monkeypatch.setattr(sys, "stdin", io.StringIO(PUZZLE[:-1]))
    line = refusal(solve.main, words(runs / "sudoku", puzzle="-"))
    assert line == "puzzle: 15 cells, not 16 (4 rows of 4)"


def test_nothing_half_written(runs, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text(f"{PUZZLE}\n{PUZZLE}\n11{PUZZLE[2:]}\n")
    table = tmp_path / "out.csv"
    line = refusal(solve.main, words(runs / "sudoku", puzzle=str(path), answers=str(table)))
    assert line == f"{path}:3: row 1 has two 1s"
    assert not table.exists()
    line = refusal(solve.main, words(runs / "sudoku", puzzle="no/such.csv"))
    assert "no such file, and no grid" in line


def test_a_scored_split_writes_its_answers(runs, tmp_path):
    table = tmp_path / "out.csv"
    solve.main(words(runs / "sudoku", answers=str(table), max_puzzles=5))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 5
    assert {"question", "answer", "valid", "exact"} <= set(rows[0])


# ---- without the checkout


@pytest.mark.hostile
def test_a_wheel_in_a_fresh_place_answers(shared, tmp_path):
    """With the library alone on the path: no data, conf or eval, no Hydra."""
    library = tmp_path / "site" / "tinyreason"
    library.parent.mkdir()
    library.symlink_to(ROOT / "tinyreason")
    code = (
        "import sys; sys.modules['hydra'] = sys.modules['omegaconf'] = None; import tinyreason; "
        f"print(tinyreason.load({str(shared)!r}).solve({PUZZLE!r}))"
    )
    environment = os.environ | {"PYTHONPATH": str(library.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 2 | . .     ")
