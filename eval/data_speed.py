"""What does it cost to draw training puzzles? `python -m eval.data_speed`

    python -m eval.data_speed
    python -m eval.data_speed task=sudoku task.side=9 task.source=bank draws=768
    python -m eval.data_speed task=arc task.canvas=30 task.copies=100

Takes the words of train.py and draws=768, how many puzzles a step draws at most (when every slot is
free). Prints the milliseconds that the host takes to draw them, under random symmetries, and to put
them on the device, refills of the window counted; and how long a step must be for that to be 2 % of
it. Nothing of it overlaps with a step on a CPU; on CUDA the host is ahead of the device by steps.
"""

import re
import sys
import time
from statistics import median
from typing import NamedTuple

import torch

from conf import help
from conf.cli import choose_scale, composed, one_line
from conf.schema import training_config
from data.registry import load_task
from eval.cost.report import refuse_bare, split
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.feed import WINDOW, Feed, Stream
from tinyreason.puzzle import Facts

SHARE = 0.02  # of a step that data may take


class Drawing(NamedTuple):
    """Seconds of the host, for the draws of one step."""

    seconds: float  # CPU time of this thread, the median
    least: float
    most: float


def drawing(stream: Stream, facts: Facts, device: torch.device, draws: int, repeats=5) -> Drawing:
    """What it takes to hand a step `draws` new puzzles, all slots being free: each repeat draws a
    whole window anew and takes all of it.
    """
    free = torch.ones(draws, dtype=torch.bool, device=device)
    feed, found = Feed(stream, facts, draws, device), []
    for _ in range(WINDOW):
        feed.take(free)  # the first window was drawn when the feed was made
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(WINDOW):
            feed.take(free)
        found.append((time.process_time() - began) / WINDOW)
    return Drawing(median(found), min(found), max(found))


def main(words: list[str]) -> None:
    if help.asked(words):
        print(help.plain_page(__doc__))
        return
    own, words = split(words, {"draws": "768"})
    refuse_bare(words)
    said = own["draws"]
    if not re.fullmatch("[1-9][0-9]{0,5}", said):
        raise UserError(f"draws={said} must be a whole number, 1 or more")
    config = training_config(composed(words))
    device = pick_device(config.device)
    task, splits = load_task(config.task)
    stream = Stream(splits["train"], task.augment, config.seed)
    found = drawing(stream, task.facts, device, int(said))
    took, least, most = (1e3 * seconds for seconds in found)
    print(
        f"{config.task['name']}, {task.facts.seq_len} cells: {took:.2f} ms "
        f"[{least:.2f}, {most:.2f}] for {said} draws, less than {SHARE:.0%} of any step longer "
        f"than {found.seconds / SHARE:.3f} s"
    )


if __name__ == "__main__":
    with one_line():
        choose_scale()
        main(sys.argv[1:])
