"""How does training get faster with ranks and with threads?

    python -m eval.scaling
    python -m eval.scaling ways=1x1,2x1,1x2 weak=true task=sudoku model=trm scale=small

It takes the words of train.py, and
    ways=1x1,2x1,1x2   ranks x threads of each, on this machine; others are compared to the first
    weak=false         true: batch= is that of a rank, so more ranks have more slots
    steps=10           that are timed at once
    repeats=7          how often, in turn, A B C A B C: ratios hold where a shared machine drifts

CPU ms are those of all ranks and threads for one segment: what work it is, however busy the
machine is otherwise. On CUDA each rank has a GPU of its own. Puzzles are random tokens of the
task's shape.
"""

import tinyreason.run.waiting  # noqa: F401, I001, before torch is loaded

import os
import re
import socket
import subprocess
import sys
import time
from statistics import median

import torch

from conf import help
from conf.cli import choose_scale, composed, one_line
from conf.schema import training_config
from eval.begin import settled
from eval.cost.report import refuse_bare, split
from eval.speed import random_trainer, steps_to_warm_up
from tinyreason.errors import UserError
from tinyreason.ranks import refuse_uneven
from tinyreason.run.place import VARIABLES
from tinyreason.several import joined
from tinyreason.trainer import Trainer

USUAL = {"ways": "1x1,2x1,1x2", "weak": "false", "steps": "10", "repeats": "7"}
FORMS = {
    "ways": r"[1-9]\d{0,2}x[1-9]\d{0,2}(,[1-9]\d{0,2}x[1-9]\d{0,2})*",
    "weak": "true|false",
    "steps": r"[1-9]\d{0,4}",
    "repeats": r"[1-9]\d{0,4}",
}


def work(words: list[str]) -> None:
    """One rank: so many steps for each line that comes in, to the line "end" or the end of them."""
    threads, steps, *words = words
    torch.set_num_threads(int(threads))
    config = training_config(composed(words))
    with joined(config.device, config.deterministic) as ranks:
        torch.manual_seed(0)  # the same weights on all of them
        trainer = random_trainer(config, ranks)
        timed(trainer, steps_to_warm_up(trainer))
        while sys.stdin.readline() not in ("end\n", ""):
            timed(trainer, int(steps))


def timed(trainer: Trainer, steps: int) -> None:
    """So many steps: prints the seconds, by the clock and of the CPU."""
    began, busy = time.perf_counter(), time.process_time()
    for _ in range(steps):
        trainer.step()
    int(trainer.steps + trainer.feed.position)  # waits for the device
    print(time.perf_counter() - began, time.process_time() - busy, flush=True)


class Way:
    """The ranks of one way to train, started and waiting."""

    def __init__(self, name: str, batch: int, steps: str, words: list[str]):
        ranks, threads = map(int, name.split("x"))
        self.name, self.batch, self.seconds, self.busy = name, batch, [], []
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = str(found.getsockname()[1])
        command = [sys.executable, "-m", "eval.scaling", "work", str(threads), steps]
        command += [*words, f"batch={batch}"]
        self.processes = []
        for rank in range(ranks):
            place = (str(rank), str(ranks), str(rank), "127.0.0.1", port)
            env = os.environ | dict(zip(VARIABLES, place, strict=True))
            env |= {"OMP_NUM_THREADS": str(threads)}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.processes.append(subprocess.Popen(command, env=env, text=True, **pipes))
        self.answer()

    def tell(self, line: str) -> None:
        for process in self.processes:
            process.stdin.write(line)
            process.stdin.flush()

    def answer(self) -> tuple[float, float]:
        """Seconds of the slowest rank, and of the CPU for all of them."""
        lines = [process.stdout.readline() for process in self.processes]
        if not all(lines):
            raise UserError(f"ways={self.name}: a rank has ended; its words are above")
        seconds, busy = zip(*(map(float, line.split()) for line in lines), strict=True)
        return max(seconds), sum(busy)

    def time(self) -> None:
        self.tell("go\n")
        seconds, busy = self.answer()
        self.seconds.append(seconds)
        self.busy.append(busy)

    def end(self) -> None:
        self.tell("end\n")
        for process in self.processes:
            process.wait()


def table(ways: list[Way], steps: int) -> str:
    """Segments a second of each way, and the ratio of them to the first's, turn by turn."""
    head = "| ranks x threads | batch | segments/s, median | ratio to the first | least | most |"
    lines = [f"{head} CPU ms a segment |", "|" + " --- |" * 7]
    first = [ways[0].batch * steps / s for s in ways[0].seconds]
    for way in ways:
        rates = [way.batch * steps / s for s in way.seconds]
        ratios = sorted(a / b for a, b in zip(rates, first, strict=True))
        spread = f"{median(ratios):.2f} | {ratios[0]:.2f} | {ratios[-1]:.2f}"
        busy = 1000 * median(way.busy) / (way.batch * steps)
        row = f"| {way.name} | {way.batch} | {median(rates):,.0f} | {spread} | {busy:.2f} |"
        lines.append(row)
    return "\n".join(lines)


def main(words: list[str]) -> None:
    if help.asked(words):
        print(help.plain_page(__doc__))
        return
    options, words = split(words, USUAL)
    refuse_bare(words)
    for key, value in options.items():
        if not re.fullmatch(FORMS[key], value):
            raise UserError(f"{key}={value} must be as in {key}={USUAL[key]}")
    ways = started(options, words)
    for _ in range(int(options["repeats"])):
        for way in ways:
            way.time()
    for way in ways:
        way.end()
    print(table(ways, int(options["steps"])))


def started(options: dict[str, str], words: list[str]) -> list[Way]:
    """Raises UserError where ranks cannot share the slots."""
    config, names = training_config(composed(words)), options["ways"].split(",")
    batch, sizes = config.batch, {}
    for name in names:
        world = int(name.partition("x")[0])
        sizes[name] = batch * world if options["weak"] == "true" else batch
        refuse_uneven(sizes[name], world)
    words = [*words, f"model.dtype={settled(config, threads=False).model.dtype}"]  # for all ranks
    return [Way(name, size, options["steps"], words) for name, size in sizes.items()]


if __name__ == "__main__":
    with one_line():
        if sys.argv[1:2] == ["work"]:
            work(sys.argv[2:])
        else:
            choose_scale()
            main(sys.argv[1:])
