"""data.build by several processes: the same bytes for any number of them, and as before there were
any.
"""

import hashlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from data.build import build
from data.sudoku_generate import distinct
from data.workers import in_order, workers
from tests import tiny
from tinyreason.errors import UserError

WORDS = {
    "sudoku": ("train_puzzles=40", "valid_puzzles=5", "test_puzzles=40"),
    "maze": ("train_puzzles=30", "valid_puzzles=5", "test_puzzles=10"),
    "arc": ("train_puzzles=7", "test_puzzles=5", "copies=300", "translate=true"),
}


def built(task: str, out: Path, spread) -> dict[str, bytes]:
    """The files of a data set."""
    words = (f"task.{word}" for word in WORDS[task])
    options = tiny.config(f"task={task}", "scale=small", *words).task
    build(options, out, 1 if task == "arc" else 3, spread)
    return {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }


def even_first(number: int) -> int:
    """The number; an odd one takes longer."""
    if number == 7:
        raise UserError("seven is wrong")
    time.sleep(0.01 * (number % 2))
    return number


@pytest.mark.parametrize("task", WORDS)
def test_work_that_is_done_ahead_and_out_of_order_gives_the_same_bytes(task, tmp_path):
    alone = built(task, tmp_path / "alone", map)
    assert {"test/all__inputs.npy", "train/all__labels.npy"} < alone.keys()
    with ThreadPoolExecutor(3) as pool:
        assert built(task, tmp_path / "shared", partial(in_order, pool, 5)) == alone


@pytest.mark.hostile
def test_any_number_of_processes_gives_the_same_bytes(tmp_path):
    alone = {task: built(task, tmp_path / task, map) for task in WORDS}
    for count, tasks in ((2, ("sudoku", "arc")), (3, ("sudoku", "maze", "arc"))):
        with workers(count) as spread:
            for task in tasks:
                assert built(task, tmp_path / f"{task}{count}", spread) == alone[task]


@pytest.mark.hostile
def test_a_worker_that_refuses_and_one_that_is_ended_are_one_line():
    ended = pytest.raises(UserError, match=r"workers= was ended from outside.*workers=1")
    with ended, workers(2) as spread:
        with pytest.raises(UserError, match=r"^seven is wrong$"):
            list(spread(even_first, range(8)))
        list(spread(os._exit, [1]))


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        ((9, 6, None, 0), "7bca0b8b3f4635d4"),
        ((6, 40, 14, 0), "c1c4dccec3ca765c"),
        ((9, 3, 30, 1), "61af6550786a71f4"),
    ],
)
def test_a_seed_means_the_sudokus_that_it_meant_before_there_were_workers(kind, digest):
    rng = np.random.Generator(np.random.PCG64([5, kind[0]]))
    inputs, labels = distinct(*kind, rng, set())
    found = hashlib.sha256(inputs.tobytes() + labels.tobytes()).hexdigest()
    assert found.startswith(digest)


def test_results_come_in_the_order_of_the_work_and_no_more_is_taken_than_asked():
    taken = []

    def pieces():
        for number in range(1000):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(3) as pool:
        results = in_order(pool, 4, even_first, pieces())
        assert [next(results) for _ in range(7)] == list(range(7))
        assert len(taken) == 7 + 4 - 1
        results.close()  # what waits is given up
        assert list(in_order(pool, 4, str, range(3))) == ["0", "1", "2"]
        with pytest.raises(UserError, match="seven"):
            list(in_order(pool, 4, even_first, range(20)))


def test_one_worker_is_this_process_and_a_thousand_are_refused():
    handler = signal.getsignal(signal.SIGINT)
    with workers(1) as spread:
        assert list(spread(lambda _: os.getpid(), [0])) == [os.getpid()]
    assert signal.getsignal(signal.SIGINT) is handler
    with pytest.raises(UserError, match="workers=1000: 256 is the most"), workers(1000):
        pass
