"""A run that is killed, asked to stop, or resumed is the run that was not: process and trainer.

One signal and one kill are in the quick set, more stand behind `-m hostile`, and the full numbers
behind `-m slow`: 50 kills and 20 signals.
"""

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tinyreason
import train
from data.registry import load_task
from tests import tiny
from tests.marks import hostile
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.run import checkpoint
from tinyreason.run.deterministic import deterministic
from tinyreason.run.lock import Lock
from tinyreason.trainer import Trainer

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
    """train.py in `folder`, as a terminal starts it: listening to Ctrl-C, whoever started us."""
    words = [sys.executable, str(ROOT / "train.py"), *WORDS, f"steps={steps}", *more]
    return subprocess.Popen(
        words,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def lines(folder: Path) -> list[dict]:
    path = folder / "runs/run/log.jsonl"
    whole = path.read_text().split("\n")[:-1] if path.exists() else []
    return [{k: v for k, v in json.loads(line).items() if k not in CLOCKS} for line in whole]


def wait_for(
    folder: Path, process: subprocess.Popen, more: int, last: Callable = lambda record: False
) -> None:
    """Until the log has `more` lines than now, or such a last line, or the process has ended."""
    wanted = len(lines(folder)) + more
    while (
        process.poll() is None
        and len(found := lines(folder)) < wanted
        and not (found and last(found[-1]))
    ):
        time.sleep(0.002)


def end(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=300)
    return out


def digests(folder: Path, name: str = "run") -> dict:
    result = json.loads((folder / "runs" / name / "result.json").read_text())
    return {k: result[k] for k in ("sha256", "steps", "puzzles_seen", "test")}


@pytest.fixture
def started():
    """`start`, and nothing left behind."""
    processes = []

    def run(*words: object) -> subprocess.Popen:
        processes.append(start(*words))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()


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


def test_one_signal_and_one_kill_change_nothing(tmp_path, started, counted):
    """Both while it trains; the run that nobody stops trains beside it."""
    (tmp_path / "straight").mkdir()
    straight = started(tmp_path / "straight", 60)
    saved, checkpoints = 0, tmp_path / "runs/run/checkpoints"
    for which, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        process = started(tmp_path, 60)
        wait_for(tmp_path, process, 3)
        process.send_signal(which)
        out = end(process)
        assert process.returncode == code, out
        assert (f"resuming from step {saved} " in out) == bool(saved), out
        before, saved = saved, checkpoint.newest_good(checkpoints, pytest.fail)[1]["step"]
        assert saved >= max(before, (lines(tmp_path)[-1]["step"] - 1) // 10 * 10)
        if which == signal.SIGTERM:
            assert f"stopped by SIGTERM at step {saved}, saved" in out
    process = started(tmp_path, 60)
    out = end(process)
    assert process.returncode == 0, out
    assert f"resuming from step {saved} " in out
    out = end(straight)
    assert straight.returncode == 0, out
    assert_same(tmp_path, tmp_path / "straight")
    counted("SIGTERM: saved that step, left with 143, ended bitwise as without")
    counted("kill -9: went on from the last checkpoint, ended bitwise as without")


@pytest.mark.hostile
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_random_moments_is_the_run_that_was_not(
    kills, reference, tmp_path, started, counted
):
    """Two of three while it trains, one at any time: imports, sweeping, loading, first steps."""
    rng, steps = random.Random(kills), 40 * kills
    saved = 0
    for kill in range(kills):
        process = started(tmp_path, steps)
        if kill % 3 < 2:
            wait_for(tmp_path, process, rng.randint(1, 5))
            time.sleep(rng.random() * 0.05)
        else:
            time.sleep(rng.random() * 4)
        process.kill()
        out = end(process)
        assert process.returncode == -signal.SIGKILL, out
        assert kill % 3 == 2 or (f"resuming from step {saved} " in out) == bool(saved), out
        committed = checkpoint.newest_good(tmp_path / "runs/run/checkpoints", pytest.fail)
        before, saved = saved, committed[1]["step"] if committed else 0
        assert saved >= max([before, *((r["step"] - 1) // 10 * 10 for r in lines(tmp_path))])
    process = started(tmp_path, steps)
    wait_for(tmp_path, process, 10**6, lambda record: record["step"] == steps)
    process.kill()  # while it is examined, or writes down what was found
    end(process)
    process = started(tmp_path, steps)
    out = end(process)
    assert process.returncode == 0 or "is a finished run" in out, out
    assert_same(tmp_path, reference(steps))
    counted("kill -9: went on from the last checkpoint, ended bitwise as without", kills + 1)


@pytest.mark.hostile
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("each", [2, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_this_step_and_goes_on(
    which, each, reference, tmp_path, started, counted
):
    rng, steps = random.Random(which), 60 * each
    for _ in range(each):
        process = started(tmp_path, steps)
        wait_for(tmp_path, process, rng.randint(1, 6))
        process.send_signal(which)
        out = end(process)
        assert process.returncode == 128 + which, out
        assert f"stopped by {which.name} at step" in out
        step = int(out.rsplit("at step ", 1)[1].split(",")[0])
        assert checkpoint.newest(tmp_path / "runs/run/checkpoints") == checkpoint.path_of(
            tmp_path / "runs/run/checkpoints", step
        )
    process = started(tmp_path, steps)
    out = end(process)
    assert process.returncode == 0, out
    assert_same(tmp_path, reference(steps))
    counted(
        f"{which.name}: saved that step, left with {128 + which}, ended bitwise as without", each
    )


@pytest.mark.hostile
def test_a_second_ctrl_c_leaves_at_once_and_sigusr1_saves(tmp_path, started):
    process = started(tmp_path, 10**6)
    wait_for(tmp_path, process, 2)
    process.send_signal(signal.SIGUSR1)
    out = end(process)
    assert process.returncode == 128 + signal.SIGUSR1, out
    code = (
        "import signal, os\nfrom tinyreason.run.signals import Stop\n"
        "with Stop():\n    for s in ('INT', 'TERM', 'INT'):\n"
        "        os.kill(os.getpid(), signal.Signals['SIG' + s])\n"
        "print('still here')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 130
    assert "still here" not in found.stdout


@pytest.mark.hostile
def test_two_runs_do_not_share_a_folder(tmp_path, started):
    process = started(tmp_path, 10**6)
    wait_for(tmp_path, process, 1)
    other = started(tmp_path, 10**6)
    out = end(other)
    assert other.returncode == 2
    assert f"error: runs/run is in use by process {process.pid}; wait for it, or " in out
    process.kill()
    end(process)
    Lock(tmp_path / "runs/run").release()  # a killed process holds nothing


def test_where_nothing_can_be_locked_a_run_goes_on_with_a_warning(here, monkeypatch, capsys):
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock._unix.lock_fd_nonblocking", unknown)
    train.train(small_run("run", "steps=2"))
    assert (
        "warning: runs/run/lock: cannot be locked (No locks available)" in capsys.readouterr().err
    )


@pytest.mark.hostile
def test_nobody_reading_the_messages_does_not_keep_a_run_from_saving(tmp_path, started):
    process = started(tmp_path, 10**6)
    wait_for(tmp_path, process, 2)
    process.stdout.close()  # its stderr too
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    committed = checkpoint.newest(tmp_path / "runs/run/checkpoints")
    assert committed
    assert int(committed.stem[5:]) >= lines(tmp_path)[-1]["step"]


def test_signals_that_come_while_saving_wait(here, monkeypatch, capsys):
    """SLURM and impatient people send more than one."""
    honest, save = Trainer.step, checkpoint.save

    def asked(trainer: Trainer) -> None:
        honest(trainer)
        if trainer.steps == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    def slow(*words: object) -> Path:
        for which in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            os.kill(os.getpid(), which)
        return save(*words)

    monkeypatch.setattr(Trainer, "step", asked)
    monkeypatch.setattr(checkpoint, "save", slow)
    with pytest.raises(SystemExit) as left:
        train.train(small_run("run", "steps=400", "save_every=100"))
    assert left.value.code == 143
    assert "stopped by SIGTERM at step 5, saved" in capsys.readouterr().out
    assert checkpoint.newest(Path("runs/run/checkpoints")).name == "step_00000005.pt"


@pytest.mark.parametrize("error", [RuntimeError("the compiler was interrupted"), UserError("why")])
def test_a_step_that_breaks_off_at_ctrl_c_is_told_in_a_line_and_not_saved(
    error, here, monkeypatch, capsys
):
    """A terminal's Ctrl-C goes to the processes of a compiler too."""
    honest = Trainer.step

    def broken(trainer: Trainer) -> None:
        if trainer.steps == 5:
            os.kill(os.getpid(), signal.SIGINT)
            raise error
        honest(trainer)

    monkeypatch.setattr(Trainer, "step", broken)
    with pytest.raises((SystemExit, UserError)) as left:
        train.train(small_run("run", "steps=8", "save_every=2"))
    assert checkpoint.newest(Path("runs/run/checkpoints")).name == "step_00000004.pt"
    if isinstance(error, UserError):  # has its own line
        assert left.value is error
        return
    assert left.value.code == 130
    assert (
        "stopped by SIGINT within step 6, which broke off (RuntimeError)" in capsys.readouterr().out
    )
    monkeypatch.setattr(Trainer, "step", honest)
    assert train.train(small_run("run", "steps=8", "save_every=2"))["steps"] == 8


# ---- save at every step


VARIANTS = {
    "trm full": ("model=trm", "gradient=full"),
    "trm bptt": ("model=trm", "gradient=bptt"),
    "hrm one-step": ("model=hrm", "gradient=one_step", "model.H_cycles=1", "model.L_cycles=2"),
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
    task, splits = load_task(config.task)
    torch.manual_seed(0)
    stream = train.Stream(splits["train"], task.augment, 0)
    return train.Trainer(config, task.facts, stream, pick_device(config.device))


SOME, OTHERS = [4, 13], [*range(4), *range(5, 13), *range(14, 20)]  # of the 20 steps


@pytest.mark.parametrize("places", [SOME, hostile(OTHERS)], ids=["some", "the others"])
@pytest.mark.parametrize("name", VARIANTS)
def test_saved_at_any_of_20_steps_a_run_goes_on_bitwise(name, places, tmp_path, counted):
    times = go_on_from(places, tmp_path, name, "device=cpu")
    counted(f"resumed at a step of 20, bitwise: {name}", times)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_saved_at_any_of_20_steps_a_run_goes_on_bitwise_on_cuda(name, compiled, tmp_path, counted):
    with deterministic(True):
        places = [10] if compiled else range(20)  # a trainer takes a minute to compile
        times = go_on_from(places, tmp_path, name, "device=cuda", f"compile={compiled}".lower())
    counted(f"resumed at a step of 20 on CUDA, bitwise: {name}{', compiled' * compiled}", times)


def go_on_from(places: Sequence[int], folder: Path, *words: str) -> int:
    """From each of these steps to the last, as if there had been no stop. Returns how many."""
    straight = fresh(*words)
    for _ in range(20):
        checkpoint.save(folder, straight.steps, straight.state_dict())
        straight.step()
    end_state = straight.state_dict()
    for step in places:
        resumed = fresh(*words)
        for _ in range(2):
            resumed.step()  # what it was before must not matter
        changed = resumed.load_state_dict(checkpoint.load(checkpoint.path_of(folder, step)))
        assert changed == []
        while resumed.steps < 20:
            resumed.step()
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
        trainer.step()
    whole, small = trainer.state_dict(), trainer.state_dict(carry=False)
    assert small["carry"] is None
    changed = resumed.load_state_dict(small)
    assert changed == ["it was saved without its carry, so every slot begins with a new puzzle"]
    assert resumed.carry.halted.all()
    assert resumed.feed.position == whole["position"]
    resumed.step()


def test_another_number_of_threads_or_another_version_is_said(tmp_path):
    trainer = fresh("trm full")
    state = trainer.state_dict()
    state["made_on"] |= {"threads": 99, "torch": "1.0"}
    changed = trainer.load_state_dict(state)
    assert [line.split()[0] for line in changed] == ["threads", "torch"]
    assert "99" in changed[0]


def test_a_checkpoint_of_an_earlier_version_is_said_to_round_otherwise(tmp_path):
    trainer = fresh("trm full")
    state = trainer.state_dict()
    for name in ("tinyreason", "kernels", "dtype", "ranks"):
        del state["made_on"][name]
    (changed,) = trainer.load_state_dict(state)
    assert changed == f"tinyreason before 0.6.1 is now {tinyreason.__version__}"


# ---- the folder


def small_run(name: str, *more: str) -> train.Config:
    return replace(
        tiny.config(*FAST, "model=trm", "save_every=2", "eval_every=4", "log_every=2", *more),
        name=name,
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stopped_at(step: int, monkeypatch: pytest.MonkeyPatch, *words: str, name: str = "run") -> None:
    """A run that somebody asked to stop there."""
    honest = Trainer.step

    def asked(trainer: Trainer) -> None:
        honest(trainer)
        if trainer.steps == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", asked)
        with pytest.raises(SystemExit):
            train.train(small_run(name, "steps=40", *words))


def test_changed_options_are_refused_with_a_diff_unless_overridden_and_then_hold(
    here, monkeypatch, capsys
):
    stopped_at(3, monkeypatch)
    with pytest.raises(UserError, match=r"optim\.lr 0\.005 -> 0\.001.*resume_override=true"):
        train.train(small_run("run", "steps=40", "optim.lr=1e-3"))
    capsys.readouterr()
    stopped_at(4, monkeypatch, "optim.lr=0", "optim.weight_decay=0", "resume_override=true")
    assert "optim.lr 0.005 is now 0.0, optim" not in (said := capsys.readouterr().out)
    assert "uninterrupted run (optim.lr 0.005 is now 0.0; optim.weight_decay 0.1 is now 0.0" in said
    before, after = (
        checkpoint.load(Path(f"runs/run/checkpoints/step_0000000{step}.pt")) for step in (3, 4)
    )
    for name, tensor in before["model"].items():
        assert torch.equal(tensor, after["model"][name]) == (name != "encoder.puzzles.table")
    with pytest.raises(UserError, match="does not fit this model"):
        train.train(small_run("run", "steps=40", "model.width=16", "resume_override=true"))
    with pytest.raises(UserError, match="saved by AdamATan2, not AdamW"):
        train.train(small_run("run", "steps=40", "optim.rule=adamw", "resume_override=true"))


def test_what_saves_memory_may_change_and_is_said(here, monkeypatch, capsys):
    """It is what a user is told to use when memory has run out."""
    stopped_at(3, monkeypatch)
    stopped_at(5, monkeypatch, "micro_batch=2", "model.recompute=true")
    assert (
        "uninterrupted run (micro_batch None is now 2)\n" in capsys.readouterr().out
    )  # recomputing gives the same bits


def test_a_run_that_begins_from_anothers_checkpoint_is_its_own_from_then_on(
    here, monkeypatch, capsys
):
    stopped_at(5, monkeypatch)
    words = ("steps=40", "resume=runs/run/checkpoints/step_00000005.pt", "optim.lr=1e-3")

    def killed(trainer: Trainer) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train.train(small_run("new", *words))
    assert checkpoint.newest(Path("runs/new/checkpoints")).name == "step_00000005.pt"
    stopped_at(7, monkeypatch, *words[1:], name="new")
    Path("runs/run/checkpoints/step_00000005.pt").unlink()
    capsys.readouterr()
    train.train(small_run("new", *words))
    assert "resuming from step 7 (runs/new/checkpoints/step_00000007.pt)" in capsys.readouterr().out


def test_going_back_within_a_run_has_to_be_meant_and_loses_nothing(here, monkeypatch, capsys):
    stopped_at(7, monkeypatch)
    back = "resume=runs/run/checkpoints/step_00000004.pt"
    with pytest.raises(
        UserError, match=r"step_00000007\.pt is newer.* name=NEW resume=.* resume_override=true"
    ):
        train.train(small_run("run", "steps=40", back))
    stopped_at(5, monkeypatch, back, "resume_override=true")
    assert "resuming from step 4 " in capsys.readouterr().out
    found = sorted(path.name for path in Path("runs/run/checkpoints").iterdir())
    assert "step_00000007.pt.aside" in found
    assert "step_00000005.pt" in found


def test_the_best_checkpoint_is_kept_with_the_newest(here, monkeypatch):
    scores = iter([0.5, 0.75, 0.25, 0.25, 0.25, 0.25])
    honest = train.solve

    def scored(solver, task, puzzles, split, *rest, **more):
        found = honest(solver, task, puzzles, split, *rest, **more)
        return found | ({"exact_accuracy": next(scores)} if split == "valid" else {})

    monkeypatch.setattr(train, "solve", scored)
    train.train(small_run("run", "steps=24", "task.valid_puzzles=2", "checkpoint.keep_last=2"))
    steps = [int(p.stem.split("_")[1]) for p in sorted(Path("runs/run/checkpoints").glob("*.pt"))]
    assert steps == [8, 22, 24]


def test_the_best_checkpoint_stays_where_a_better_one_cannot_be_saved(here, monkeypatch):
    scores, honest = iter([0.5, 0.75, 0.25, 0.25, 0.25]), train.solve
    solved = lambda *words, **more: honest(*words, **more) | {"exact_accuracy": next(scores, 0)}  # noqa: E731
    monkeypatch.setattr(train, "solve", solved)
    with disk_full_at(range(8, 10), monkeypatch):
        train.train(small_run("run", "steps=24", "task.valid_puzzles=2", "checkpoint.keep_last=2"))
    steps = [int(p.stem.split("_")[1]) for p in sorted(Path("runs/run/checkpoints").glob("*.pt"))]
    assert steps == [4, 22, 24]


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "train", "st',
        hostile('{"step": 1}'),
        hostile('{"step": null, "kind": "eval"}'),
        hostile("[1]"),
        hostile("[" * 10**5),
        hostile("\x00\xff"),
    ],
)
def test_lines_of_the_log_that_are_not_ours_are_dropped(line, here, monkeypatch, capsys):
    stopped_at(4, monkeypatch)
    path = Path("runs/run/log.jsonl")
    whole = path.read_text()
    path.write_bytes(whole.encode() + line.encode("latin-1") + b"\n")
    capsys.readouterr()
    stopped_at(5, monkeypatch)
    assert path.read_text() == whole
    assert (
        f"warning: {path}: 1 of 3 lines are damaged and dropped; log.jsonl.aside"
        in capsys.readouterr().err
    )
    assert path.with_name("log.jsonl.aside").read_bytes().startswith(whole.encode())


def test_what_is_missing_from_a_folder_is_said(here, monkeypatch, capsys):
    stopped_at(4, monkeypatch)
    run = Path("runs/run")
    (run / "log.jsonl").unlink()
    stopped_at(5, monkeypatch)
    assert (
        "warning: runs/run/log.jsonl is missing, so the log goes on from step 4"
        in capsys.readouterr().err
    )
    (run / "config.yaml").rename("config.yaml")
    with pytest.raises(
        UserError, match=r"has lost its config\.yaml; restore it, or \w+ resume_override=true"
    ):
        train.train(small_run("run", "steps=40"))
    Path("config.yaml").rename(run / "config.yaml")
    stopped_at(6, monkeypatch)
    before = (run / "log.jsonl").read_text()
    shutil.rmtree(run / "checkpoints")
    train.train(small_run("run", "steps=40"))
    assert (
        "warning: runs/run was begun, but there is no checkpoint; it starts again at step 0"
        in capsys.readouterr().err
    )
    assert (run / "log.jsonl.aside").read_text() == before


@pytest.mark.hostile
@pytest.mark.parametrize("where", ["a closed pipe", "a full disk"])
def test_nobody_reading_what_is_printed_does_not_end_a_run(where, tmp_path):
    if where == "a closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open("/dev/full", os.O_WRONLY)
    words = [sys.executable, str(ROOT / "train.py"), *WORDS, "steps=45"]
    done = subprocess.run(
        words, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "runs/run/result.json").exists()


@pytest.mark.hostile
def test_a_sweep_goes_on_with_what_is_left_of_it(tmp_path):
    """A run that fails does not end it, one that is finished is left as it is."""
    words = [w for w in WORDS if w != "name=run"]
    # 3 does not divide the width
    few = [
        "steps=4",
        "optim.clip=1",
        "-m",
        "seed=1",
        "model.heads=2,3,4",
    ]
    for finished in (0, 2):
        command = [sys.executable, str(ROOT / "train.py"), *words, "model.mix=attention", *few]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("error: ") == done.stderr.count("\n") == 1, done.stderr
        assert "model.heads=3" in done.stderr
        assert done.stdout.count("is a finished run\n") == finished
        assert len(list(tmp_path.glob("runs/*/result.json"))) == 2
    one = [sys.executable, str(ROOT / "train.py"), *WORDS, "steps=2", "-m", "seed=1,2"]
    done = subprocess.run(one, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert "name=run is of one run; leave name= out of a sweep (-m)" in done.stderr
    assert done.returncode == 2
    assert not (tmp_path / "runs/run").exists()


@pytest.mark.hostile
def test_ctrl_c_while_loading_is_no_traceback(tmp_path):
    for wait in (0.2, 0.8):
        process = start(tmp_path, 10)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        out = end(process)
        assert process.returncode == -signal.SIGINT
        assert not out


def test_a_refused_run_leaves_no_folder_behind(here):
    with pytest.raises(
        UserError, match="resume=true, but runs/nothing/checkpoints has no checkpoint"
    ):
        train.train(replace(small_run("nothing"), resume="true"))
    assert not Path("runs/nothing").exists()


def test_a_carry_that_is_dropped_is_said_when_a_run_begins_and_when_it_goes_on(here, capsys):
    words = ("steps=400", "checkpoint.carry=drop", "max_minutes=0")
    train.train(small_run("run", *words))
    assert (
        "note: checkpoint.carry=drop: a resumed run begins new puzzles" in capsys.readouterr().out
    )
    train.train(small_run("run", *words))
    assert (
        "note: results may differ from an uninterrupted run (it was saved without"
        in capsys.readouterr().out
    )


@contextmanager
def disk_full_at(steps: range, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file may grow beyond 20,000 bytes in these steps and saves; a checkpoint is larger."""
    honest, (soft, hard) = Trainer.step, resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(trainer: Trainer) -> None:
        honest(trainer)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (20_000 if trainer.steps in steps else soft, hard)
        )

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", limited)
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_old_checkpoint_and_training_goes_on(here, monkeypatch, capsys):
    with disk_full_at(range(6, 12), monkeypatch):
        train.train(small_run("run", "steps=14"))
    said = capsys.readouterr().err
    assert said.count("could not be saved") == 1
    assert "warning: runs/run: step 6 could not be saved (File too large)" in said
    found = sorted(int(path.stem[5:]) for path in Path("runs/run/checkpoints").glob("*.pt"))
    assert found == [4, 12, 14]
    train.train(small_run("plain", "steps=14"))
    assert digests(here) == digests(here, "plain")


def test_a_disk_that_is_full_at_the_end_does_not_pass_for_a_finished_run(here, monkeypatch, capsys):
    with disk_full_at(range(5, 100), monkeypatch):
        with pytest.raises(
            UserError, match=r"step 40 could not be saved; make room on the disk, then \w+ the same"
        ):
            train.train(small_run("run", "steps=40"))
        stopped_at(6, monkeypatch)
    assert "stopped by SIGTERM at step 6, which could not be saved" in capsys.readouterr().out
    train.train(small_run("run", "steps=40"))
    assert "resuming from step 4 " in capsys.readouterr().out
    train.train(small_run("plain", "steps=40"))
    assert digests(here) == digests(here, "plain")


def test_damage_to_every_checkpoint_stops_with_code_3(here):
    train.train(small_run("run", "steps=400", "max_minutes=0"))
    for path in Path("runs/run/checkpoints").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError) as stopped:
        train.train(small_run("run", "steps=400"))
    assert stopped.value.exit_code == 3
    assert "\n" not in str(stopped.value)
