"""A run that is killed, asked to stop, or resumed is the run that was not: train.py as a process, and its trainer.

The full numbers stand behind `-m slow`: 50 kills and 20 signals.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import train
from conf.run import Lock
from tests import tiny
from tinyreason import checkpoint
from tinyreason.deterministic import deterministic
from tinyreason.errors import UserError

ROOT = Path(__file__).parents[1]
WORDS = [
    "task=sudoku",
    "scale=small",
    "task.side=4",
    "task.train_puzzles=12",
    "task.valid_puzzles=4",
    "task.test_puzzles=8",
    "batch=4",
    "model.width=16",
    "model.heads=2",
    "model.layers=1",
    "model.prefix=1",
    "model.puzzle_embedding=true",
    "log_every=5",
    "eval_every=40",
    "save_every=10",
    "device=cpu",
    "name=run",
]
CLOCKS = ("seconds",)  # what differs between two runs of the same


def start(folder: Path, steps: int, *more: str) -> subprocess.Popen:
    """train.py in `folder`, which begins or goes on."""
    words = [sys.executable, str(ROOT / "train.py"), *WORDS, f"steps={steps}", *more]
    return subprocess.Popen(
        words,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines(folder: Path) -> list[dict]:
    path = folder / "runs/run/log.jsonl"
    whole = path.read_text().split("\n")[:-1] if path.exists() else []
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCKS} for line in whole]


def wait_for(folder: Path, process: subprocess.Popen, more: int) -> None:
    """Until the log has `more` lines than now, or the process has ended."""
    wanted = len(lines(folder)) + more
    while process.poll() is None and len(lines(folder)) < wanted:
        time.sleep(0.002)


def end(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=300)
    return out


def digests(folder: Path) -> dict:
    result = json.loads((folder / "runs/run/result.json").read_text())
    return {k: result[k] for k in ("sha256", "steps", "puzzles_seen", "test")}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Runs that nobody stopped, by their number of steps."""
    made = {}

    def run(steps: int) -> Path:
        if steps not in made:
            made[steps] = tmp_path_factory.mktemp("reference")
            process = start(made[steps], steps)
            out = end(process)
            assert process.returncode == 0, out
        return made[steps]

    return run


def assert_same(folder: Path, other: Path) -> None:
    assert digests(folder) == digests(other)
    assert lines(folder) == lines(other)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_random_moments_is_the_run_that_was_not(kills, reference, tmp_path, counted):
    rng, steps = random.Random(kills), 40 * kills
    saved = 0
    for _ in range(kills):
        process = start(tmp_path, steps)
        wait_for(tmp_path, process, rng.randint(1, 5))
        time.sleep(rng.random() * 0.05)
        process.kill()
        out = end(process)
        assert process.returncode == -signal.SIGKILL, out
        assert (f"going on from step {saved} " in out) == bool(saved), out
        committed = checkpoint.newest_good(tmp_path / "runs/run/checkpoints", pytest.fail)
        saved = committed[1]["step"] if committed else 0
        assert saved >= max([0, *(r["step"] - 10 for r in lines(tmp_path))]) // 10 * 10
    process = start(tmp_path, steps)
    out = end(process)
    assert process.returncode == 0, out
    assert_same(tmp_path, reference(steps))
    counted("kill -9: went on from the last checkpoint, ended bitwise as without", kills)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("each", [2, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_this_step_and_goes_on(which, each, reference, tmp_path, counted):
    rng, steps = random.Random(which), 60 * each
    for _ in range(each):
        process = start(tmp_path, steps)
        wait_for(tmp_path, process, rng.randint(1, 6))
        process.send_signal(which)
        out = end(process)
        assert process.returncode == 128 + which, out
        assert f"stopped by {which.name} at step" in out
        step = int(out.rsplit("at step ", 1)[1].split(",")[0])
        assert checkpoint.newest(tmp_path / "runs/run/checkpoints") == checkpoint.path_of(
            tmp_path / "runs/run/checkpoints", step
        )
    process = start(tmp_path, steps)
    out = end(process)
    assert process.returncode == 0, out
    assert_same(tmp_path, reference(steps))
    counted(f"{which.name}: saved that step, left with {128 + which}, ended bitwise as without", each)


def test_a_second_ctrl_c_leaves_at_once_and_sigusr1_saves(tmp_path):
    process = start(tmp_path, 10**6)
    wait_for(tmp_path, process, 2)
    process.send_signal(signal.SIGUSR1)
    out = end(process)
    assert process.returncode == 128 + signal.SIGUSR1, out
    code = (
        "import signal, os\nfrom conf.stop import Stop\n"
        "with Stop():\n    os.kill(os.getpid(), signal.SIGINT)\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "print('still here')"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert found.returncode == 130
    assert "still here" not in found.stdout


def test_two_runs_do_not_share_a_folder(tmp_path):
    process = start(tmp_path, 10**6)
    wait_for(tmp_path, process, 1)
    other = start(tmp_path, 10**6)
    out = end(other)
    assert other.returncode == 2
    assert f"error: runs/run is in use by process {process.pid}; wait for it, or type name=NEW" in out
    process.kill()
    end(process)
    Lock(tmp_path / "runs/run").release()  # a killed process holds nothing


# ---- save at every step


VARIANTS = {
    "trm full": ("model=trm", "model.gradient=full"),
    "trm bptt": ("model=trm", "model.gradient=bptt"),
    "hrm one-step": ("model=hrm", "model.gradient=one_step", "model.H_cycles=1", "model.L_cycles=2"),
}
FAST = [
    "task=sudoku",
    "scale=small",
    "task.side=4",
    "task.train_puzzles=12",
    "task.valid_puzzles=0",
    "task.test_puzzles=2",
    "batch=3",
    "model.width=8",
    "model.heads=2",
    "model.layers=1",
    "model.prefix=1",
    "model.puzzle_embedding=true",
    "halting.segments=3",
]


def fresh(name: str, *more: str) -> train.Trainer:
    config = replace(tiny.config(*FAST, *VARIANTS[name], "steps=20", *more), name="run")
    task, splits = train.load_task(config.task)
    torch.manual_seed(0)
    stream = train.Stream(splits["train"], task.augment, 0)
    return train.Trainer(config, task.facts, stream, train.pick_device(config.device))


@pytest.mark.parametrize("name", VARIANTS)
def test_saved_at_any_of_20_steps_a_run_goes_on_bitwise(name, tmp_path, counted):
    counted(f"resumed at a step of 20, bitwise: {name}", go_on_from(range(20), tmp_path, name, "device=cpu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_saved_at_any_of_20_steps_a_run_goes_on_bitwise_on_cuda(name, compiled, tmp_path, counted):
    with deterministic(True):
        places = [10] if compiled else range(20)  # a trainer takes a minute to compile
        times = go_on_from(places, tmp_path, name, "device=cuda", f"compile={compiled}".lower())
    counted(f"resumed at a step of 20 on CUDA, bitwise: {name}{', compiled' * compiled}", times)


def go_on_from(places: Sequence[int], folder: Path, *words: str) -> int:
    """From each of these steps to the last, which must be as if there had been no stop. Returns how many these were."""
    straight = fresh(*words)
    for _ in range(20):
        checkpoint.save(folder, straight.step, straight.state_dict())
        straight.segment()
    end_state = straight.state_dict()
    for step in places:
        resumed = fresh(*words)
        for _ in range(2):
            resumed.segment()  # what it was before must not matter
        changed = resumed.load_state_dict(checkpoint.load(checkpoint.path_of(folder, step)))
        assert changed == []
        while resumed.step < 20:
            resumed.segment()
        assert_equal(end_state, resumed.state_dict(), f"from {step}")
    return len(places)


def assert_equal(one, other, where: str) -> None:
    """To the last bit, whatever is nested in it."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for k in one:
            assert_equal(one[k], other[k], f"{where} {k}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where} {i}")
    elif torch.is_tensor(one):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def test_without_its_carry_a_run_goes_on_with_new_puzzles_and_says_so(tmp_path):
    trainer, resumed = fresh("trm full"), fresh("trm full")
    for _ in range(4):
        trainer.segment()
    whole, small = trainer.state_dict(), trainer.state_dict(carry=False)
    assert small["carry"] is None
    changed = resumed.load_state_dict(small)
    assert changed == ["it was saved without its carry, so every slot begins with a new puzzle"]
    assert resumed.carry.halted.all()
    assert resumed.feed.position == whole["position"]
    resumed.segment()


def test_another_number_of_threads_or_another_version_is_said(tmp_path):
    trainer = fresh("trm full")
    state = trainer.state_dict()
    state["made_on"] |= {"threads": 99, "torch": "1.0"}
    changed = trainer.load_state_dict(state)
    assert [line.split()[0] for line in changed] == ["threads", "torch"]
    assert "99" in changed[0]


# ---- the folder


def small_run(name: str, *more: str) -> train.Config:
    return replace(tiny.config(*FAST, "model=trm", "save_every=2", "eval_every=4", "log_every=2", *more), name=name)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_changed_options_are_refused_with_a_diff_unless_overridden(here, capsys):
    train.train(small_run("run", "steps=400", "max_minutes=0"))
    with pytest.raises(UserError, match=r"optim\.lr 0\.003 -> 0\.001.*resume_override=true"):
        train.train(small_run("run", "steps=400", "optim.lr=1e-3"))
    train.train(small_run("run", "steps=400", "optim.lr=1e-3", "resume_override=true", "max_minutes=0"))
    with pytest.raises(UserError, match="does not fit this model"):
        train.train(small_run("run", "steps=400", "model.width=16", "resume_override=true"))


def test_the_best_checkpoint_is_kept_with_the_newest(here, monkeypatch):
    scores = iter([0.5, 0.75, 0.25, 0.25, 0.25])
    honest = train.solve

    def scored(solver, task, puzzles, split, *rest, **more):
        found = honest(solver, task, puzzles, split, *rest, **more)
        return found | ({"exact_accuracy": next(scores)} if split == "valid" else {})

    monkeypatch.setattr(train, "solve", scored)
    train.train(small_run("run", "steps=24", "task.valid_puzzles=2", "checkpoint.keep_last=2"))
    steps = [int(p.stem.split("_")[1]) for p in sorted(Path("runs/run/checkpoints").glob("*.pt"))]
    assert steps == [8, 22, 24]


def test_a_refused_run_leaves_no_folder_behind(here):
    with pytest.raises(UserError, match="resume=true, but runs/nothing/checkpoints has no checkpoint"):
        train.train(replace(small_run("nothing"), resume="true"))
    assert not Path("runs/nothing").exists()


def test_a_carry_that_is_dropped_is_said_when_a_run_begins_and_when_it_goes_on(here, capsys):
    words = ("steps=400", "checkpoint.carry=drop", "max_minutes=0")
    train.train(small_run("run", *words))
    assert "note: checkpoint.carry=drop: a run that goes on begins new puzzles" in capsys.readouterr().out
    train.train(small_run("run", *words))
    assert "note: not to the last bit the run that was not stopped: it was saved without" in capsys.readouterr().out


def test_a_full_disk_keeps_the_old_checkpoint_and_training_goes_on(here, monkeypatch, capsys):
    honest, failed = checkpoint.save, []

    def full(directory, step, state):
        if 6 <= step <= 10:
            failed.append(step)
            raise OSError(28, "No space left on device")
        return honest(directory, step, state)

    monkeypatch.setattr(checkpoint, "save", full)
    train.train(small_run("run", "steps=14"))
    said = capsys.readouterr().err
    assert failed == [6, 8, 10]
    assert said.count("warning: runs/run: step 6 could not be saved (No space left on device)") == 1
    assert said.count("could not be saved") == 1
    assert json.loads(Path("runs/run/result.json").read_text())["steps"] == 14


def test_damage_to_every_checkpoint_stops_with_code_3(here):
    train.train(small_run("run", "steps=400", "max_minutes=0"))
    for path in Path("runs/run/checkpoints").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError) as stopped:
        train.train(small_run("run", "steps=400"))
    assert stopped.value.exit_code == 3
    assert "\n" not in str(stopped.value)
