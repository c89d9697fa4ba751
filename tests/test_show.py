"""How a puzzle is solved, as pictures, as an animation and as a page."""

import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import train
from conf.cli import command
from eval.load import open_run, puzzles_for
from eval.page import data, page
from eval.picture import AMBER, ARC, FILLED, RED, STONE, channels, picture
from eval.show import __main__ as show
from eval.show import puzzle as puzzles
from eval.show.animation import gif
from eval.show.page import document
from eval.show.trace import others, per_thousand, projected, trace
from tests import tiny
from tests.test_trajectory import FEW, solver_of
from tests.test_use import COUNTS, QUICK
from tinyreason.errors import UserError
from tinyreason.exits import cells_of
from tinyreason.noise import PuzzleNoise
from tinyreason.puzzle import Batch, Facts, Rows
from tinyreason.rules import Notation, make_rules
from tinyreason.segment import Carry, segment

QUICK_RUN = (*QUICK, *COUNTS, "halting.segments=1", "device=cpu")
ROOT = Path(__file__).parents[1]
SUDOKU, MAZE = ROOT / "pretrained" / "sudoku6", ROOT / "pretrained" / "maze6"
PUZZLES = ROOT / "pretrained" / "puzzles.csv"
PUZZLE = "1...4.6....14..623.......1.4..534.6."
ANSWER = "125346643251451623362514216435534162"


@pytest.fixture(scope="module")
def solved():
    """A trace of the puzzle in the README, deeper than trained, and its rules."""
    trained = open_run(SUDOKU)
    shown = puzzles.typed(trained, trained.rules.tokens(PUZZLE))
    return trace(trained, trained.solver(10), shown.rules, shown.rows), shown.rules


# ---- the trace


def test_a_trace_ends_in_the_answer(solved):
    found, rules = solved
    last = found["steps"][-1]
    question = np.array(found["question"], np.uint8)
    assert rules.text(question, np.array(last["answer"], np.uint8)) == ANSWER
    assert rules.text(question, np.array(found["truth"], np.uint8)) == ANSWER
    assert last["exact"]
    assert last["checks"] == {"valid": True}
    assert last["finished"]
    assert last["halt"] > 0.5


def test_a_trace_has_a_step_for_every_whole_recursion(solved):
    found, _ = solved
    places = [(step["segment"], step["recursion"]) for step in found["steps"]]
    assert places == [(s, r) for s in range(1, 11) for r in (2, 4)]
    assert found["trained"] == {"segments": 8, "recursions": 4}
    assert not found["steps"][0]["exact"]
    assert all(len(step["answer"]) == len(step["sure"]) == 36 for step in found["steps"])
    json.dumps(found, allow_nan=False)


def test_probabilities_of_a_cell_fit_together(solved):
    found, _ = solved
    for step in found["steps"]:
        for cell, pairs in step["others"].items():
            best, sure = step["answer"][int(cell)], step["sure"][int(cell)]
            assert sure < 996
            assert sure >= max(chance for _, chance in pairs)
            assert best not in [token for token, _ in pairs]
            assert sure + sum(chance for _, chance in pairs) <= 1003


@pytest.mark.parametrize("name", FEW)
def test_every_model_is_traced_to_what_a_segment_reads(name):
    """Recursion by recursion from outside, and by the library's own segments."""
    solver, rows, facts = solver_of(name)
    one = Rows(*(column[:1] for column in rows))
    rules = make_rules(facts, Notation("sudoku", ".1234", False))
    trained = Stated(solver, facts)
    found = trace(trained, solver, rules, one)
    batch = Batch.of(one, facts)
    carry = Carry.fresh(solver.model, batch).refill(batch)
    solver.model.eval()
    for k in range(solver.segments):
        noise = PuzzleNoise([k], [0])
        with torch.no_grad():
            seen = segment(solver.model, carry, solver.depth, solver.gradient, noise)
        carry = carry.advance(seen.state)
        step = [step for step in found["steps"] if step["segment"] == k + 1][-1]
        assert step["recursion"] == solver.depth.total
        assert step["answer"] == seen.reads[-1].answer[0].tolist()
    assert cells_of(seen.state[0], facts.seq_len).shape[1] == facts.seq_len


class Stated:
    """What a trace asks of a trained model beside its solver."""

    def __init__(self, solver, facts: Facts):
        from types import SimpleNamespace as Some

        self.path = Path("any")
        halting, few = Some(segments=solver.segments), Some(segments=None)
        model = solver.model.config
        self.config = Some(facts=facts, model=model, halting=halting, eval=few)
        self.trained_segments = solver.segments


def test_a_path_on_a_line_has_one_axis():
    path = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 6.0]]).unsqueeze(1)
    points, explained = projected(path)
    assert explained == pytest.approx([1.0, 0.0], abs=1e-6)
    x = np.array(points)[:, 0]
    assert abs(x).max() == pytest.approx(1.0)
    assert (x[2] - x[0]) / (x[1] - x[0]) == pytest.approx(3.0, rel=1e-3)


def test_distances_in_the_plane_are_those_of_a_flat_path():
    corners = torch.tensor([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0]], dtype=torch.float64)
    turned = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64))[0]  # a plane in five
    points, explained = projected((corners @ turned.T).unsqueeze(1))
    assert sum(explained) == pytest.approx(1.0, abs=1e-3)
    across = np.linalg.norm(np.array(points[0]) - np.array(points[2]))
    side = np.linalg.norm(np.array(points[0]) - np.array(points[1]))
    assert across / side == pytest.approx(5 / 4, rel=1e-2)


def test_a_path_of_one_state_stays_where_it_is():
    points, explained = projected(torch.ones(1, 3, 2))
    assert points == [[0.0, 0.0]]
    assert explained == [0.0]


def test_others_are_the_next_tokens_of_cells_that_are_not_certain():
    chances = np.array([[0.0, 0.999, 0.001], [0.2, 0.3, 0.5]])
    assert others(chances, np.array([1, 2])) == {"1": [[1, 300], [0, 200]]}
    assert per_thousand(np.array([0.9994, 0.0006])) == [999, 1]


# ---- pictures


def pixel(image: Image.Image, rows: int, columns: int, row: float, column: float) -> list[int]:
    """The colour at a place that is counted in cells."""
    x, y = column / columns * image.width, row / rows * image.height
    return list(image.getpixel((int(x), int(y))))


def has(image: Image.Image, colour: str) -> bool:
    near = np.abs(np.array(image).astype(int) - channels(colour)).max(-1)
    return bool((near <= 12).any())


def sudoku_rules():
    return make_rules(Facts(6, (4, 4), (2, 2)), Notation("sudoku", ".1234", False))


def test_a_picture_marks_what_is_wrong_and_what_has_changed():
    rules = sudoku_rules()
    question = rules.tokens("1...............")
    right = rules.tokens("1234341221434321")
    wrong, other = right.copy(), right.copy()
    wrong[1], other[2] = 5, 5
    assert not has(picture(rules, question, right, right), RED)
    assert has(picture(rules, question, wrong, right), RED)
    assert not has(picture(rules, question, right), AMBER)
    assert has(picture(rules, question, right, before=other), AMBER)
    ignored = right.copy()
    ignored[1] = 0
    assert not has(picture(rules, question, wrong, ignored), RED)


def test_the_surer_the_bluer():
    rules = sudoku_rules()
    question, answer = rules.tokens("1..............."), rules.tokens("1234341221434321")
    shade = np.linspace(0, 1, 16)
    image = picture(rules, question, answer, shade=shade)
    grounds = [pixel(image, 4, 4, i // 4 + 0.15, i % 4 + 0.15)[0] for i in range(1, 16)]
    assert grounds == sorted(grounds, reverse=True)
    assert grounds[0] - grounds[-1] > 40


def test_a_path_is_a_line_from_cell_to_cell():
    rules = make_rules(Facts(6, (2, 3)), Notation("maze", "# SGo", False))
    question = rules.tokens(["S G", "#  "])
    answer = rules.tokens(["S G", "#  "])
    answer[1] = 5
    image = picture(rules, question, answer)
    assert pixel(image, 2, 3, 0.5, 0.95) == pytest.approx(channels(FILLED), abs=4)
    assert pixel(image, 2, 3, 0.5, 2.05) == pytest.approx(channels(FILLED), abs=4)
    assert pixel(image, 2, 3, 1.5, 0.5) == channels(STONE)
    assert pixel(image, 2, 3, 1.5, 1.5) == [255, 255, 255]


def test_arc_has_its_own_colours_and_size():
    rules = make_rules(Facts(12, (6, 6)), Notation("arc", "", False))
    grid = np.zeros((6, 6), np.uint8)
    grid[:2, :5] = np.arange(10).reshape(2, 5) + 2
    grid[2, :5] = grid[:2, 5] = 1
    image = picture(rules, grid.ravel(), grid.ravel())
    assert image.width > 2 * image.height
    for colour in range(10):
        place = colour // 5 + 0.5, colour % 5 + 0.5
        assert pixel(image, 2, 5, *place) == channels(ARC[colour])


def test_an_animation_has_a_frame_for_the_question_and_for_each_segment(solved):
    found, rules = solved
    image = Image.open(io.BytesIO(gif(found, rules)))
    assert image.n_frames == 1 + 10
    sizes, times = set(), []
    for frame in range(image.n_frames):
        image.seek(frame)
        sizes.add(image.size)
        times.append(image.info["duration"])
    assert len(sizes) == 1
    assert times[0] > times[1]
    assert times[-1] > times[0]


# ---- the page


def test_the_page_needs_no_network_and_holds_its_trace(solved):
    found, _ = solved
    html = document(found)
    links = set(re.findall(r"https?://[^\s\"'<>]+", html)) - {"http://www.w3.org/2000/svg"}
    assert not links
    assert "default-src 'none'" in html
    inside = re.search(r'<script type="application/json" id="trace">(.*?)</script>', html)[1]
    assert json.loads(inside) == found


def test_nothing_that_is_shown_becomes_markup():
    nasty = "</script><img src=x onerror=alert(1)>"
    html = page(nasty, [data("a", {"text": nasty})])
    assert "<img" not in html
    assert html.count("</script>") == 1


# ---- the command


def run(capsys, monkeypatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["eval/show/__main__.py", *words])
    code = 0
    try:
        command("show", show.main)
    except SystemExit as left:
        code = left.code
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_writes_its_files_and_writes_them_again(tmp_path, capsys, monkeypatch):
    words = (f"run={SUDOKU}", f"puzzle={PUZZLE}", f"out={tmp_path / 'out'}", "segments=3")
    for _ in range(2):
        code, out, _ = run(capsys, monkeypatch, *words)
        assert code == 0
        assert "valid, exact" in out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"trace.json", "trace.html", "thinking.gif", "puzzle.png"}
    with Image.open(tmp_path / "out" / "puzzle.png") as image:
        assert image.width > 600


def test_a_puzzle_with_several_answers_has_no_truth(tmp_path, capsys, monkeypatch):
    words = (f"run={SUDOKU}", f"puzzle={'.' * 36}", f"out={tmp_path / 'out'}", "segments=2")
    code, out, _ = run(capsys, monkeypatch, *words)
    assert code == 0
    assert "its right answer is not known: it has several solutions" in out
    assert json.loads((tmp_path / "out" / "trace.json").read_text())["truth"] is None


def test_a_maze_that_is_typed_is_known_to_be_right(tmp_path, capsys, monkeypatch):
    maze = tmp_path / "maze.txt"
    maze.write_text(" ###  \n    S#\n # #  \n# ##  \n#     \nG #   \n")
    words = (f"run={MAZE}", f"puzzle={maze}", f"out={tmp_path / 'out'}")
    code, _, err = run(capsys, monkeypatch, *words)
    assert (code, err) == (0, "")
    assert json.loads((tmp_path / "out" / "trace.json").read_text())["truth"] is not None


REFUSED = {
    "index": ((f"source={PUZZLES}", "index=99"), "index=99: test has 60 puzzles, from 0 to 59"),
    "negative": (("index=-1",), "index=-1 must be 0 or more"),
    "size": (("puzzle=12",), "2 cells, not 36 (6 rows of 6)"),
    "both": ((f"puzzle={PUZZLE}", "source=x.csv"), "leave one out"),
    "deep": ((f"puzzle={PUZZLE}", "segments=60000"), "use fewer segments= or recursions="),
    "none": ((f"puzzle={PUZZLE}", "segments=0"), "segments=0 must be 1 or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_in_a_line(case, tmp_path, capsys, monkeypatch):
    words, told = REFUSED[case]
    code, _, err = run(capsys, monkeypatch, f"run={SUDOKU}", f"out={tmp_path / 'x'}", *words)
    assert code == 2
    assert err.count("\n") == 1
    assert told in err
    assert not (tmp_path / "x").exists()


def test_other_files_are_left_alone(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.txt").write_text("mine")
    code, _, err = run(capsys, monkeypatch, f"run={SUDOKU}", f"out={tmp_path}")
    assert code == 2
    assert "not empty, and not from this command" in err
    code, _, err = run(capsys, monkeypatch, f"run={SUDOKU}", f"out={tmp_path / 'mine.txt'}")
    assert code == 2
    assert "a file; name a folder" in err


def test_pictures_ask_for_pillow(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("eval.picture.Image", None)
    code, _, err = run(capsys, monkeypatch, f"run={SUDOKU}", f"out={tmp_path / 'x'}")
    assert (code, err) == (2, "error: for pictures, pip install -e '.[viz]'\n")


def test_a_new_puzzle_is_one_and_differs_by_seed():
    for run_ in (SUDOKU, MAZE):
        trained = open_run(run_)
        one, other = (puzzles.made(trained, seed).rows.inputs[0] for seed in (1, 2))
        assert trained.rules.contradiction(one) is None
        assert not np.array_equal(one, other)
        assert np.array_equal(one, puzzles.made(trained, 1).rows.inputs[0])
        assert puzzles.typed(trained, one).rows.labels.any()


def test_a_model_of_one_segment_is_asked_for_no_more(tmp_path):
    """Its cells halt for good within a segment."""
    words = ("task=sudoku", "task.side=4", "model=universal", *QUICK_RUN)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        train.train(tiny.config(*words, "name=one"))
    finally:
        os.chdir(before)
    trained = open_run(tmp_path / "runs" / "one")
    assert trained.deeper(8, 64) == 1
    assert trained.solver().segments == 1
    with pytest.raises(UserError, match="takes one segment; use segments=1"):
        trained.solver(2)


def test_other_puzzles_are_shown_where_none_can_be_made(monkeypatch):
    """A rectangle of a maze, boxes that are not the usual ones."""

    def refused(self, seed):
        raise UserError("not made")

    monkeypatch.setattr("data.sudoku.Sudoku.made", refused)
    monkeypatch.setattr("eval.show.puzzle.puzzles_for", lambda *_: puzzles_of_a_file())
    assert puzzles.made(open_run(SUDOKU), 5).name == "test puzzle 5"


def puzzles_of_a_file():
    return puzzles_for(open_run(SUDOKU), "test", str(PUZZLES))


def test_a_truth_that_is_too_hard_to_find_is_not_known():
    trained = open_run(SUDOKU)
    question = trained.rules.tokens(PUZZLE)
    assert puzzles.typed(trained, question).rows.labels.any()
    hard = puzzles.typed(trained, trained.rules.tokens("." * 36), 1)
    assert not hard.rows.labels.any()
    assert "too hard to find" in hard.notes[0]
    assert trained.rules.contradiction(question) is None


def test_what_is_no_number_is_none_in_a_trace():
    assert per_thousand(np.array([np.nan, 1.0])) == [0, 1000]


def test_arc_is_asked_by_file(tmp_path):
    trained = open_run(SUDOKU)
    with pytest.raises(UserError, match="use the JSON file"):
        puzzles.arc_file(trained, "nothing.json", 0, "own")
