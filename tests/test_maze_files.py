"""Mazes as people keep them: any alphabet, rectangles, several sizes, without answers."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.test_table import refusal, written
from tinyreason.rules.maze import PATH

CASES = Path(__file__).parents[2] / "shared" / "cases" / "maze"
needs_cases = pytest.mark.skipif(
    not CASES.is_dir(), reason="shared/cases is not beside the checkout"
)
QUESTION, ANSWER = "S..#\n.#.#\n...G", "S..#\no#.#\noooG"
STEPS = [6, 6, 7, 6, 9, 9, 7, 5, 6, 5, 5, 6, 12, 4, 5, 7, 5, 7, 4, 5, 7, 5, 4, 4]
RECTANGLES = [4, 9, 7, 6, 5, 10, 9, 4, 6, 5, 6, 4, 5, 12, 7, 5, 9, 6, 7, 4, 5, 7, 12, 4]


def loaded(path: Path, **options):
    """The task and all its mazes, in order."""
    task = tiny.maze(source=str(path), **{"side": None} | tiny.FILE | options)
    return task, tiny.read_file(task, path)


def texts(tokens: np.ndarray) -> list[str]:
    return ["".join("?# SGo"[token] for token in row if token) for row in tokens.tolist()]


def steps(labels: np.ndarray) -> list[int]:
    return ((labels == PATH).sum(1) + 1).tolist()


def flat(text: str) -> str:
    return text.replace("\n", "")


# ---- forms and alphabets


def forms() -> dict[str, str]:
    """Name of a file -> what it holds; all the same maze with its answer."""
    rows = {"maze": QUESTION.split("\n"), "solution": ANSWER.split("\n")}
    numbers = {"maze": [[2, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 3]]}
    numbers["path"] = [[2, 0, 0, 1], [4, 1, 0, 1], [4, 4, 4, 3]]
    return {
        "flat.csv": f"question,answer\n{flat(QUESTION)},{flat(ANSWER)}\n",
        "lines.csv": f'question,answer\n"{QUESTION}","{ANSWER}"\n',
        "spaces.csv": f"maze;path\n{flat(QUESTION)};{flat(ANSWER)}\n".replace(".", " "),
        "star.csv": f"question,answer\n{flat(QUESTION)},{flat(ANSWER).replace('o', '*')}\n",
        "answer_first.csv": f"{flat(ANSWER)},{flat(QUESTION)}\n",
        "rows.jsonl": json.dumps(rows),
        "numbers.jsonl": json.dumps(numbers) + "\n" + json.dumps(numbers),
    }


@pytest.mark.parametrize("name", forms())
def test_forms(tmp_path, name):
    task, found = loaded(written(tmp_path / name, forms()[name]))
    assert task.facts.grid == (3, 4)
    assert texts(found.inputs) == [flat(QUESTION).replace(".", " ")]
    assert steps(found.labels) == [5]


@pytest.mark.parametrize("alphabet", ["#.SGo", "10234", "XOBES", "W_ab*", "█ SE+"])
def test_any_alphabet_follows_from_the_structure(tmp_path, alphabet):
    made = tiny.maze(side=7, wall=0.3, train_puzzles=12, valid_puzzles=0, test_puzzles=0).load(0)
    part = made["train"]
    spelt = [
        ["".join(alphabet[t - 1] for t in row) for row in cells.tolist()]
        for cells in part.rows()[:2]
    ]
    lines = ["question,answer", *map(",".join, zip(*spelt, strict=True))]
    task, found = loaded(written(tmp_path / "a.csv", "\n".join(lines)))
    assert task.notation.alphabet == alphabet
    assert (found.inputs == part.inputs).all()
    assert (found.labels == part.labels).all()
    roles = zip(("wall", "open", "start", "goal", "path"), alphabet, strict=True)
    assert all(f"{role} {character!r}" in task.notes[0] for role, character in roles)


def test_mazes_drawn_over_their_lines(tmp_path):
    two = QUESTION.replace(".", " ") + "\n\n" + "S ##\n  ##\n#  G\n"
    _, found = loaded(written(tmp_path / "a.txt", two), ambiguous="keep")
    assert texts(found.inputs) == [flat(QUESTION).replace(".", " "), "S ##  ###  G"]
    assert steps(found.labels) == [5, 5]


def test_what_cannot_be_told_apart_is_asked_for(tmp_path):
    path = written(tmp_path / "a.csv", "question\nxxxxayyyybyyyyyy\n")
    line = refusal(loaded, path)
    assert "task.alphabet=" in line
    assert "'x' the walls or 'y' the walls" in line
    task, _ = loaded(path, alphabet="xyabo", ambiguous="keep")
    assert task.facts.grid == (4, 4)
    assert "must be five different characters" in refusal(loaded, path, alphabet="xx")


# ---- shapes


def test_a_rectangle_in_one_line_has_the_shape_in_which_paths_are_paths(tmp_path):
    path = written(tmp_path / "a.csv", forms()["flat.csv"])
    assert loaded(path)[0].facts.grid == (3, 4)
    question = written(tmp_path / "b.csv", "question\nS...##.....G\n")
    assert "12 cells may be 2 x 6 or 3 x 4" in refusal(loaded, question, ambiguous="keep")
    task, _ = loaded(question, grid=[3, 4], ambiguous="keep")
    assert task.facts.grid == (3, 4)
    assert "must be [rows,columns]" in refusal(loaded, question, grid=[3])


def test_several_sizes_stand_on_one_canvas(tmp_path):
    small = tiny.maze(side=4, min_path=4, train_puzzles=5, valid_puzzles=0, test_puzzles=0)
    large = tiny.maze(side=6, min_path=6, train_puzzles=5, valid_puzzles=0, test_puzzles=0)
    parts = [task.load(0)["train"] for task in (small, large)]
    rows = [
        ",".join(pair) for p in parts for pair in zip(texts(p.inputs), texts(p.labels), strict=True)
    ]
    path = written(tmp_path / "a.csv", "\n".join(["question,answer", *rows]))
    task, found = loaded(path)
    assert task.facts.grid == (6, 6)
    assert task.notation.padded
    assert texts(found.inputs) == [row.split(",")[0] for row in rows]
    assert task.check(found.inputs, found.labels)["optimal"].all()
    wrong = found.labels.copy()
    wrong[:, -1] = 3  # beside the small ones, where nothing counts
    valid = task.check(found.inputs, wrong)["valid"]
    assert valid[:5].all()
    assert not valid[5:].all()
    assert "do not fit" in refusal(loaded, path, side=5) or "is for 5 x 5" in refusal(
        loaded, path, side=5
    )


def test_smaller_mazes_and_rectangles_are_turned_within_their_own_size(tmp_path):
    for name, size in (("lines.csv", None), ("lines.csv", 6)):
        path = written(tmp_path / name, forms()[name])
        task = tiny.maze(source=str(path), augment=True, **{"side": size} | tiny.FILE)
        splits = task.load(0)
        rows = splits["train"].rows()
        copies = splits["train"].copies
        assert copies == (4 if size is None else 8)
        for k in range(copies):
            turned = task.augment(rows, np.array([k]), np.random.default_rng(0))
            assert all(kept.all() for kept in task.check(turned.inputs, turned.labels).values())
            assert steps(turned.labels) == [5]
        assert len(set(task.keys(splits["train"]).tolist())) == 1


# ---- answers


def test_missing_answers_are_computed_and_ties_left_out(tmp_path):
    path = written(tmp_path / "a.txt", "S   \n    \n   G\n\nS###\n  ##\n#  G\n")
    task, found = loaded(path)
    assert steps(found.labels) == [5]
    assert any("1 mazes have several shortest paths and are left out" in n for n in task.notes)
    assert steps(loaded(path, ambiguous="keep")[1].labels) == [5, 5]


def test_a_longer_way_is_counted_and_kept(tmp_path):
    maze = written(tmp_path / "a.csv", 'question,answer\n"S...\n.##.\nG...","Sooo\n.##o\nGooo"\n')
    task, found = loaded(maze)
    assert any("1 answers are a path but not a shortest one (row 2" in n for n in task.notes)
    assert steps(found.labels) == [8]


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        ("S...\n....\n...G", "Sooo\n..oo\n...G", "are not one path from 'S' to 'G'"),
        ("S#..\n##..\n...G", "S#..\n##..\n...G", "there is no way from 'S' to 'G'"),
        ("S.##\n.S..\n...G", "Soo#\n.S..\n...G", "does not have exactly one 'S'"),
    ],
)
def test_what_is_no_maze_or_no_path_is_refused_by_its_row(tmp_path, question, answer, why):
    good = f'"{QUESTION}","{ANSWER}"\n' * 3
    content = f'question,answer\n{good}"{question}","{answer}"\n'
    path = written(tmp_path / "a.csv", content)
    line = refusal(loaded, path)
    assert line.startswith(f"{path}:17: ")
    assert why in line
    task, found = loaded(path, bad="skip")
    assert len(found.rows) == 1
    assert any("1 rows are left out: row 17: " in note for note in task.notes)


@needs_cases
def test_the_cases_of_others_are_read_as_they_are():
    """`shared/cases/README.md`: the right answers were computed independently."""
    with (CASES / "plain_7x7.csv").open(newline="") as file:
        key = [(row["question"], row["answer"]) for row in csv.DictReader(file)]

    def pairs(name: str, **options) -> list[tuple[str, str]]:
        found = loaded(CASES / f"{name}.csv", **options)[1]
        return list(zip(texts(found.inputs), texts(found.labels), strict=True))

    for name in ("plain_7x7", "x_walls_b_start_e_end", "digits"):
        assert pairs(name) == key, name
    task, found = loaded(CASES / "rectangle_5_rows_8_columns.csv")
    assert task.facts.grid == (5, 8)
    assert steps(found.labels) == RECTANGLES
    sizes = pairs("sizes_7_and_9")
    assert sizes[:12] == key[:12]
    assert [len(question) for question, _ in sizes[12:]] == [81] * 12
    kept = loaded(CASES / "questions_only.csv", ambiguous="keep")[1]
    assert texts(kept.inputs) == [question for question, _ in key]
    assert steps(kept.labels) == STEPS
    assert len(loaded(CASES / "questions_only.csv")[1].rows) == 11
    assert "cut the spaces off" in refusal(loaded, CASES / "outer_blanks_stripped.csv")
    no_way = CASES / "two_without_a_way.csv"
    assert ":22: there is no way from 'S' to 'G'" in refusal(loaded, no_way)
    assert pairs("two_without_a_way", bad="skip") == key[:20]
