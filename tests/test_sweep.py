"""Runs of a sweep, in this process and in others: what they leave with, and who hears of it."""

import io
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import pytest
import torch

from conf import cli, sweep
from conf.sweep import Job, Left, launching
from eval import begin, data_speed, evaluation_speed, scaling
from tests.test_survival import ROOT, WORDS
from tinyreason.errors import UserError


@pytest.fixture(autouse=True)
def nothing_before(monkeypatch):
    sweep.STOPPED.clear()
    sweep.FAILED.clear()
    monkeypatch.setattr(sweep, "sweeping", lambda: True)
    yield
    sweep.STOPPED.clear()
    sweep.FAILED.clear()


def leaving(code: int, elsewhere: bool) -> Job:
    job = Job(lambda words: sys.exit(code))
    job.home = -1 if elsewhere else os.getpid()
    return job


def launched(*jobs: Callable, words: Sequence[str] = ()) -> None:
    with launching(list(words)):
        for job in jobs:
            job(None)


def test_a_run_that_fails_lets_the_others_go_on_and_its_code_arrives():
    """Also from another process, where it must be pickled."""
    with pytest.raises(SystemExit) as left:
        launched(leaving(2, elsewhere=False), leaving(3, elsewhere=False))
    assert left.value.code == 3
    with pytest.raises(Left) as raised:
        leaving(2, elsewhere=True)(None)
    with pytest.raises(SystemExit) as left, launching([]):
        raise pickle.loads(pickle.dumps(raised.value))
    assert left.value.code == 2


def test_a_run_that_is_asked_to_stop_is_the_last_of_its_process():
    with pytest.raises(SystemExit):
        leaving(143, elsewhere=False)(None)  # here, that ends the sweep
    assert sweep.STOPPED == []
    for job in (leaving(130, elsewhere=True), Job(pytest.fail)):
        with pytest.raises(Left) as left:
            job(None)
        assert left.value.code == 130


def test_ctrl_c_is_left_to_the_runs_side_by_side(capsys):
    before = signal.getsignal(signal.SIGINT)
    interrupt = lambda _: signal.raise_signal(signal.SIGINT)  # noqa: E731
    launched(interrupt, words=["hydra/launcher=joblib"])
    assert "the runs save and leave" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        launched(interrupt, interrupt, words=["hydra/launcher=joblib"])
    assert signal.getsignal(signal.SIGINT) is before


def test_what_a_sweep_changes_is_put_back(monkeypatch):
    for before in (None, "somewhere"):
        if before is None:
            monkeypatch.delenv("PYTHONPATH", raising=False)
        else:
            monkeypatch.setenv("PYTHONPATH", before)
        with launching(["hydra/launcher=submitit_slurm"]):
            assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == sweep.ROOT
        assert os.environ.get("PYTHONPATH") == before


def test_no_signal_is_touched_where_runs_follow_each_other(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("touched"))
    launched(lambda _: None)


def test_a_launcher_that_is_not_there_says_where_it_comes_from():
    told = cli.shorten("Could not find 'hydra/launcher/joblib' Available: basic")
    assert told.endswith("come with pip install 'tinyreason[sweep]'")


@pytest.mark.slow
def test_two_runs_side_by_side(tmp_path):
    """Both under way at once, a wrong one between them, and Ctrl-C saves both."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = [word for word in WORDS if not word.startswith("name=")]
    words = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *words]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words, "seed=0,-1,1", "steps=1000000"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("runs/*/checkpoints/*.pt"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 2 or process.returncode == 130, out
    assert "error: seed=-1 must be 0 or more" in out
    assert len(re.findall(r"stopped by SIGINT at step \d+, saved", out)) == 2, out


# ---- how much faster: eval.scaling


def test_the_table_of_ways_has_ratios_turn_by_turn():
    ways = []
    for name, batch, seconds in (("1x1", 4, [2.0, 4.0]), ("2x1", 8, [2.0, 2.0])):
        way = scaling.Way.__new__(scaling.Way)
        way.name, way.batch, way.seconds, way.busy = name, batch, seconds, [0.5, 0.5]
        ways.append(way)
    first, second = scaling.table(ways, 10).splitlines()[2:]
    assert first == "| 1x1 | 4 | 15 | 1.00 | 1.00 | 1.00 | 12.50 |"
    assert second == "| 2x1 | 8 | 40 | 3.00 | 2.00 | 4.00 | 6.25 |"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("ways=2", "ways=2 must be as in ways=1x1,2x1,1x2"),
        ("ways=3x1", "cannot be shared by 3"),
        ("foo", "foo is no option here; write key=value"),
        ("repeats", "repeats needs a value"),
    ],
)
def test_ways_that_cannot_be_are_refused(word, told):
    with pytest.raises(UserError, match=told):
        scaling.main(["task=sudoku", "scale=small", "device=cpu", word])


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("puzzles=nan", "puzzles=nan is not a size"),
        ("repeats=0", "repeats=0 is not a size"),
        ("confidence=nan", "usage: "),
        ("foo", "usage: "),
        ("puzzles", "puzzles needs a value"),
    ],
)
def test_words_of_evaluation_speed_are_refused(word, told):
    with pytest.raises(UserError, match=told):
        evaluation_speed.main(["run=pretrained/sudoku6", word])


@pytest.mark.parametrize(
    ("word", "told"),
    [("draws=nan", "draws=nan must be a whole number"), ("foo", "foo is no option here")],
)
def test_words_of_data_speed_are_refused(word, told):
    with pytest.raises(UserError, match=told):
        data_speed.main(["task=sudoku", "scale=small", word])


def test_a_rank_ends_where_nobody_tells_it_any_more(monkeypatch, capsys):
    """Its starter was killed: the end of the lines, without "end"."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\n"))
    words = ["task=sudoku", "scale=small", "device=cpu", "task.side=4", "batch=2"]
    scaling.work([str(torch.get_num_threads()), "1", *words, "model.width=16", "model.heads=2"])
    assert len(capsys.readouterr().out.splitlines()) == 2  # warm-up, and the one that was asked for


def test_all_ranks_have_the_number_type_of_this_machine(monkeypatch):
    monkeypatch.setattr(begin, "fast_cpu_type", lambda *sizes: torch.bfloat16)
    monkeypatch.setattr(scaling, "Way", lambda *given: given)
    options = {"ways": "1x1,2x1", "weak": "false", "steps": "1"}
    ways = scaling.started(options, ["task=sudoku", "scale=small", "device=cpu"])
    assert [words[-1] for _, _, _, words in ways] == ["model.dtype=bfloat16"] * 2
