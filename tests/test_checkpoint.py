"""Checkpoints: never half there, no damage unseen, nothing in a file is run."""

import errno
import io
import json
import os
import pickle
import random
import resource
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from data.registry import load_task
from tests import tiny
from tests.marks import cross, hostile
from tinyreason.errors import Damaged, UserError
from tinyreason.feed import Stream
from tinyreason.run import checkpoint, manifest
from tinyreason.run.atomic import append, temporary_of, write_whole
from tinyreason.trainer import Trainer

TRAINER = (
    *(
        "task=sudoku",
        "task.side=4",
        "task.train_puzzles=4",
        "task.valid_puzzles=0",
        "task.test_puzzles=1",
    ),
    *("scale=small", "model=trm", "model.width=16", "model.heads=2", "model.layers=1", "batch=2"),
    *(
        "model.puzzle_embedding=true",
        "model.prefix=1",
        "model.H_cycles=1",
        "model.L_cycles=1",
        "steps=6",
    ),
)


@pytest.fixture(scope="module")
def trained() -> Trainer:
    """A real one, after a step."""
    config = tiny.config(*TRAINER)
    task, splits = load_task(config.task)
    trainer = Trainer(config, task.facts, Stream(splits["train"], task.augment, 0), tiny.CPU)
    trainer.step()
    return trainer


def state(token: float, cells: int = 3000) -> dict:
    """12 KB of noise, to be told apart by `token`."""
    generator = torch.Generator().manual_seed(int(token))
    return {
        "token": token,
        "noise": torch.randn(cells, generator=generator),
        "names": ["a", "b"],
        "none": None,
    }


def token(found: tuple[Path, dict] | None) -> float | None:
    return None if found is None else found[1].get("token")


def silent(line: str) -> None:
    raise AssertionError(f"warned of damage where there is none: {line}")


def newest(directory: Path, warn: Callable[[str], None] = silent) -> float | None:
    return token(checkpoint.newest_good(directory, warn))


def filled(directory: Path, *steps: int) -> Path:
    for step in steps:
        checkpoint.save(directory, step, state(step))
    return directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def pairs(*steps: int) -> list[str]:
    return sorted(f"step_{step:08d}.{kind}" for step in steps for kind in ("pt", "json"))


def plant(directory: Path, step: int, content: bytes) -> Path:
    """A file with the manifest that fits it."""
    path = checkpoint.path_of(directory, step)
    path.write_bytes(content)
    checkpoint.manifest_of(path).write_bytes(manifest.encode(step, [manifest.content_of(content)]))
    return path


# ---- what is saved


def equal(a: object, b: object) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) and a.dtype == b.dtype if torch.is_tensor(a) else a == b


def test_a_trainer_is_saved_and_loaded_bit_for_bit(trained, tmp_path):
    whole = trained.state_dict()
    path = checkpoint.save(tmp_path, 1, whole)
    assert path == tmp_path / "step_00000001.pt"
    assert names(tmp_path) == pairs(1)
    assert equal(checkpoint.load(path), whole)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
    record = json.loads((tmp_path / "step_00000001.json").read_text())
    assert record.keys() == {"format", "step", "contents"}
    assert record["contents"] == [
        {"size": path.stat().st_size, "sha256": manifest.content_of(path.read_bytes())[1]}
    ]


def test_states_of_random_generators_are_plain(tmp_path):
    generators = {
        "python": random.Random(1).getstate(),
        "numpy": np.random.default_rng(1).bit_generator.state,
        "torch": torch.Generator().manual_seed(1).get_state(),
    }
    assert equal(checkpoint.load(checkpoint.save(tmp_path, 1, generators)), generators)


@pytest.mark.parametrize(
    "value", [np.float64(1), np.zeros(2), Path("x"), np.random.RandomState(0).get_state()]
)
def test_what_could_not_be_loaded_again_is_not_saved(value, tmp_path):
    with pytest.raises(TypeError, match="plain values only, not "):
        checkpoint.save(tmp_path / "new", 1, {"value": value})
    assert names(tmp_path) == []


def test_no_directory_and_an_empty_one_hold_no_checkpoint(tmp_path):
    for directory in (tmp_path, tmp_path / "none"):
        assert checkpoint.newest_good(directory, silent) is None
        assert checkpoint.newest(directory) is None
        checkpoint.sweep(directory)
        checkpoint.prune(directory, keep=2)


def test_the_newest_by_number_is_taken(tmp_path):
    filled(tmp_path, 5, 40, 123456789, 99999999)
    assert checkpoint.steps(tmp_path) == [123456789, 99999999, 40, 5]
    assert newest(tmp_path) == 123456789
    assert checkpoint.newest(tmp_path) == tmp_path / "step_123456789.pt"


# ---- never half there: a fault at every operation


class Disk:
    """Counts what is done to files, in `did`; fails at the k-th, or from there on, a dead disk."""

    def __init__(self, patch: pytest.MonkeyPatch, k: int = -1, forever: bool = False):
        self.k, self.forever, self.did = k, forever, []
        for name in ("open", "replace", "unlink", "fsync"):
            patch.setattr(os, name, self.guarded(name, getattr(os, name)))
        opens = Path.open

        def open_path(path: Path, *args: str):
            self.do(f"open {path.suffix if '.tmp.' not in path.name else path.suffixes[0]}")
            file = opens(path, *args)
            return Written(file, self) if "w" in args[0] else file

        patch.setattr(Path, "open", open_path)

    def guarded(self, name: str, real: Callable) -> Callable:
        def operation(*args, **kwargs):
            target = args[0]
            if name == "fsync":
                target = "directory" if stat.S_ISDIR(os.fstat(target).st_mode) else "file"
            elif name == "replace":
                target = args[1].suffix
            self.do(f"{name} {target if name in ('fsync', 'replace') else ''}".strip())
            return real(*args, **kwargs)

        return operation

    def do(self, what: str) -> None:
        self.did.append(what)
        here = len(self.did) - 1
        if here == self.k or (self.forever and here > self.k >= 0):
            raise OSError(errno.EIO, os.strerror(errno.EIO), what)


class Written:
    """A file whose writing may fail after half of it."""

    def __init__(self, file: io.BufferedWriter, disk: Disk):
        self.file, self.disk, self.fileno, self.flush = file, disk, file.fileno, file.flush

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> None:
        half = len(content) // 2
        self.file.write(content[:half])
        self.disk.do("write")
        self.file.write(content[half:])


SCENES = {  # the steps that are there, the step that is saved
    "first": ((), 1),
    "next": ((1, 2, 3, 4), 5),
    "again": ((1, 2, 3), 3),
    "again, alone": ((3,), 3),
}


def save_and_prune(directory: Path, step: int) -> None:
    checkpoint.save(directory, step, state(1000))
    checkpoint.prune(directory, keep=2, best=1)


def operations(scene: str, directory: Path) -> list[str]:
    before, step = SCENES[scene]
    filled(directory, *before)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        save_and_prune(directory, step)
    return disk.did


@pytest.mark.parametrize(("scene", "forever"), cross(list(SCENES), [False, True]))
def test_after_a_fault_at_any_operation_the_old_or_the_new_one_is_there(
    scene, forever, tmp_path, counted
):
    before, step = SCENES[scene]
    count = len(operations(scene, tmp_path / "whole"))
    assert count >= 12
    found = set()
    for k in range(count):
        directory = filled(tmp_path / str(k), *before)
        directory.mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, k, forever)
            with pytest.raises(OSError, match="Input/output"):
                save_and_prune(directory, step)
        found.add(newest(directory))
        assert found <= {1000, max(before, default=None)}
        if not forever:
            assert not [name for name in names(directory) if ".pt.tmp." in name]
        checkpoint.sweep(directory)
        assert newest(directory) in found
        assert names(directory) == pairs(*checkpoint.steps(directory))
        assert set(checkpoint.steps(directory)) >= {*before[:1], *before[-1:]}
        save_and_prune(directory, step)
        assert names(directory) == pairs(
            *{*before[:1], *before[-1:], step, *([2] if scene == "again" else [])}
        )
        assert newest(directory) == 1000
    assert len(found) == 2
    counted("faults in saving and pruning: a good checkpoint after each", count)


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    """Where only the save fails, the files are those from before, to the byte."""
    count = operations("next", tmp_path / "whole").index("open .json", 12)
    for k in range(count):
        directory = filled(tmp_path / str(k), 1, 2)
        before = {path: path.read_bytes() for path in directory.iterdir()}
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, k)
            with pytest.raises(OSError):
                checkpoint.save(directory, 3, state(3))
        assert {path: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("k", range(7))  # writing two files, and renaming
def test_a_failed_save_does_not_touch_a_file_that_we_have_not_made(k, tmp_path):
    checkpoint.path_of(tmp_path, 3).write_bytes(b"not ours")
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, k)
        with pytest.raises(OSError):
            checkpoint.save(tmp_path, 3, state(3))
    assert checkpoint.path_of(tmp_path, 3).read_bytes() == b"not ours"
    assert names(tmp_path) == ["step_00000003.pt"]


def test_a_checkpoint_that_cannot_be_read_is_not_replaced(tmp_path):
    """To be unreadable for once is not to be damaged."""
    filled(tmp_path, 3)
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, 0)
        with pytest.raises(OSError):
            checkpoint.save(tmp_path, 3, state(1000))
    assert newest(tmp_path) == 3


def test_everything_is_on_disk_before_it_is_renamed_and_the_manifest_comes_last(tmp_path):
    written = ["open {}", "write", "fsync file"]
    pt, note = ([w.format(kind) for w in written] for kind in (".pt", ".json"))
    renamed = ["replace {}", "open", "fsync directory"]
    assert operations("first", tmp_path / "a") == [
        *pt,
        *note,
        *(r.format(".pt") for r in renamed),
        *(r.format(".json") for r in renamed),
        "open .json",
    ]
    read, into_place = ["open .json", "open .pt"], [r.format(".json") for r in renamed]
    assert operations("again, alone", tmp_path / "b") == [
        *read,
        *pt,
        *note,
        *into_place,
        *note,
        *(r.format(".pt") for r in renamed),
        *into_place,
        "open .json",
    ]


def test_pruning_keeps_the_newest_good_ones_and_the_best(tmp_path):
    filled(tmp_path, *range(1, 9))
    checkpoint.path_of(tmp_path, 7).write_bytes(b"short")
    checkpoint.manifest_of(checkpoint.path_of(tmp_path, 3)).unlink()
    checkpoint.prune(tmp_path, keep=3, best=2)
    assert checkpoint.steps(tmp_path) == [8, 7, 6, 5, 3, 2]  # 7 does not count, 3 we have not made
    with pytest.raises(ValueError, match="at least two"):
        checkpoint.prune(tmp_path, keep=1)


def test_pruning_begins_with_the_oldest(tmp_path, monkeypatch):
    filled(tmp_path, 1, 2, 3, 4, 5)
    removed = []
    monkeypatch.setattr(checkpoint, "remove", removed.append)
    checkpoint.prune(tmp_path, keep=2)
    assert removed == [checkpoint.path_of(tmp_path, step) for step in (1, 2, 3)]


def test_pruning_never_leaves_less_than_it_is_to_keep(tmp_path):
    filled(tmp_path, 1, 2, 3)
    for step in (2, 3):
        checkpoint.manifest_of(checkpoint.path_of(tmp_path, step)).write_text("{}")
    checkpoint.prune(tmp_path, keep=2)
    assert checkpoint.steps(tmp_path) == [3, 2, 1]


def test_later_ones_are_set_aside_and_kept(tmp_path):
    filled(tmp_path, 1, 2, 3, 4)
    checkpoint.manifest_of(checkpoint.path_of(tmp_path, 3)).unlink()
    checkpoint.set_aside_after(tmp_path, 2)
    aside = ["step_00000003.pt.aside", "step_00000004.json.aside", "step_00000004.pt.aside"]
    assert names(tmp_path) == sorted([*pairs(1, 2), *aside])
    checkpoint.sweep(tmp_path)
    checkpoint.prune(tmp_path, keep=2)
    assert checkpoint.steps(tmp_path) == [2, 1]
    assert newest(tmp_path) == 2
    assert set(aside) < set(names(tmp_path))


# ---- what dead processes leave


def test_leftovers_are_swept_and_other_files_are_not(tmp_path):
    filled(tmp_path, 1)
    gone = [
        "step_00000002.pt.tmp.7",
        "step_00000001.json.tmp.77",
        f"x.yaml.tmp.{os.getpid()}",
        f"d.tmp.{10**30}",
    ]
    stay = ["notes.tmp.txt", "a.tmp.1x", "b.tmp.0", "c.tmp.-1"]
    for name in (*gone, *stay):
        (tmp_path / name).touch()
    checkpoint.sweep(tmp_path)
    assert names(tmp_path) == sorted([*pairs(1), *stay])


@pytest.mark.parametrize("others", [(), (1,)], ids=["the only one", "one of two"])
def test_a_checkpoint_that_was_being_made_or_deleted_does_not_count_and_is_swept(others, tmp_path):
    filled(tmp_path, *others, 2)
    made = checkpoint.manifest_of(checkpoint.path_of(tmp_path, 2))
    made.rename(tmp_path / f"{made.name}.tmp.77")
    assert checkpoint.steps(tmp_path) == list(others)
    assert newest(tmp_path) == (1 if others else None)
    checkpoint.sweep(tmp_path)
    assert names(tmp_path) == pairs(*others)


def test_a_checkpoint_without_manifest_is_never_swept(tmp_path):
    filled(tmp_path, 1, 2, 3)
    for step in (1, 3):
        checkpoint.manifest_of(checkpoint.path_of(tmp_path, step)).unlink()
    before = names(tmp_path)
    checkpoint.sweep(tmp_path)
    assert names(tmp_path) == before


# ---- full disks


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("step", [2, 3], ids=["the same step", "the next"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_disk_that_fills_up(share, step, trained, tmp_path, counted):
    whole = trained.state_dict()
    for old in (1, 2):
        path = checkpoint.save(tmp_path, old, whole | {"token": old})
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with file_size_limit(int(share * path.stat().st_size)), pytest.raises(OSError) as caught:
        checkpoint.save(tmp_path, step, whole | {"token": 3})
    assert caught.value.errno == errno.EFBIG
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert newest(tmp_path) == 2
    counted("full disks, by a limit of the file size: the old checkpoint intact")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(("step", "kind"), [(3, ".pt"), (3, ".json"), (2, ".pt"), (2, ".json")])
def test_a_disk_that_is_full(step, kind, tmp_path, counted):
    filled(tmp_path, 1, 2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    temporary_of(checkpoint.path_of(tmp_path, step).with_suffix(kind)).symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        checkpoint.save(tmp_path, step, state(1000))
    assert caught.value.errno == errno.ENOSPC
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert newest(tmp_path) == 2
    counted("full disks, by /dev/full: the old checkpoint intact")


def test_other_files_survive_a_full_disk(tmp_path):
    write_whole(tmp_path / "log", b"old")
    with file_size_limit(2), pytest.raises(OSError):
        write_whole(tmp_path / "log", b"new")
    assert (tmp_path / "log").read_bytes() == b"old"
    write_whole(tmp_path / "log", b"new")
    assert (tmp_path / "log").read_bytes() == b"new"
    assert names(tmp_path) == ["log"]


@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_line_that_does_not_fit_leaves_no_half_of_it(room, tmp_path):
    append(tmp_path / "log", b"one\n")
    with file_size_limit(4 + room), pytest.raises(OSError):
        append(tmp_path / "log", b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\n"
    append(tmp_path / "log", b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


# ---- damage is found


def flip(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def hole(content: bytes, rng: random.Random) -> bytes:
    """4 KB of zeros, as of a block that was never written, where there were none."""
    while True:
        at = rng.randrange(len(content) - 4096)
        if any(content[at : at + 4096]):
            return content[:at] + bytes(4096) + content[at + 4096 :]


@pytest.fixture(scope="module")
def three(trained, tmp_path_factory) -> Path:
    """A run's three checkpoints, the newest a real trainer's."""
    directory = filled(tmp_path_factory.mktemp("three"), 1, 2)
    checkpoint.save(directory, 3, trained.state_dict() | {"token": 3})
    return directory


@pytest.fixture
def run(three, tmp_path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(three, tmp_path / "run")


def assert_falls_back(
    directory: Path, reason: str, to: float = 2, damaged: tuple[int, ...] = (3,)
) -> None:
    lines = []
    assert newest(directory, lines.append) == to
    assert len(lines) == len(damaged)
    for step, line in zip(damaged, lines, strict=True):
        assert line.startswith(f"{checkpoint.path_of(directory, step)}: ")
        assert reason in line
        assert line.endswith(f"; taking step_{to:08d}.pt instead")
        assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("damage", "times", "reason"),
    [
        (flip, 50, "sha256 differs"),
        (truncate, 50, ""),
        (hole, 50, "sha256 differs"),
        hostile(flip, 450, "sha256 differs"),
        hostile(truncate, 450, ""),
        hostile(hole, 200, "sha256 differs"),
    ],
    ids=["bit flips", "truncations", "holes", "more bit flips", "more truncations", "more holes"],
)
def test_damage_is_found_and_the_one_before_is_taken(damage, times, reason, run, counted):
    path, rng = checkpoint.path_of(run, 3), random.Random(times)
    whole = path.read_bytes()
    for _ in range(times):
        path.write_bytes(damage(whole, rng))
        assert_falls_back(run, reason)
    path.write_bytes(whole)
    assert newest(run) == 3
    counted(f"damages found, the checkpoint before taken: {damage.__name__}", times)


def test_every_flipped_bit_of_a_manifest_is_found(run, counted):
    path = checkpoint.path_of(run, 2)
    whole = checkpoint.manifest_of(path).read_bytes()
    for at in range(8 * len(whole)):
        flipped = whole[: at // 8] + bytes([whole[at // 8] ^ 1 << at % 8]) + whole[at // 8 + 1 :]
        checkpoint.manifest_of(path).write_bytes(flipped)
        with pytest.raises(Damaged, match=f"^{path}: "):
            checkpoint.load(path)
    for length in range(len(whole)):
        checkpoint.manifest_of(path).write_bytes(whole[:length])
        with pytest.raises(Damaged, match="manifest damaged"):
            checkpoint.load(path)
    counted("damages found: flipped bits and truncations of a manifest", 9 * len(whole))


def exchange(a: Path, b: Path) -> None:
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def test_exchanged_files_are_found(tmp_path, counted):
    """The two differ in nothing but a few bytes, so that no size tells."""
    filled(tmp_path, 1, 2, 3)
    new, old = (checkpoint.path_of(tmp_path, step) for step in (3, 2))
    assert new.stat().st_size == old.stat().st_size
    exchange(new, old)
    assert_falls_back(tmp_path, "sha256 differs", 1, (3, 2))
    exchange(checkpoint.manifest_of(new), checkpoint.manifest_of(old))
    assert_falls_back(tmp_path, "manifest of another step", 1, (3, 2))
    exchange(new, old)
    assert_falls_back(tmp_path, "manifest of another step", 1, (3, 2))
    counted("damages found, the checkpoint before taken: exchanged files", 3)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "size differs"),
        (lambda path: path.unlink(), "missing"),
        (lambda path: (path.unlink(), path.mkdir()), "not a file"),
        (lambda path: path.with_suffix(".json").unlink(), "no manifest step_00000003.json"),
        (lambda path: path.with_suffix(".json").write_bytes(b""), "manifest damaged"),
        (lambda path: path.with_suffix(".json").write_bytes(b"[" * 5000), "manifest damaged"),
        (lambda path: path.with_suffix(".json").write_bytes(b"\xff\xfe"), "manifest damaged"),
        (lambda path: path.with_suffix(".json").write_bytes(b" " * 10**7), "manifest damaged"),
        (lambda path: plant(path.parent, 3, b"not a zip"), "not a checkpoint: not a zip"),
        (
            lambda path: plant(path.parent, 3, path.read_bytes()[:1000]),
            "not a checkpoint: RuntimeError",
        ),
    ],
)
def test_each_damage_has_its_reason(damage, reason, run, counted):
    damage(checkpoint.path_of(run, 3))
    assert_falls_back(run, reason)
    counted("damages found, the checkpoint before taken: empty, missing, longer, no zip, manifests")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"step": True},
        {"step": "3"},
        {"step": 3.0},
        {"contents": []},
        {"contents": {}},
        {"contents": None},
        {"contents": [{"size": 10**18, "sha256": "0"}]},
        {"contents": [{"size": -1, "sha256": "0"}]},
        {"contents": [{"size": "a\nb", "sha256": "0"}]},
        {"contents": [{"size": 1, "sha256": "0", "more": 1}]},
        {"more": 1},
    ],
)
def test_a_manifest_that_says_something_else_is_refused_before_the_file_is_read(
    change, run, monkeypatch
):
    path = checkpoint.manifest_of(checkpoint.path_of(run, 3))
    path.write_text(json.dumps(json.loads(path.read_text()) | change) + "\n")
    read = []
    monkeypatch.setattr(manifest, "content_of", lambda data: read.append(len(data)))
    with pytest.raises(Damaged, match=r"^[^\n]*: (manifest|size)[^\n]*$"):
        checkpoint.load(checkpoint.path_of(run, 3))
    assert read == []


def test_a_checkpoint_is_read_once(run, monkeypatch):
    """What was compared with the manifest is loaded, whatever becomes of the file meanwhile."""
    path, compared = checkpoint.path_of(run, 2), manifest.content_of

    def compare_and_change(data: bytes) -> manifest.Content:
        path.write_bytes(b"changed")
        return compared(data)

    monkeypatch.setattr(manifest, "content_of", compare_and_change)
    assert checkpoint.load(path)["token"] == 2


def test_a_file_that_cannot_be_read_is_passed_over(run):
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, k=1)
        assert_falls_back(run, "cannot be read: Input/output error")
    assert newest(run) == 3


def test_if_none_is_good_it_does_not_begin_again_in_silence(run):
    for step in (1, 2, 3):
        path = checkpoint.path_of(run, step)
        path.write_bytes(flip(path.read_bytes(), random.Random(step)))
    with pytest.raises(Damaged) as caught:
        checkpoint.newest_good(run, silent)
    message = str(caught.value)
    assert message.startswith(f"{checkpoint.path_of(run, 3)}: sha256 differs")
    assert "no older one is good (3 tried); restore the files or " in message
    assert "name=NEW" in message
    assert len(message.splitlines()) == 1
    assert isinstance(caught.value, UserError)
    assert (caught.value.exit_code, UserError.exit_code) == (3, 2)


def test_checkpoints_of_the_older_format_are_refused(trained, tmp_path):
    """`torch.save` alone, as it was before there were manifests."""
    for step in (1, 2):
        torch.save(trained.state_dict(), checkpoint.path_of(tmp_path, step))
    with pytest.raises(
        Damaged, match=r"no manifest .* older version.*, and no older one is good .* name=NEW"
    ):
        checkpoint.newest_good(tmp_path, silent)


def test_a_single_damaged_checkpoint_is_not_taken_for_none(tmp_path):
    checkpoint.manifest_of(checkpoint.path_of(filled(tmp_path, 1), 1)).unlink()
    with pytest.raises(Damaged, match=r"no manifest .*, and there is no other; restore"):
        checkpoint.newest_good(tmp_path, silent)


@pytest.mark.parametrize(
    "name", ["weights.pt", "step_3.pt", "step_00000003.json", "step_٠٠٠٠٠٠٠٣.pt"]
)
def test_other_names_are_no_checkpoints(name, run):
    if not (run / name).exists():
        shutil.copy(checkpoint.path_of(run, 3), run / name)
    with pytest.raises(Damaged, match="not a checkpoint's name"):
        checkpoint.load(run / name)
    assert newest(run) == 3


# ---- nothing in a file is run


class Reduced:
    """Pickled as a call."""

    def __init__(self, function: Callable, *args: object):
        self.call = function, args

    def __reduce__(self) -> tuple:
        return self.call


def by_hand(module: str, name: str, argument: str) -> bytes:
    """The oldest protocol: GLOBAL, a tuple of a string, REDUCE."""
    return f"c{module}\n{name}\n(S'{argument}'\ntR.".encode()


def inst(module: str, name: str, argument: str) -> bytes:
    """INST calls without REDUCE."""
    return f"(S'{argument}'\ni{module}\n{name}\n.".encode()


def attacks(canary: Path) -> dict[str, bytes]:
    """Pickles that make the file `canary`."""
    touch, python = f"touch {canary}", f"__import__('pathlib').Path({str(canary)!r}).touch()"
    inner = pickle.dumps(Reduced(os.system, touch))
    return {
        "system": pickle.dumps(Reduced(os.system, touch), 2),
        "nested": pickle.dumps({"model": {"weight": [1.0, Reduced(eval, python)]}, "step": 1}, 2),
        "unpickler": pickle.dumps({"step": Reduced(pickle.loads, inner)}, 2),
        "by hand": by_hand("posix", "system", touch),
        "inst": inst("os", "system", touch),
    }


def zipped(original: bytes, pickled: bytes) -> bytes:
    """A checkpoint whose pickle is exchanged; its tensors stay."""
    old, buffer = zipfile.ZipFile(io.BytesIO(original)), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, pickled if entry.endswith("/data.pkl") else old.read(entry))
    return buffer.getvalue()


def pickle_in(original: bytes) -> bytes:
    archive = zipfile.ZipFile(io.BytesIO(original))
    return archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


def mutated(pickled: bytes, rng: random.Random) -> bytes:
    """One to eight bytes or runs of bytes changed, lost, repeated or put in."""
    content = bytearray(pickled)
    for _ in range(rng.randint(1, 8)):
        at, length = rng.randrange(len(content)), rng.randint(1, 8)
        kind = rng.randrange(4)
        if kind == 0:
            content[at] = rng.randrange(256)
        elif kind == 1 and len(content) > 2 * length:
            del content[at : at + length]
        elif kind == 2:
            content[at:at] = content[max(0, at - length) : at]
        else:
            content[at:at] = rng.choice(
                [b"R", b"b", b"\x81", b"i", b"o", b"cos\nsystem\n", b"0", b"h\x00", b"Q"]
            )
    return bytes(content)


@pytest.mark.parametrize("name", attacks(Path()))
def test_a_malicious_pickle_does_not_run(name, three, run, tmp_path, counted):
    canary = tmp_path / "canary"
    attack = attacks(canary)[name]
    with suppress(Exception):
        pickle.loads(attack)  # what would happen
    assert canary.exists()
    canary.unlink()
    for content in (zipped(checkpoint.path_of(three, 3).read_bytes(), attack), attack):
        plant(run, 3, content)
        assert_falls_back(
            run,
            "not a checkpoint: " + ("UnpicklingError" if content != attack else "not a zip file"),
        )
        assert not canary.exists()
        counted("malicious pickles: refused, not run")


def test_mutated_pickles_do_not_run(three, run, tmp_path, counted):
    """100 attacks, mutated, and 100 checkpoints, some with an attack put in."""
    original = checkpoint.path_of(three, 3).read_bytes()
    (tmp_path / "here").mkdir()
    evil, rng = list(attacks(tmp_path / "here" / "canary").values()), random.Random(0)
    good, refused, before = pickle_in(original), 0, names(tmp_path)
    for i in range(200):
        at = rng.randrange(2, len(good))
        spliced = good[:at] + rng.choice(evil).rstrip(b".") + good[at:]
        base = evil[i % 5] if i < 100 else good if i < 150 else spliced
        plant(run, 3, zipped(original, mutated(base, rng)))
        lines = []
        found = newest(run, lines.append)
        refused += len(lines)
        assert names(tmp_path / "here") == []
        assert found == 2 or lines == []
        assert all(
            "step_00000003.pt: not a checkpoint: " in line and len(line) < 300 for line in lines
        )
    assert refused > 150
    assert names(tmp_path) == before
    counted("mutated pickles: refused, not run", refused)
    counted("mutated pickles: loaded as plain values", 200 - refused)


def test_torch_s_older_formats_are_not_read(run):
    buffer = io.BytesIO()
    torch.save(state(3), buffer, _use_new_zipfile_serialization=False)
    plant(run, 3, buffer.getvalue())
    assert_falls_back(run, "not a checkpoint: not a zip file")


def test_what_torch_finds_odd_is_not_printed(run):
    """It warns of pickles of another protocol, in several lines; warnings are errors here."""
    original = checkpoint.path_of(run, 3).read_bytes()
    plant(run, 3, zipped(original, pickle.dumps({"token": 4}, 3)))
    assert newest(run) == 4


@pytest.mark.parametrize("value", [[1, 2], torch.zeros(2), 3])
def test_a_checkpoint_is_a_dict(value, run):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    plant(run, 3, buffer.getvalue())
    assert_falls_back(run, f"not a checkpoint: {type(value).__name__}, not dict")


def test_a_dict_that_is_not_a_trainer_s_has_no_say_in_how_it_is_loaded(run, monkeypatch):
    """torch can be told by the environment to unpickle everything; not by ours."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    original = checkpoint.path_of(run, 3).read_bytes()
    plant(run, 3, zipped(original, pickle.dumps({"step": Reduced(struct.pack, "<i", 1)}, 2)))
    assert_falls_back(run, "not a checkpoint: UnpicklingError")
