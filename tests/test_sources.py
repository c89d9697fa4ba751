"""Where puzzles come from: CSV files, the hub, the folder on disk; every hostile one refused in one
line.
"""

import gzip
import io
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from data import dataset as folder
from data import picked, sources
from data.build import build
from data.maze import Maze
from tests import tiny
from tinyreason.errors import UserError
from tinyreason.puzzle import Facts, Puzzles

SHARED = Path(__file__).parents[2] / "shared" / "puzzles"
HEADER = b"source,question,answer,rating\n"
OPTIONS = tiny.MAZE | {
    "side": 8,
    "train_puzzles": 20,
    "valid_puzzles": 5,
    "test_puzzles": 10,
    "wall": 0.3,
    "min_path": 10,
}
AUTO = dict.fromkeys(("train", "valid", "test"), "auto")
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


# Names


def test_a_directory_a_pair_and_a_single_file_name_their_files(tmp_path):
    train, test = csv_file(tmp_path, HEADER), csv_file(tmp_path, HEADER, "test.csv.gz")
    for source in (str(tmp_path), tmp_path, [str(train), test]):
        assert sources.files_of(sources.resolve(source)) == {"train": train, "test": test}
        assert not sources.is_folder(source)
    assert sources.files_of(train) == {"all": train}
    valid = csv_file(tmp_path, HEADER, "valid.csv")
    files = sources.files_of(tmp_path)
    assert files == {"train": train, "valid": valid, "test": test}


def test_what_is_missing_or_ambiguous_is_named(tmp_path):
    assert "no train.csv, train.csv.gz or train/dataset.json" in refusal(sources.files_of, tmp_path)
    train = csv_file(tmp_path, HEADER)
    assert refusal(sources.files_of, tmp_path).startswith(f"{tmp_path}: no test.csv")
    csv_file(tmp_path, HEADER, "train.csv.gz")
    assert "holds both train.csv and train.csv.gz" in refusal(sources.files_of, tmp_path)
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
    patterns = ["*.csv", "*.json", "*.npy", "*.gz", "*.parquet"]
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
    counts = {"test": 20, "train": 50, "valid": 30}
    chosen = picked.choose(100, counts, 0)
    assert [len(rows) for rows in chosen.values()] == [20, 50, 30]
    assert sorted(np.concatenate(list(chosen.values()))) == list(range(100))
    assert all((np.diff(rows) > 0).all() for rows in chosen.values())
    again, other = (picked.choose(100, counts, seed)["test"].tolist() for seed in (0, 1))
    assert again == chosen["test"].tolist() != other


@pytest.mark.parametrize(
    ("total", "counts", "fitted"),
    [
        (24, {"train": None, "valid": 4, "test": 4}, {"train": 16, "valid": 4, "test": 4}),
        (
            24,
            {"train": "auto", "valid": "auto", "test": "auto"},
            {"train": 18, "valid": 2, "test": 4},
        ),
        (24, {"train": 10, "valid": "auto", "test": None}, {"train": 10, "valid": 2, "test": 12}),
        (
            3,
            {"train": "auto", "valid": "auto", "test": "auto"},
            {"train": 3, "valid": 0, "test": 0},
        ),
        (
            10**6,
            {"train": "auto", "valid": "auto", "test": "auto"},
            {"train": 1000, "valid": 256, "test": 1000},
        ),
        (24, {"test": "auto"}, {"test": 24}),
        (24, {"train": "auto", "valid": 0}, {"train": 24, "valid": 0}),
    ],
)
def test_counts_that_nobody_gave_fit_the_file(total, counts, fitted):
    assert picked.fit(total, counts, "x.csv") == fitted


def test_counts_that_were_given_are_refused_together():
    line = refusal(picked.fit, 24, {"train": 20, "valid": 4, "test": 4}, "x.csv")
    told = "task.train_puzzles=20 + task.valid_puzzles=4 + task.test_puzzles=4 = 28"
    assert line == f"{told}, but x.csv has 24 puzzles; ask for fewer, or null"


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
    assert "not mazes of task.side=9: it has 8 x 8 cells" in refusal(other.load, 0)
    assert "not mazes of task.side=8" in refusal(Maze(**{**OPTIONS, "source": str(built)}).load, 0)


def test_a_folder_with_a_wrong_maze_is_refused_with_its_number(tmp_path):
    build(TASK, tmp_path / "mazes")
    path = tmp_path / "mazes" / "test" / "all__labels.npy"
    labels = np.load(path)
    labels[7] = 2
    np.save(path, labels)
    line = refusal(Maze(**{**OPTIONS, "source": str(tmp_path / "mazes")}).load, 0)
    assert line.startswith(f"{tmp_path / 'mazes' / 'test'}:7: answer differs")
