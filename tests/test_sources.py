"""Where puzzles come from: CSV files, the hub, the folder on disk; every hostile one refused in one
line.
"""

import gzip
import io
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import dataset as folder
from data import sources
from data.build import build
from data.maze import Maze
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Puzzles

SHARED = Path(__file__).parents[2] / "shared" / "puzzles"
HEADER = b"source,question,answer,rating\n"
OPTIONS = {
    "side": 8,
    "source": "generate",
    "train_puzzles": 20,
    "valid_puzzles": 5,
    "test_puzzles": 10,
    "style": "random",
    "wall": 0.3,
    "min_path": 10,
    "ties": "unique",
    "augment": False,
}
TASK = {"name": "maze", "seed": 3, **OPTIONS}


def refusal(function, *arguments) -> str:
    """The one line of the UserError that the call must end in."""
    with pytest.raises(UserError) as caught:
        function(*arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 700
    return line


def csv_file(directory: Path, content: bytes, name: str = "train.csv") -> Path:
    path = directory / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return path


# CSV


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_rows_come_back_as_written(tmp_path, name):
    content = HEADER + b"x,  ab,cd  ,0\r\n" + b'"a,""b",1234,"    ",0\n' + b"x,    ,5678,"
    path = csv_file(tmp_path, content, name)
    assert sources.read_csv(path, 4) == [
        (2, "  ab", "cd  "),
        (3, "1234", "    "),
        (4, "    ", "5678"),
    ]


def test_columns_are_found_by_name_and_a_byte_order_mark_is_accepted(tmp_path):
    path = csv_file(tmp_path, b"\xef\xbb\xbfanswer,extra,question\n12,x,..\n")
    assert sources.read_csv(path, 2) == [(2, "..", "12")]


@pytest.mark.parametrize(
    ("content", "row", "why"),
    [
        (b"", 1, "no header"),
        (b"\n" + HEADER, 1, "no header"),
        (b"source,question,rating\nx,..,0\n", 1, "0 columns named 'answer'"),
        (b"question,answer,question\n..,12,..\n", 1, "2 columns named 'question'"),
        (HEADER, None, "no puzzles"),
        (HEADER + b"x,..,12,0\nx,...,12,0\n", 3, "question has 3 characters, not 2"),
        (HEADER + b"x,..,1,0\n", 2, "answer has 1 characters, not 2"),
        (HEADER + b"x,..,12\n", 2, "3 fields, the header has 4"),
        (HEADER + b"x,..,12,0,9\n", 2, "5 fields"),
        (HEADER + b"x,..,12,0\n\nx,..,12,0\n", 3, "0 fields"),
        (HEADER + b"x,..,12,0\nx,.\0,12,0\n", 3, "NUL"),
        (HEADER + b"x,..,12,0\nx,.\xff,12,0\n", 3, "not UTF-8"),
        ((HEADER + b"x,..,12,0\n").decode().encode("utf-16"), 1, "NUL"),
        (HEADER + b"x,..,12,0\n" + b'x,"..,12,0\n', 3, "unexpected end of data"),
        (HEADER + b'x,".."a,12,0\n', 2, "',' expected after"),
        (HEADER + b"x,..,12,0\rx,..,12,0\n", 2, "new-line character"),
        (HEADER + b"x,..,12,0\nx,..,12," + b"0" * 200_000, 3, "longer than 100000 bytes"),
        (
            HEADER + b'"' + (b"x" * 90_000 + b"\n") * 3 + b'",..,12,0\n',
            3,
            "field larger than field limit",
        ),
    ],
)
@pytest.mark.parametrize("name", ["bad.csv", "bad.csv.gz"])
def test_a_malformed_csv_is_refused_with_file_and_row(tmp_path, name, content, row, why):
    path = csv_file(tmp_path, content, name)
    line = refusal(sources.read_csv, path, 2)
    assert line.startswith(f"{path}:{row}: " if row else f"{path}: ")
    assert why in line


def test_damaged_or_lying_compression_is_refused(tmp_path):
    whole = gzip.compress(HEADER + b"x,..,12,0\n" * 1000)
    for content in (whole[:-20], b"not gzip at all", whole[:40] + bytes(8) + whole[48:]):
        path = tmp_path / "bad.csv.gz"
        path.write_bytes(content)
        assert ": cannot be read: " in refusal(sources.read_csv, path, 2)


def test_a_file_too_large_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 30)
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate((1 << 30) + 1)  # sparse
    assert refusal(sources.read_csv, huge, 2) == f"{huge}: larger than 1 GiB"
    monkeypatch.setattr(sources, "MAX_BYTES", 100)
    bomb = csv_file(tmp_path, HEADER + b"x,..,12,0\n" * 1000, "bomb.csv.gz")
    assert bomb.stat().st_size < 100
    assert "once decompressed" in refusal(sources.read_csv, bomb, 2)


def test_what_is_not_a_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")  # opening it would wait for ever
    assert "not a file" in refusal(sources.read_csv, tmp_path / "pipe.csv", 2)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_rows_or_one_line(tmp_path_factory, content):
    path = csv_file(tmp_path_factory.getbasetemp(), HEADER + content, "fuzz.csv")
    try:
        rows = sources.read_csv(path, 2)
    except UserError as error:
        rows, line = [], str(error)
        refused = line.startswith(str(path)) and "\n" not in line
    else:
        refused = False
    assert refused or (
        rows and all(len(question) == len(answer) == 2 for _, question, answer in rows)
    )


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published puzzles are not beside the checkout")
def test_published_files_are_read_whole():
    assert len(sources.read_csv(SHARED / "sudoku" / "test.csv.gz", 81)) == 13_913
    assert sources.read_csv(SHARED / "maze" / "test.csv", 900)[-1][0] == 1001


# Names


def test_a_directory_a_pair_and_a_single_file_name_their_files(tmp_path):
    train, test = csv_file(tmp_path, HEADER), csv_file(tmp_path, HEADER, "test.csv.gz")
    for source in (str(tmp_path), tmp_path, [str(train), test]):
        assert sources.split_files(source) == (train, test)
        assert not sources.is_folder(source)
    assert sources.split_files(str(train)) == (train, None)


def test_what_is_missing_or_ambiguous_is_named(tmp_path):
    assert "no train.csv, train.csv.gz or train/dataset.json" in refusal(
        sources.split_files, tmp_path
    )
    train = csv_file(tmp_path, HEADER)
    assert refusal(sources.split_files, tmp_path).startswith(f"{tmp_path}: no test.csv")
    csv_file(tmp_path, HEADER, "train.csv.gz")
    assert "holds both train.csv and train.csv.gz" in refusal(sources.split_files, tmp_path)
    assert "a list of two files" in refusal(sources.resolve, [train])
    line = refusal(sources.resolve, "no/such/place")
    assert line.startswith("task.source='no/such/place': no such file or directory")
    assert "hub:owner/name[@revision]" in line
    refusal(sources.resolve, "nul\0byte")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "owner",
        "owner/",
        "/name",
        "../name",
        "owner/..",
        "a/b/c",
        "a/b@",
        "a/b@../c",
        "a/b@-c",
        "a/b c",
        "a//b",
        "-a/b",
        "a..b/c",
        "a/b--c",
        "a/b@c..d",
    ],
)
def test_a_hub_name_that_could_leave_the_hub_is_refused(name):
    assert "not of the form hub:owner/name[@revision]" in refusal(sources.resolve, f"hub:{name}")


def test_the_hub_is_asked_for_data_files_only(tmp_path, monkeypatch):
    asked = []

    def snapshot_download(*arguments, **options):
        asked.append((arguments, options))
        return str(tmp_path)

    monkeypatch.setitem(
        sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download)
    )
    assert sources.resolve("hub:own_er/na.me-1@refs/pr/1") == tmp_path
    sources.resolve("hub:owner/name")
    patterns = ["*.csv", "*.json", "*.npy", "*.gz"]
    kept = {"repo_type": "dataset", "allow_patterns": patterns}
    assert asked == [
        (("own_er/na.me-1",), {**kept, "revision": "refs/pr/1"}),
        (("owner/name",), {**kept, "revision": None}),
    ]


def test_a_missing_extra_and_a_failed_download_are_named(monkeypatch):
    def fail(*_, **__):
        raise ValueError("404\nnot found")

    monkeypatch.setitem(
        sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=fail)
    )
    assert (
        refusal(sources.resolve, "hub:a/b")
        == "task.source=hub:a/b: cannot be downloaded: 404 not found"
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    expected = "task.source=hub:... needs the hub extra: pip install -e '.[hub]'"
    assert refusal(sources.resolve, "hub:a/b") == expected


def test_choices_are_disjoint_seeded_and_in_file_order():
    counts = {"test_puzzles": 20, "train_puzzles": 50, "valid_puzzles": 100}
    chosen = sources.choose(100, counts, 0, Path("x.csv"))
    assert [len(rows) for rows in chosen.values()] == [20, 50, 30]
    assert sorted(np.concatenate(list(chosen.values()))) == list(range(100))
    assert all((np.diff(rows) > 0).all() for rows in chosen.values())
    again, other = (
        sources.choose(100, counts, seed, Path("x.csv"))["test_puzzles"].tolist() for seed in (0, 1)
    )
    assert again == chosen["test_puzzles"].tolist() != other
    whole = sources.choose(100, {"train_puzzles": None, "valid_puzzles": 5}, 0, Path("x.csv"))
    assert (whole["train_puzzles"] == np.arange(100)).all()
    assert len(whole["valid_puzzles"]) == 0
    assert "task.train_puzzles=101: x.csv has 100" in refusal(
        sources.choose, 100, {"train_puzzles": 101}, 0, Path("x.csv")
    )


# The folder on disk


FACTS = Facts(vocab_size=5, grid=(2, 3), box=(1, 3), num_puzzle_identifiers=3)


def grouped() -> Puzzles:
    """Five examples of three puzzles in two groups, as in ARC."""
    cells = np.arange(30, dtype=np.uint8).reshape(5, 6) % 5
    edges = (np.array(values, np.int32) for values in ([1, 2, 1], [0, 2, 3, 5], [0, 2, 3]))
    return Puzzles(cells, cells[::-1].copy(), *edges)


@pytest.fixture
def built(tmp_path) -> Path:
    out = tmp_path / "made"
    folder.write(
        out,
        {"train": grouped(), "valid": grouped(), "test": grouped()},
        FACTS,
        ["<blank>", "a", "b"],
    )
    return out


def test_a_folder_comes_back_as_it_was_written(built):
    facts, splits, identifiers = sources.folder_splits(str(built))
    assert facts == FACTS
    assert identifiers == ["<blank>", "a", "b"]
    for part in splits.values():
        for name in folder.ARRAYS:
            assert (getattr(part, name) == getattr(grouped(), name)).all()
    with pytest.raises(ValueError, match="read-only"):
        splits["train"].inputs[0, 0] = 1
    assert sources.is_folder(str(built))


def test_the_files_are_what_the_references_expect(built):
    stated = json.loads((built / "train" / "dataset.json").read_text())
    assert stated == {
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "vocab_size": 5,
        "seq_len": 6,
        "num_puzzle_identifiers": 3,
        "total_groups": 2,
        "mean_puzzle_examples": 5 / 3,
        "total_puzzles": 3,
        "sets": ["all"],
    }
    inputs = np.load(built / "test" / "all__inputs.npy", mmap_mode="r")
    assert (inputs.dtype, inputs.shape) == (np.uint8, (5, 6))
    for name in ("puzzle_identifiers", "puzzle_indices", "group_indices"):
        assert np.load(built / "test" / f"all__{name}.npy").dtype == np.int32


def test_folders_by_hrm_are_accepted(built):
    for split in ("train", "test"):
        edit_json(built / split / "dataset.json", total_puzzles=None, ignore_label_id=None)
    (built / folder.NOTES).unlink()
    for file in (built / "valid").iterdir():
        file.unlink()
    (built / "valid").rmdir()
    assert "not a grid of 2 x 2" in refusal(
        folder.read, built
    )  # 6 cells, and nothing says how they lie
    built.joinpath(folder.NOTES).write_text('{"grid": [2, 3]}')
    facts, splits, _ = folder.read(built)
    assert (facts.ignore_label_id, facts.box) == (None, None)
    assert [len(splits[name]) for name in folder.SPLITS] == [5, 0, 5]
    assert splits["valid"].inputs.shape == (0, 6)


def edit_json(path: Path, **changes) -> None:
    stated = {**json.loads(path.read_text()), **changes}
    path.write_text(
        json.dumps(
            {key: value for key, value in stated.items() if value is not None or "ignore" in key}
        )
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"vocab_size": 4}, "a token of 4, vocab_size is 4"),
        ({"vocab_size": 300}, "vocab_size must be an integer in 1..256"),
        ({"vocab_size": True}, "vocab_size must be an integer"),
        ({"vocab_size": float("nan")}, "vocab_size must be an integer"),
        ({"seq_len": 9}, "not a grid of 2 x 3"),
        ({"seq_len": 10**12}, "seq_len must be an integer"),
        ({"pad_id": 5}, "pad_id must be an integer in 0..4"),
        ({"pad_id": -1}, "pad_id must be"),
        ({"ignore_label_id": "0"}, "ignore_label_id must be"),
        ({"blank_identifier_id": 3}, "blank_identifier_id must be an integer in 0..2"),
        ({"num_puzzle_identifiers": 2}, "identifiers outside 0..1"),
        ({"num_puzzle_identifiers": 4}, "3 names, num_puzzle_identifiers is 4"),
        ({"num_puzzle_identifiers": 0}, "num_puzzle_identifiers must be"),
        ({"total_groups": 3}, "3 entries, not 4"),
        ({"total_groups": 2.0}, "total_groups must be"),
        ({"sets": ["../../etc"]}, "sets must be a list of one plain name"),
        ({"sets": ["all", "more"]}, "sets must be"),
        ({"sets": "all"}, "sets must be"),
        ({"sets": ["some"]}, "some__inputs.npy: missing"),
    ],
)
def test_a_statement_that_cannot_be_true_is_refused(built, changes, why):
    for split in folder.SPLITS:
        edit_json(built / split / "dataset.json", **changes)
    line = refusal(folder.read, built)
    assert line.startswith(str(built))
    assert why in line


def test_splits_must_agree(built):
    edit_json(built / "test" / "dataset.json", pad_id=1)
    line = refusal(folder.read, built)
    assert line == f"{built / 'test' / 'dataset.json'}: does not agree with train/dataset.json"


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\xff", "NaN", '{"sets": 1e999}'])
@pytest.mark.parametrize("name", ["train/dataset.json", "identifiers.json", "tinyreason.json"])
def test_broken_json_is_refused(built, name, text):
    (built / name).write_bytes(text.encode("latin-1"))
    line = refusal(folder.read, built)
    assert (
        line.startswith(f"{built / name}: ") or "not a grid of 2 x 2" in line
    )  # the one text that is an object


@pytest.mark.parametrize("names", [[], ["a", "b", 3], {"a": 1}, ["only"]])
def test_identifiers_must_be_a_list_of_that_many_names(built, names):
    (built / "identifiers.json").write_text(json.dumps(names))
    assert refusal(folder.read, built).startswith(f"{built / 'identifiers.json'}: ")


def npy_with_header(header: str, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def saved(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("inputs", b"", "not a readable npy file"),
        ("inputs", b"PK\x03\x04 a zip", "not a readable npy file"),
        ("inputs", b"\x93NUMPY\x03\x00\x00\x00", "version (3, 0)"),
        (
            "inputs",
            npy_with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (5, 6)}", bytes(29)),
            "bytes",
        ),
        (
            "inputs",
            npy_with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (5, 6)}", bytes(31)),
            "bytes",
        ),
        (
            "inputs",
            npy_with_header("{'descr': '|u1', 'fortran_order': False, 'shape': (10**15, 6)}"),
            "not a readable",
        ),
        (
            "inputs",
            npy_with_header(
                "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000, 6)}"
            ),
            "its header asks for",
        ),
        (
            "inputs",
            npy_with_header(
                "{'descr': '|u1', 'fortran_order': False, 'shape': (-5, -6)}", bytes(30)
            ),
            "shape",
        ),
        ("inputs", npy_with_header("{[]: 1}"), "not a readable"),
        ("inputs", npy_with_header("__import__('os').abort()"), "not a readable"),
        ("inputs", npy_with_header("(" * 5000), "not a readable"),
        (
            "inputs",
            saved(np.array([[print] * 6] * 5, object), allow_pickle=True),
            "object of shape (5, 6), not uint8",
        ),
        ("inputs", saved(np.zeros((5, 6), np.int64)), "int64 of shape (5, 6), not uint8"),
        ("inputs", saved(np.asfortranarray(np.zeros((5, 6), np.uint8))), "row-major"),
        ("inputs", saved(np.zeros(30, np.uint8)), "not uint8 in 2 dimension(s)"),
        ("inputs", saved(np.zeros((0, 6), np.uint8)), "empty"),
        ("inputs", saved(np.zeros((5, 7), np.uint8)), "shape (5, 7), not (5, 6)"),
        ("inputs", saved(np.full((5, 6), 5, np.uint8)), "example 0 has a token of 5"),
        ("labels", saved(np.zeros((4, 6), np.uint8)), "shape (4, 6), not (5, 6)"),
        ("labels", saved(np.full((5, 6), 255, np.uint8)), "a token of 255"),
        ("puzzle_identifiers", saved(np.array([1, 3, 1], np.int32)), "identifiers outside 0..2"),
        ("puzzle_identifiers", saved(np.array([1, -1, 1], np.int32)), "identifiers outside 0..2"),
        ("puzzle_identifiers", saved(np.array([1, 2, 1], ">i4")), ">i4 of shape"),
        ("puzzle_indices", saved(np.array([0, 2, 5], np.int32)), "3 entries, not 4"),
        (
            "puzzle_indices",
            saved(np.array([0, 3, 2, 5], np.int32)),
            "must rise strictly from 0 to 5",
        ),
        ("puzzle_indices", saved(np.array([0, 2, 2, 5], np.int32)), "must rise strictly"),
        ("puzzle_indices", saved(np.array([1, 2, 3, 5], np.int32)), "must rise strictly"),
        ("puzzle_indices", saved(np.array([0, 2, 3, 6], np.int32)), "must rise strictly"),
        (
            "puzzle_indices",
            saved(np.array([0, 2**31 - 1, -(2**31), 5], np.int32)),
            "must rise strictly",
        ),
        ("group_indices", saved(np.array([0, 2, 9], np.int32)), "must rise strictly from 0 to 3"),
        ("group_indices", saved(np.array([-1, 2, 3], np.int32)), "must rise strictly"),
    ],
)
def test_an_array_that_lies_is_refused(built, name, content, why):
    path = built / "test" / f"all__{name}.npy"
    path.write_bytes(content)
    line = refusal(folder.read, built)
    assert line.startswith(f"{path}: ")
    assert why in line


def test_what_is_missing_from_a_folder_is_named(built):
    for name in ("identifiers.json", "test/all__labels.npy", "train/dataset.json"):
        (built / name).unlink()
        assert Path(name).name in refusal(folder.read, built)


def test_writing_is_all_or_nothing(tmp_path, built):
    assert "exists already" in refusal(
        folder.write, built, {"train": grouped()}, FACTS, ["<blank>", "a", "b"]
    )
    broken = Puzzles(*(getattr(grouped(), name).astype(np.int64) for name in folder.ARRAYS))
    with pytest.raises(ValueError, match="must be uint8"):
        folder.write(
            tmp_path / "new", {"train": grouped(), "test": broken}, FACTS, ["<blank>", "a", "b"]
        )
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    (tmp_path / "empty").mkdir()
    folder.write(tmp_path / "empty", {"train": grouped()}, FACTS, ["<blank>", "a", "b"])
    assert len(folder.read(tmp_path / "empty")[1]["train"]) == 5
    csv_file(tmp_path, b"", "file")
    assert "cannot be written" in refusal(
        folder.write, tmp_path / "file" / "x", {}, FACTS, ["<blank>", "a", "b"]
    )


# Building a data set


def test_a_built_data_set_is_read_back_as_a_source(tmp_path):
    out = tmp_path / "mazes"
    assert build(TASK, out) == {"test": 10, "valid": 5, "train": 20}
    again = Maze(**{**OPTIONS, "source": str(out), "augment": True}).load(9)
    for name, part in Maze(**OPTIONS).load(3).items():
        assert (again[name].inputs == part.inputs).all()
        assert (again[name].labels == part.labels).all()
    assert again["train"].copies == 8
    assert folder.read_notes(out)["task"] == TASK
    assert "exists already" in refusal(build, TASK, out)


def test_the_same_seed_builds_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        build(TASK, tmp_path / name)
    files = sorted(
        path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()
    )
    assert len(files) == 20
    assert all(
        (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        for file in files
    )


def test_a_folder_of_another_task_or_size_is_refused(tmp_path, built):
    build(TASK, tmp_path / "mazes")
    other = Maze(**{**OPTIONS, "side": 9, "source": str(tmp_path / "mazes")})
    assert "not a data set of 9 x 9 mazes" in refusal(other.load, 0)
    assert "not a data set of 8 x 8 mazes" in refusal(
        Maze(**{**OPTIONS, "source": str(built)}).load, 0
    )


def test_a_folder_with_a_wrong_maze_is_refused_with_its_number(tmp_path):
    build(TASK, tmp_path / "mazes")
    path = tmp_path / "mazes" / "test" / "all__labels.npy"
    labels = np.load(path)
    labels[7] = 2
    np.save(path, labels)
    line = refusal(Maze(**{**OPTIONS, "source": str(tmp_path / "mazes")}).load, 0)
    assert line.startswith(f"{tmp_path / 'mazes' / 'test'}:7: answer differs")
