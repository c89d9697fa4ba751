"""What a CPU is fast at: the choice by seconds that are made up, and how long it stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train
from eval import begin
from eval.load import open_run
from tests import tiny
from tinyreason import cpu
from tinyreason.run.machine import machine_of


@pytest.fixture
def four_threads(monkeypatch):
    """A machine of four cores on which nobody has said how many threads to use."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("took", "chosen"),
    [
        ({1: 4.0, 2: 2.0, 4: 1.0}, 4),
        ({1: 4.0, 2: 2.0, 4: 3.0}, 2),
        ({1: 1.0, 2: 2.0, 4: 3.0}, 1),
        ({1: 2.0, 2: 2.0, 4: 2.1}, 4),  # not clearly faster
    ],
)
def test_all_threads_unless_fewer_are_clearly_faster(took, chosen, four_threads, monkeypatch):
    monkeypatch.setattr(cpu, "seconds", lambda works: took)
    line = cpu.settle_threads(64, 8, 16, torch.float32)
    assert torch.get_num_threads() == chosen
    assert line.startswith(f"{chosen} thread")
    assert f"OMP_NUM_THREADS={chosen}" in line


def test_what_is_set_or_was_saved_is_not_chosen_again(four_threads, monkeypatch):
    def timed(works):
        raise AssertionError("nothing to choose")

    monkeypatch.setattr(cpu, "seconds", timed)
    assert cpu.settle_threads(64, 8, 16, torch.float32, saved=2) is None
    assert torch.get_num_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert cpu.settle_threads(64, 8, 16, torch.float32) is None
    monkeypatch.delenv("OMP_NUM_THREADS")
    torch.set_num_threads(1)
    assert cpu.settle_threads(64, 8, 16, torch.float32) is None


def test_counts():
    assert [cpu.counts(n) for n in (1, 2, 3, 8, 12)] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 4, 8],
        [1, 2, 4, 8, 12],
    ]


SMALL = ("task.side=4", "task.train_puzzles=12", "task.valid_puzzles=0", "task.test_puzzles=4")
SMALL += ("batch=4", "model.width=16", "model.layers=1", "steps=4", "name=run")


def test_a_run_goes_on_with_the_threads_that_it_began_with(
    four_threads, tmp_path, monkeypatch, capsys
):
    """Whatever is fastest then: more threads add up in another order."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cpu, "seconds", lambda works: {1: 2.0, 2: 1.0, 4: 3.0})
    train.train(tiny.config(*SMALL, "max_minutes=1e-9"))
    assert "2 threads: a layer runs 2.0 times as fast" in capsys.readouterr().out
    torch.set_num_threads(4)
    monkeypatch.setattr(cpu, "seconds", lambda works: {1: 1.0, 2: 3.0, 4: 2.0})
    train.train(tiny.config(*SMALL))
    assert machine_of(torch.device("cpu"))["threads"] == 2
    told = capsys.readouterr().out
    assert "resuming from step 1" in told
    assert "threads" not in told


def test_a_deterministic_run_times_nothing(four_threads, monkeypatch):
    def timed(works):
        raise AssertionError("by a clock")

    monkeypatch.setattr(cpu, "seconds", timed)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    config = tiny.config("deterministic=true", "scale=paper", "task=sudoku")
    assert begin.with_cpu_type(config, tiny.FACTS).model.dtype == "float32"
    begin.use_threads(config, tiny.FACTS)
    assert torch.get_num_threads() == 4
    # a run that goes on has what it had
    made_on = {"threads": 2, "dtype": "bfloat16"}
    assert begin.with_cpu_type(config, tiny.FACTS, made_on).model.dtype == "bfloat16"
    begin.use_threads(begin.with_cpu_type(config, tiny.FACTS), tiny.FACTS, made_on)
    assert torch.get_num_threads() == 2


def test_what_one_run_chose_is_not_the_most_of_the_next(four_threads):
    with cpu.same_threads_after():
        torch.set_num_threads(1)
    assert torch.get_num_threads() == 4


def test_a_run_is_examined_in_the_type_that_it_was_trained_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(begin, "fast_cpu_type", lambda *sizes: torch.bfloat16)
    train.train(tiny.config(*SMALL))
    trained = open_run(Path("runs/run"))
    assert trained.config.model.dtype == "auto"
    assert trained.model.encoder.dtype == torch.bfloat16


def test_bf16_is_for_units_that_multiply_it_and_for_wide_layers(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(cpu, "seconds", lambda works: {torch.float32: 3.0, torch.bfloat16: 1.0})
    assert cpu.fast_cpu_type(64, 512, 1536) == torch.bfloat16
    assert cpu.fast_cpu_type(64, 64, 192) == torch.float32
    monkeypatch.setattr(cpu, "seconds", lambda works: {torch.float32: 1.5, torch.bfloat16: 1.0})
    assert cpu.fast_cpu_type(64, 512, 1536) == torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    monkeypatch.setattr(cpu, "seconds", lambda works: {torch.float32: 9.0, torch.bfloat16: 1.0})
    assert cpu.fast_cpu_type(64, 512, 1536) == torch.float32


def test_a_layer_is_timed_in_turn():
    calls = []
    took = cpu.seconds({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)
    assert calls == list("ababab")
    assert set(took) == {"a", "b"}
    cpu.layer(1 << 40, 64, 64, torch.bfloat16)()  # few rows, however many there are


@pytest.mark.parametrize(
    "module", ["train", "eval.solve", "eval.cost.__main__", "eval.think.__main__"]
)
def test_how_threads_wait_is_set_before_torch_is_loaded(module):
    code = f"""
import sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            import os
            print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"))
            sys.exit()
sys.meta_path.insert(0, Watch())
import {module}
"""
    given = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}

    def told(environment: dict) -> str:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True).stdout

    assert told(given) == "PASSIVE 10000\n"
    assert told(given | {"GOMP_SPINCOUNT": "7"}) == "PASSIVE 7\n"
