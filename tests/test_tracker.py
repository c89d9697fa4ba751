"""A tracker cannot stop a run: no package, no key, no server, a failure on the way: one warning,
and on it goes.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from conf import tracker as track
from tests import tiny

ROOT = Path(__file__).parents[1]
WORDS = (
    "task=sudoku scale=small task.side=4 task.train_puzzles=4 "
    "task.valid_puzzles=0 task.test_puzzles=2 batch=2 "
    "model.width=16 model.heads=2 model.layers=1 steps=4 log_every=1 logger=wandb name=run"
)


def run(folder: Path, **environment: str) -> tuple[subprocess.CompletedProcess, float]:
    """train.py with wandb, and its seconds."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {
        "OMP_NUM_THREADS": "1",
        "HOME": str(folder),
        "NETRC": str(folder / "none"),
        "WANDB_SILENT": "true",
    }
    began = time.monotonic()
    words = [sys.executable, str(ROOT / "train.py"), *WORDS.split(" ")]
    done = subprocess.run(
        words,
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=280,
    )
    return done, time.monotonic() - began


def assert_trained(done: subprocess.CompletedProcess, folder: Path) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: wandb is off") == 1, done.stderr
    assert (folder / "runs/run/result.json").exists()
    assert len((folder / "runs/run/log.jsonl").read_text().splitlines()) == 5


@pytest.mark.hostile
def test_without_a_key_training_completes_with_one_warning(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    assert_trained(run(tmp_path)[0], tmp_path)


@pytest.mark.slow
def test_without_a_server_training_completes_and_waits_at_most_30_seconds(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    key = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    (tmp_path / "plain").mkdir()
    (tmp_path / "tracked").mkdir()
    _, without = run(tmp_path / "plain")
    done, seconds = run(tmp_path / "tracked", **key)
    assert_trained(done, tmp_path / "tracked")
    assert seconds - without < 30


def test_without_the_package_training_goes_on(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    tracker = track.make_tracker(tiny.config("logger=wandb", "name=a"), Path("nowhere"))
    tracker.log({"step": 1})
    tracker.finish()
    said = capsys.readouterr().err
    assert said.startswith("warning: wandb is off (ModuleNotFoundError")
    assert said.count("\n") == 1


def test_a_run_that_goes_on_goes_on_over_there_too(tmp_path, monkeypatch):
    asked = []

    def init(**options: object) -> SimpleNamespace:
        asked.append(options)
        return SimpleNamespace(id=options["id"] or "given")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Settings=dict))
    for _ in range(2):
        track.make_tracker(tiny.config("logger=wandb", "name=a"), tmp_path)
    assert [options["id"] for options in asked] == [None, "given"]
    assert {options["resume"] for options in asked} == {"allow"}
    assert (
        asked[0]["settings"]["finish_timeout"] <= 10
    )  # or a server that is gone holds the run for ever


def test_a_tracker_that_fails_on_the_way_is_dropped(capsys):
    class Failing:
        calls = 0

        def log(self, record: dict) -> None:
            self.calls += 1
            raise ConnectionError("gone\naway")

    failing = Failing()
    tracker = track.Fallback(failing)
    for step in range(3):
        tracker.log({"step": step})
    tracker.finish()
    assert failing.calls == 1
    assert capsys.readouterr().err.count("\n") == 1
