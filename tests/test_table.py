"""Files as people have them: every form is read as what it is, or refused in one line.

The puzzles are four of `shared/cases/sudoku/plain_9x9.csv`; their answers are the only ones, found
by a solver that shares no code with this project.
"""

import bz2
import gzip
import json
import lzma
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import opened
from data.table import open_table
from tests import tiny
from tests.tiny import read_sudokus, sudoku_texts
from tinyreason.errors import UserError

QUESTIONS = [
    "7.236..1..1.52..........2.....1..3.5..5...67.197..5..........2.34...7569.68..3.4.",
    "2.....416.......286.8.23...82.3.........9..8.39..6.7.516...98.4...7.8.....46...9.",
]
ANSWERS = [
    "752368914614529738983741256826174395435892671197635482579416823341287569268953147",
    "239587416547916328618423957825374169476195283391862745163259874952748631784631592",
]
TWO = "question,answer\n{0},{2}\n{1},{3}\n"
PACKS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
HEADER = b"source,question,answer,rating\n"
CASES = Path(__file__).parents[2] / "shared" / "cases"
needs_cases = pytest.mark.skipif(
    not CASES.is_dir(), reason="shared/cases is not beside the checkout"
)


def refusal(function, *arguments, **options) -> str:
    """The one line of the UserError that the call must end in."""
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def is_read(path: Path, side: int | None = None, **options) -> None:
    """The two puzzles above, with their answers."""
    found = read_sudokus(path, side, **options)
    assert sudoku_texts(found.inputs) == QUESTIONS
    assert sudoku_texts(found.labels) == ANSWERS


def pairs(separator: str = ",", blank: str = ".") -> list[str]:
    return [q.replace(".", blank) + separator + a for q, a in zip(QUESTIONS, ANSWERS, strict=True)]


def lines_of(grid: str) -> list[str]:
    return [grid[i : i + 9] for i in range(0, 81, 9)]


def drawn(grid: str) -> str:
    """With lines between boxes, as `.ss` files and forums have it."""
    rows = ["|".join(row[i : i + 3] for i in range(0, 9, 3)) for row in lines_of(grid)]
    rule = "-----------"
    return "\n".join([*rows[:3], rule, *rows[3:6], rule, *rows[6:]])


# ---- forms of a file


@pytest.mark.parametrize(
    "header",
    [
        "question,answer",
        "Question, Answer",
        "quizzes,solutions",
        "PUZZLE,Solution",
        "input,label",
        "",
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_columns_and_separators(tmp_path, header, separator):
    lines = [header.replace(",", separator)] * bool(header) + pairs(separator)
    is_read(written(tmp_path / "a.txt", "\n".join(lines)))


@pytest.mark.parametrize("blank", [".", "0", "_", "?", "*", "-", "x", "X", "#"])
def test_blanks(tmp_path, blank):
    is_read(written(tmp_path / "a.csv", "\n".join(["puzzle,solution", *pairs(",", blank)])))


def forms() -> dict[str, str | bytes]:
    """Name of a file -> what it holds; all the same two puzzles."""
    quoted = ['"' + "\n".join(lines_of(g)) + '"' for g in (*QUESTIONS, *ANSWERS)]
    apart = [" ".join(g.replace(".", "0")) for g in (*QUESTIONS, *ANSWERS)]
    numbers = [[int(c) if c != "." else 0 for c in g] for g in (*QUESTIONS, *ANSWERS)]
    nested = [[row[i : i + 9] for i in range(0, 81, 9)] for row in numbers]
    objects = [{"puzzle": q, "solution": a} for q, a in zip(QUESTIONS, ANSWERS, strict=True)]
    lists = [{"quiz": q, "answer": a} for q, a in zip(nested[:2], nested[2:], strict=True)]
    games = "".join(f'<game data="{q.replace(".", "0")}"/>' for q in QUESTIONS)
    return {
        "extra_columns.csv": "id,puzzle,solution,clues\n"
        + "".join(f"{i},{pair},30\n" for i, pair in enumerate(pairs())),
        "byte_order_mark.csv": b"\xef\xbb\xbf" + "\n".join(["question,answer", *pairs()]).encode(),
        "windows.csv": "\r\n".join(["question,answer", *pairs(), ""]),
        "grid_over_lines.csv": TWO.format(*quoted),
        "cells_apart.csv": TWO.format(*apart),
        "python_lists.csv": "quiz,answer\n"
        + "".join(f'"{nested[i]}","{nested[i + 2]}"\n' for i in (0, 1)),
        "a_column_a_cell.csv": "\n".join(
            ",".join(map(str, numbers[i] + numbers[i + 2])) for i in (0, 1)
        ),
        "one_a_line.txt": "\n".join(QUESTIONS),
        "collection.sdm": "# forum\n" + "\n".join(q.replace(".", "0") for q in QUESTIONS),
        "blocks.sdk": "#AName\n" + "\n\n".join("\n".join(lines_of(q)) for q in QUESTIONS),
        "drawn.ss": "\n\n".join(map(drawn, QUESTIONS)),
        "rows.jsonl": "\n".join(map(json.dumps, objects)),
        "list.json": json.dumps(objects, indent=1),
        "grids.json": json.dumps(lists),
        "questions.json": json.dumps(QUESTIONS),
        "answers_first.csv": "\n".join(f"{a},{q}" for q, a in zip(QUESTIONS, ANSWERS, strict=True)),
        "id_and_rating.csv": "\n".join(f"{i},{pair},3.5" for i, pair in enumerate(pairs())),
        "apart_by_space.txt": "\n".join(pairs(" ")),
        "comments.csv": "# of somebody\nquestion,answer\n" + "\n".join(pairs()),
        "quoted.csv": '"question","answer"\n'
        + "".join(f'"{q}","{a}"\n' for q, a in zip(QUESTIONS, ANSWERS, strict=True)),
        "numpy_prints.csv": "quiz,answer\n"
        + "".join(f'"{np.array(nested[i])}","{np.array(nested[i + 2])}"\n' for i in (0, 1)),
        "columns.json": json.dumps({"quizzes": QUESTIONS, "solutions": ANSWERS}),
        "pandas.json": json.dumps(
            {k: dict(enumerate(v)) for k, v in (("puzzle", QUESTIONS), ("solution", ANSWERS))}
        ),
        "pairs.jsonl": "\n".join(
            json.dumps([q, a]) for q, a in zip(QUESTIONS, ANSWERS, strict=True)
        ),
        "python.txt": repr(QUESTIONS),
        "titles.txt": "\n".join(
            f"Grid {i}\n" + "\n".join(lines_of(q)) for i, q in enumerate(QUESTIONS)
        ),
        "framed.ss": "\n\n".join(f"*---*---*---*\n{drawn(q)}\n*---*---*---*" for q in QUESTIONS),
        "open.opensudoku": f'<?xml version="1.0"?><opensudoku><name>x</name>{games}</opensudoku>',
    }


@pytest.mark.parametrize("name", forms())
def test_forms(tmp_path, name):
    is_read(written(tmp_path / name, forms()[name]))


@pytest.mark.parametrize("name", forms())
@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"]
)
def test_compressed_forms(tmp_path, name, pack):
    content = forms()[name]
    content = content if isinstance(content, bytes) else content.encode()
    is_read(written(tmp_path / "any name", pack(content)))


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_zip_of_one_file_is_read_where_it_is(tmp_path):
    content = "\n".join(["question,answer", *pairs()]).encode()
    archive = zipped(tmp_path / "a.zip", {"../../evil.csv": content, "__MACOSX/._x": b"x"})
    is_read(archive)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert not (tmp_path.parent.parent / "evil.csv").exists()


def test_other_zips_are_refused(tmp_path):
    two = zipped(tmp_path / "two.zip", {"a.csv": b"x", "b.csv": b"y"})
    assert "a zip of 2 files (a.csv, b.csv), not one; unpack it" in refusal(read_sudokus, two, 9)
    none = zipped(tmp_path / "none.zip", {})
    assert "an empty zip" in refusal(read_sudokus, none, 9)
    whole = zipped(tmp_path / "cut.zip", {"a.csv": b"x" * 5000}).read_bytes()
    cut = written(tmp_path / "cut.zip", whole[:-40])
    assert "cut.zip:1: cannot be read: " in refusal(read_sudokus, cut, 9)


def test_npy_pairs(tmp_path):
    for name, texts in (("quizzes", QUESTIONS), ("solutions", ANSWERS)):
        cells = [[int(c.replace(".", "0")) for c in text] for text in texts]
        np.save(tmp_path / f"{name}.npy", np.array(cells, np.int64).reshape(2, 9, 9))
    is_read(tmp_path / "quizzes.npy")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="the parquet extra is not installed")
    from pyarrow import parquet

    table = pyarrow.table({"question": QUESTIONS, "answer": ANSWERS, "rating": [1, 2]})
    parquet.write_table(table, tmp_path / "a.parquet")
    is_read(tmp_path / "a.parquet")


def test_a_parquet_file_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(os.sys.modules, "pyarrow", None)
    path = written(tmp_path / "a.parquet", b"PAR1xxxx")
    assert "pip install 'tinyreason[parquet]'" in refusal(read_sudokus, path, 9)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.pdf", b"%PDF-1.4 ...", "a PDF, not a text file of puzzles"),
        ("a.csv", "question,answer".encode("utf-16"), "UTF-16 text, save it as UTF-8"),
        (
            "a.xml",
            b'<!DOCTYPE a [<!ENTITY b "c">]><opensudoku/>',
            "declaration of types or entities",
        ),
        ("a.xml", b"<opensudoku><game", "not readable XML"),
        ("a.xml", b"<html></html>", "not of OpenSudoku's games"),
        ("a.json", b"[" * 5000, "more brackets than puzzles have"),
        (
            "a.jsonl",
            b'{"a": 1, "a": 2}\n{"a": 1}',
            "a.jsonl:1: not readable JSON: an object has a name twice",
        ),
        ("a.csv", b"", "it is empty"),
    ],
)
def test_what_holds_no_puzzles(tmp_path, name, content, why):
    assert why in refusal(read_sudokus, written(tmp_path / name, content), 9)


def test_two_readings_are_refused_with_the_option_that_decides(tmp_path):
    path = written(tmp_path / "a.csv", f"first,second\n{pairs()[0]}\n{pairs()[1]}\n")
    line = refusal(read_sudokus, path, 9)
    assert "may be in column first or second" in line
    assert "task.columns=[first,second]" in line
    is_read(path, columns=["first", "second"])
    assert "has the columns first, second" in refusal(read_sudokus, path, 9, columns=["third"])


def test_a_multi_line_record_is_told_by_its_first_line(tmp_path):
    bad = ANSWERS[1].replace("9", "8", 1)
    grids = [
        '"' + "\n".join(lines_of(g)) + '"' for g in (QUESTIONS[0], ANSWERS[0], QUESTIONS[1], bad)
    ]
    path = written(tmp_path / "a.csv", "question,answer\n{},{}\n{},{}\n".format(*grids))
    assert refusal(read_sudokus, path, 9).startswith(f"{path}:19: ")


def test_ratings_are_filtered(tmp_path):
    rows = [f"{pair},{rating}" for pair, rating in zip(pairs(), ("0.5", "1.5"), strict=True)]
    path = written(tmp_path / "a.csv", "\n".join(["puzzle,solution,difficulty", *rows]))
    found = read_sudokus(path, None, min_rating=1.0)
    assert sudoku_texts(found.inputs) == QUESTIONS[1:]
    assert len(read_sudokus(path, None, max_rating=1.0).rows) == 1
    assert "no puzzles with such a rating" in refusal(read_sudokus, path, None, min_rating=9)
    plain = written(tmp_path / "b.csv", "\n".join(["puzzle,solution", *pairs()]))
    assert "no column rating or difficulty" in refusal(read_sudokus, plain, None, min_rating=1)


def test_bad_rows_are_left_out_where_asked(tmp_path):
    spoilt = ANSWERS[1].replace("2", "3", 1)
    path = written(tmp_path / "a.csv", f"question,answer\n{pairs()[0]}\n{QUESTIONS[1]},{spoilt}\n")
    assert "task.bad=skip leaves such rows out" in refusal(read_sudokus, path, 9)
    task = tiny.sudoku(side=9, source=str(path), **tiny.FILE | {"bad": "skip"})
    assert sudoku_texts(tiny.read_file(task, path).inputs) == QUESTIONS[:1]
    assert any("1 rows are left out: row 3: the answer" in note for note in task.notes)


def test_puzzles_with_several_solutions_are_left_out_and_counted(tmp_path):
    open_ = QUESTIONS[0].replace("5", ".").replace("2", ".")
    path = written(tmp_path / "a.csv", f"question,answer\n{pairs()[1]}\n{open_},{ANSWERS[0]}\n")
    for ambiguous, kept in (("drop", 1), ("keep", 2)):
        task = tiny.sudoku(side=9, source=str(path), **tiny.FILE | {"ambiguous": ambiguous})
        assert len(tiny.read_file(task, path).rows) == kept
        assert any("1 puzzles have several solutions and are" in note for note in task.notes)


def test_what_was_understood_is_said(tmp_path):
    path = written(tmp_path / "a.csv", "\n".join(["quizzes,solutions", *pairs(",", "0")]))
    task = tiny.sudoku(side=None, source=str(path), **tiny.FILE)
    tiny.read_file(task, path)
    told = "2 Sudokus of 9x9 (columns quizzes -> solutions, blank 0); answers checked"
    assert task.notes[0] == f"{path}: {told}; used: 2 test"


def test_a_large_file_is_sampled_and_a_second_look_is_deterministic(tmp_path, monkeypatch):
    made = tiny.sudoku(side=4, train_puzzles=20, valid_puzzles=0, test_puzzles=10).load(0)
    rows = [
        f"{q},{a}"
        for part in made.values()
        for q, a in zip(sudoku_texts(part.inputs), sudoku_texts(part.labels), strict=True)
    ]
    path = written(tmp_path / "a.csv", "\n".join(["question,answer", *rows]))
    monkeypatch.setattr("data.picked.WHOLE", 10)
    monkeypatch.setattr("data.picked.SPARE", 1)
    counts = {"train_puzzles": 4, "valid_puzzles": 0, "test_puzzles": 2}
    tasks = [tiny.sudoku(side=4, source=str(path), **counts) for _ in range(2)]
    one, two = (task.load(5) for task in tasks)
    assert {name: len(part) for name, part in one.items()} == {"train": 4, "valid": 0, "test": 2}
    assert all((one[name].inputs == two[name].inputs).all() for name in one)


# ---- sides and boxes


@needs_cases
def test_the_cases_of_others_are_read_as_they_are():
    """`shared/cases/README.md`: the right answers were computed independently."""
    key = read_sudokus(CASES / "sudoku" / "plain_9x9.csv", 9)
    same = [
        "quizzes_solutions.csv",
        "id_puzzle_solution_clues_difficulty.csv",
        "capital_header.csv",
        "no_header.csv",
        "semicolon.csv",
        "blank_underscore.csv",
        "blank_question_mark.csv",
        "grid_over_nine_lines.csv",
        "cells_apart.csv",
        "questions_only.csv",
        "one_a_line.txt",
        "collection.sdm",
        "rows.jsonl",
        "archive.zip",
    ]
    for name in same:
        found = read_sudokus(CASES / "sudoku" / name, None)
        assert (found.inputs == key.inputs).all(), name
        assert (found.labels == key.labels).all(), name
    one = read_sudokus(CASES / "sudoku" / "one.sdk", None)
    assert (one.inputs == key.inputs[:1]).all()
    assert (one.labels == key.labels[:1]).all()
    rated = CASES / "sudoku" / "id_puzzle_solution_clues_difficulty.csv"
    assert len(read_sudokus(rated, None, min_rating=1.0).rows) == 14
    for name, box in (("boxes_of_3x2_6x6.csv", (3, 2)), ("hex_16x16.csv", (4, 4))):
        path = CASES / "sudoku" / name
        task = tiny.sudoku(side=None, source=str(path), **tiny.FILE)
        assert len(tiny.read_file(task, path).rows) == 24
        assert task.facts.box == box
    ambiguous = CASES / "sudoku" / "two_solutions.csv"
    assert "24 puzzles have several solutions" in refusal(
        read_sudokus, ambiguous, None, ambiguous="drop"
    )


def test_upright_boxes_are_asked_for_where_both_fit(tmp_path):
    grid = "123456456123231564564231312645645312"  # legal with boxes of 2x3; and of 3x2?
    path = written(tmp_path / "a.csv", f"question,answer\n......{grid[6:]},{grid}\n")
    found = read_sudokus(path, None)
    assert len(found.rows) == 1
    line = refusal(read_sudokus, path, None, box=[3, 2])
    assert "of 3 rows x 2 columns; task.box=[2,3] has the others" in line


@pytest.mark.parametrize("side", [8, 10, 12, 16])
def test_larger_sides(tmp_path, side):
    """Cyclic grids: every row, column and box has each digit once."""
    high, wide = {8: (2, 4), 10: (2, 5), 12: (3, 4), 16: (4, 4)}[side]
    digits = "123456789ABCDEFG"[:side]
    rows = [(r % high * wide + r // high) % side for r in range(side)]
    grid = "".join(digits[(c + shift) % side] for shift in rows for c in range(side))
    question = "." + grid[1:]
    path = written(tmp_path / "a.csv", f"question,answer\n{question},{grid}\n")
    task = tiny.sudoku(side=None, source=str(path), **tiny.FILE)
    found = tiny.read_file(task, path)
    assert task.facts.grid == (side, side)
    assert task.facts.box == (high, wide)
    assert (found.labels[0] == [digits.index(c) + 2 for c in grid]).all()
    assert task.check(found.inputs, found.labels)["valid"].all()


def test_a_row_of_dashes_may_be_a_row_of_blanks(tmp_path):
    lines = lines_of(QUESTIONS[0].replace(".", "-"))
    lines[2] = "-" * 9
    found = read_sudokus(written(tmp_path / "a.txt", "\n".join(lines)), None)
    assert (found.inputs[0, 18:27] == 1).all()


def test_what_a_player_filled_in_is_no_puzzle(tmp_path):
    grids = ["\n".join(lines_of(grid)) for grid in (QUESTIONS[0], ANSWERS[0])]
    path = written(tmp_path / "a.sdk", "[Puzzle]\n{}\n[State]\n{}\n".format(*grids))
    assert sudoku_texts(read_sudokus(path, None).inputs) == QUESTIONS[:1]


def test_boxes_of_questions_alone_are_those_under_which_they_have_a_solution(tmp_path):
    made = tiny.sudoku(side=6, train_puzzles=5, valid_puzzles=0, test_puzzles=0).load(0)["train"]
    turned = made.inputs.reshape(5, 6, 6).swapaxes(1, 2).reshape(5, 36)
    for tokens, box in ((made.inputs, (2, 3)), (turned, (3, 2))):
        path = written(tmp_path / "a.txt", "\n".join(sudoku_texts(tokens)))
        task = tiny.sudoku(side=None, source=str(path), **tiny.FILE)
        assert len(tiny.read_file(task, path).rows) == 5
        assert task.facts.box == box
    empty = written(tmp_path / "b.txt", "1" + "." * 35)
    line = refusal(read_sudokus, empty, None)
    assert "boxes may be 2 rows x 3 columns or 3 rows x 2 columns" in line
    assert "task.box=[2,3]" in line


def test_a_json_object_is_one_puzzle_or_columns(tmp_path):
    one = written(tmp_path / "a.json", json.dumps({"puzzle": lines_of(QUESTIONS[0])}, indent=1))
    assert sudoku_texts(read_sudokus(one, None).inputs) == QUESTIONS[:1]
    none = written(tmp_path / "b.json", '{"name": "x", "rows": [1, 2]}')
    assert "neither a puzzle nor columns of puzzles" in refusal(read_sudokus, none, None)


def test_excel_is_named(tmp_path):
    path = zipped(tmp_path / "a.xlsx", {"[Content_Types].xml": b"x", "xl/workbook.xml": b"x"})
    assert "an Excel workbook; save it as CSV" in refusal(read_sudokus, path, 9)


def test_hex_from_zero_and_numbers_of_two_digits(tmp_path):
    rows = [(r % 4 * 4 + r // 4) % 16 for r in range(16)]
    values = [(c + shift) % 16 for shift in rows for c in range(16)]
    from_zero = "".join("0123456789ABCDEF"[v] for v in values)
    path = written(tmp_path / "a.csv", f"question,answer\n.{from_zero[1:]},{from_zero}\n")
    task = tiny.sudoku(side=None, source=str(path), **tiny.FILE)
    found = tiny.read_file(task, path)
    assert (found.labels[0] == np.array(values) + 2).all()
    assert task.notation.alphabet == ".0123456789ABCDEF"
    apart = " ".join(str(v + 1) for v in values)
    path = written(tmp_path / "b.csv", f"question,answer\n0{apart[1:]},{apart}\n")
    assert (read_sudokus(path, None).labels[0] == np.array(values) + 2).all()


# ---- delimited text, row by row


def rows_of(path: Path) -> list[tuple[int, str, str | None]]:
    """With two characters a grid, and spaces as cells."""
    table = open_table(path, lambda text: len(text) == 2, None, True, rated=True)
    return [(record.row, record.question, record.answer) for record in table.rows()]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_rows_come_back_as_written(tmp_path, pack):
    content = HEADER + b"x, a,c ,0\r\n" + b'"a,""b",12,"  ",0\n' + b"x,  ,56,"
    path = written(tmp_path / "a.csv", pack(content))
    assert rows_of(path) == [(2, " a", "c "), (3, "12", "  "), (4, "  ", "56")]


def test_columns_are_found_by_name_and_a_byte_order_mark_is_accepted(tmp_path):
    path = written(tmp_path / "a.csv", b"\xef\xbb\xbfanswer,extra,question\n12,x,..\n")
    assert rows_of(path) == [(2, "..", "12")]


@pytest.mark.parametrize(
    ("content", "row", "why"),
    [
        (b"question,answer,question\n..,12,..\n", 1, "two columns named 'question'"),
        (HEADER, None, "no puzzles, only a header"),
        (HEADER + b"x,..,12\n", 2, "3 fields, the header has 4"),
        (HEADER + b"x,..,12,0,9\n", 2, "5 fields"),
        (HEADER + b"x,..,12,0\nx,.\0,12,0\n", 3, "NUL"),
        (HEADER + b"x,..,12,0\nx,.\xff,12,0\n", 3, "not UTF-8"),
        (HEADER + b"x,..,12,0\n" + b'x,"..,12,0\n', 3, "unexpected end of data"),
        (HEADER + b'x,".."a,12,0\n', 2, "',' expected after"),
        (HEADER + b"x,..,12,0\rx,..,12,0\n", 2, "new-line character"),
        (HEADER + b"x,..,12,0\nx,..,12," + b"0" * 200_000, 3, "longer than 100000 bytes"),
        (HEADER + b"x,..,12,0\nx,..,12,many\n", 3, "rating is 'many', not a number"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_a_malformed_csv_is_refused_with_file_and_row(tmp_path, pack, content, row, why):
    path = written(tmp_path / "bad.csv", pack(content))
    line = refusal(rows_of, path)
    assert line.startswith(f"{path}:{row}: " if row else f"{path}: ")
    assert why in line


def test_damaged_or_lying_compression_is_refused(tmp_path):
    whole = gzip.compress(HEADER + b"x,..,12,0\n" * 1000)
    for content in (whole[:-20], whole[:40] + bytes(8) + whole[48:]):
        path = written(tmp_path / "bad.csv.gz", content)
        assert ": cannot be read: " in refusal(rows_of, path)


def test_a_file_too_large_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(opened, "MAX_BYTES", 1 << 30)
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate((1 << 30) + 1)  # sparse
    assert refusal(rows_of, huge) == f"{huge}: larger than 1 GiB"
    monkeypatch.setattr(opened, "MAX_BYTES", 100)
    content = HEADER + b"x,..,12,0\n" * 1000
    bomb = written(tmp_path / "bomb.csv.gz", gzip.compress(content))
    assert bomb.stat().st_size < 100
    assert "once decompressed" in refusal(rows_of, bomb)


def test_what_is_not_a_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")  # opening it would wait for ever
    assert "not a file" in refusal(rows_of, tmp_path / "pipe.csv")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_rows_or_one_line(tmp_path_factory, content):
    path = written(tmp_path_factory.getbasetemp() / "fuzz.csv", HEADER + content)
    try:
        fine = bool(rows_of(path))
    except UserError as error:
        fine = str(error).startswith(str(path)) and "\n" not in str(error)
    assert fine
