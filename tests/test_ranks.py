"""Several ranks are one: reference (what one rank does), and what happens where one of them ends.

Two ranks on the CPU, by gloo. The small trainings that are compared stand in `tests/rank.py`.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from conf import cli
from tests.rank import RUNS, STEPS
from tests.test_survival import ROOT, WORDS, digests, lines
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.ranks import Ranks
from tinyreason.run.place import is_first, place

WITHIN = {"float32": 1e-5, "float64": 1e-12}
MASTER = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def variables(rank: int, world: int, port: str) -> dict[str, str]:
    """What torchrun tells a rank."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
    return os.environ | MASTER | {name: str(value) for name, value in place.items()}


def ranks(words: list, folder: Path, world: int = 2) -> list[subprocess.Popen]:
    """That many processes of a command."""
    port, pipes = free_port(), {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    options = {"cwd": folder, "text": True, **pipes}
    return [
        subprocess.Popen([sys.executable, *words], env=variables(r, world, port), **options)
        for r in range(world)
    ]


def end(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=200)
    return out


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> tuple[dict, list[dict]]:
    """What one rank comes to, and what each of two does; all three at once."""
    folders = [tmp_path_factory.mktemp(name) for name in ("alone", "two")]
    started = [
        (folder, world, process)
        for folder, world in zip(folders, (1, 2), strict=True)
        for process in ranks(["-m", "tests.rank", str(folder)], ROOT, world)
    ]
    for _, _, process in started:
        out = end(process)
        assert process.returncode == 0, out
    (one,), two = (
        [torch.load(folder / f"{r}.pt") for r in range(world)]
        for folder, world in zip(folders, (1, 2), strict=True)
    )
    return one, two


def apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The largest relative distance of two gradients, parameter by parameter."""
    pairs = zip(one, other, strict=True)
    return max(
        float((a - b).double().norm() / a.double().norm().clamp(min=1e-30)) for a, b in pairs
    )


# ---- reference: one rank


@pytest.mark.parametrize(("case", "dtype"), RUNS)
def test_two_ranks_do_what_one_does(case, dtype, found):
    """Every gradient of five steps, every puzzle that was drawn, every slot that was left."""
    one, two = found
    *steps, last = one["steps"][case, dtype]
    left = [step["halted"] for step in steps]
    assert any(some.any() and not some.all() for some in left)  # or there was no order to get wrong
    for others in two:
        *theirs, end = others["steps"][case, dtype]
        assert len(theirs) == len(steps) == STEPS
        for a, b in zip(steps, theirs, strict=True):
            assert apart(a["gradients"], b["gradients"]) < WITHIN[dtype]
            assert a["position"] == b["position"]
            torch.testing.assert_close(a["adjusted"], b["adjusted"])
        assert last["meter"] == pytest.approx(end["meter"], rel=1e-4)
    for a, b in zip(steps, two[0]["steps"][case, dtype], strict=False):  # who collects the slots
        for name in ("puzzles", "segments", "halted"):
            torch.testing.assert_close(a[name], b[name], rtol=0, atol=0)


def test_two_ranks_have_the_same_bits(found):
    _, (first, second) = found
    for run in RUNS:
        for a, b in zip(first["steps"][run][:-1], second["steps"][run][:-1], strict=True):
            torch.testing.assert_close(a["gradients"], b["gradients"], rtol=0, atol=0)


@pytest.mark.parametrize("way", ["to one", "from one"])
def test_a_checkpoint_is_that_of_any_number_of_ranks(way, found):
    one, two = found
    for others in two:
        handed = others["handed"]
        assert any(note.startswith("ranks ") for note in handed[f"notes {way}"])
        for a, b in zip(one["handed"][way], handed[way], strict=True):
            assert apart(a, b) < 1e-12
    assert one["handed"][f"notes {way}"] == []


def test_a_bad_number_on_one_rank_skips_the_step_on_all(found):
    one, two = found
    moved_nothing, then_moved = [True, True], [False, False]  # and all slots were left
    assert [one["bad"]] + [others["bad"] for others in two] == [
        [*moved_nothing, *then_moved, True]
    ] * 3


def test_an_evaluation_in_uneven_shares_counts_what_one_rank_counts(found):
    one, two = found
    for others in two:
        for a, b in zip(one["solved"], others["solved"], strict=True):
            assert a == b


def test_an_evaluation_that_one_rank_is_asked_to_stop_ends_on_all(found):
    one, two = found
    assert [one["cut"], *(others["cut"] for others in two)] == [True] * 3


# ---- a whole run


def waited(folder: Path, step: int, processes: list[subprocess.Popen]) -> None:
    """Until the log of a run has come to a step."""
    while all(p.poll() is None for p in processes):
        if (there := lines(folder)) and there[-1]["step"] >= step:
            return
        time.sleep(0.01)


@pytest.mark.hostile
def test_a_run_whose_rank_is_killed_goes_on_and_ends_bitwise_as_without(tmp_path, counted):
    """Started by torchrun where nobody disturbs it, by the same variables where somebody does."""
    words = [str(ROOT / "train.py"), *WORDS, "task.test_puzzles=7", "steps=60"]
    straight, disturbed = tmp_path / "straight", tmp_path / "disturbed"
    for folder in (straight, disturbed):
        folder.mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    whole = subprocess.Popen(
        [*launch, *words], cwd=straight, env=os.environ | MASTER,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    killed = ranks(words, disturbed)
    waited(disturbed, 15, killed)
    killed[1].kill()
    out, _ = end(killed[0]), end(killed[1])
    assert killed[0].returncode == 4, out
    assert "error: another rank has left" in out
    asked = ranks(words, disturbed)
    waited(disturbed, 35, asked)
    asked[1].send_signal(signal.SIGTERM)  # of one alone: the others hear of it
    told = [end(process) for process in asked]
    assert [process.returncode for process in asked] == [143, 143], told
    assert told[0].count("stopped by SIGTERM at step") == 1
    assert "stopped by" not in told[1]
    told = [(end(process), process.returncode) for process in ranks(words, disturbed)]
    assert [code for _, code in told] == [0, 0], told
    assert "resuming from step" in told[0][0]
    assert told[1][0] == ""  # the first speaks
    out = end(whole)
    assert whole.returncode == 0, out
    assert digests(disturbed) == digests(straight)
    assert lines(disturbed) == lines(straight)
    counted("kill -9 of a rank: the others left, ended bitwise as without")


# ---- what cannot work


def test_a_world_of_one_is_what_torchrun_says_or_nothing(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert place() == (0, 1, 0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        UserError, match="WORLD_SIZE=2 is set without RANK, LOCAL_RANK, MASTER_ADDR"
    ):
        place()
    for name, value in variables(1, 2, "1").items():
        monkeypatch.setenv(name, value)
    assert place() == (1, 2, 1)
    assert not is_first()
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(UserError, match="RANK=2, WORLD_SIZE=2, LOCAL_RANK=1 name no process"):
        place()


def test_ranks_get_a_gpu_each_or_a_line(monkeypatch):
    for name, value in variables(1, 2, "1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda:1")
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="device=cuda:0 is one GPU for 2 ranks; use device=cuda"):
        pick_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="use torchrun --nproc-per-node 1, or device=cpu"):
        pick_device("auto")


def test_what_several_ranks_cannot_do_is_one_line(monkeypatch):
    two = Ranks()
    two.world = 2
    with pytest.raises(UserError, match="batch=5 slots cannot be shared by 2 ranks; use batch=4"):
        two.slots(5)
    for name, value in variables(0, 2, "1").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="a sweep does not work in several ranks"):
        cli.refuse_ranks("train", ["-m", "seed=0,1"])
    with pytest.raises(UserError, match=r"only train\.py works in several ranks"):
        cli.refuse_ranks("solve", [])
    cli.refuse_ranks("train", ["seed=0"])
