"""What does it cost to take some puzzles out of a very large file? `python -m eval.read_speed`

    python -m eval.read_speed
    python -m eval.read_speed rows=3831994 puzzles=1000
    python -m eval.read_speed rows=100000 puzzles=null

Writes a CSV of rows= 9x9 Sudokus with answers (random symmetries of the bank that ships here, as
many as sudoku-extreme has), reads puzzles= of them as train.py would, in a process of its own on
one core, and prints the seconds, the peak of its memory and what was understood.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from conf import help
from conf.cli import one_line
from data import sudoku_symmetry as symmetry
from data.sudoku import BANK
from tinyreason.errors import UserError

CHUNK = 20_000  # rows made at once
ALPHABET = np.frombuffer(b"?.123456789", np.uint8)
READER = """
import sys, resource, torch
from conf.cli import composed
from data.registry import load_task
torch.set_num_threads(1)
words = ["task=sudoku", "scale=small", f"task.source={sys.argv[1]}"]
counts = {"train": sys.argv[2], "valid": 0, "test": 0}
words += [f"task.{name}_puzzles={count}" for name, count in counts.items()]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
task, splits = load_task(composed(words).task)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{len(splits['train'])} puzzles, peak {peak >> 10} MiB, {before >> 10} MiB of it imports")
print("\\n".join(task.notes))
"""


def write(path: Path, rows: int) -> None:
    """A CSV of so many Sudokus, as in the published sets."""
    rng = np.random.Generator(np.random.PCG64(0))
    bank = bank_tokens()
    with path.open("wb") as file:
        file.write(b"source,question,answer,rating\n")
        for start in range(0, rows, CHUNK):
            chosen = bank[rng.integers(0, len(bank), min(CHUNK, rows - start))]
            drawn = symmetry.draw(len(chosen), 9, rng)
            questions, answers = (ALPHABET[drawn.apply(part)] for part in chosen.swapaxes(0, 1))
            lines = (
                b"made," + q.tobytes() + b"," + a.tobytes() + b",0\n"
                for q, a in zip(questions, answers, strict=True)
            )
            file.write(b"".join(lines))


def bank_tokens() -> np.ndarray:
    """(N, 2, 81) uint8: questions and answers of the bank."""
    import gzip

    lines = gzip.decompress(BANK.read_bytes()).decode().splitlines()[1:]
    texts = [line.split(",")[1:3] for line in lines]
    return np.array(
        [[[".123456789".index(c) + 1 for c in t] for t in pair] for pair in texts], np.uint8
    )


def main(words: list[str]) -> None:
    if help.asked(words):
        print(help.plain_page(__doc__))
        return
    options = {"rows": "3831994", "puzzles": "1000"} | dict(
        w.split("=", 1) for w in words if "=" in w
    )
    if options.keys() - {"rows", "puzzles"} or not options["rows"].isdecimal():
        raise UserError("usage: python -m eval.read_speed [rows=3831994] [puzzles=1000]")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.csv"
        write(path, int(options["rows"]))
        print(f"{options['rows']} rows, {path.stat().st_size >> 20} MiB")
        began = time.monotonic()
        command = [sys.executable, "-c", READER, str(path), options["puzzles"]]
        done = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        if done.returncode:
            raise UserError(done.stderr.strip().splitlines()[-1])
        print(
            f"{time.monotonic() - began:.1f} s in all; "
            f"{done.stdout.replace(str(path), path.name).strip()}"
        )


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
