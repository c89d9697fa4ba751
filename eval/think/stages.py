"""What several chains, or the segments of one, answer to each puzzle.

N puzzles, M candidates of each, S cells, K segments.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.arc import ARC
from data.arc_augment import IDENTITY, crop, transform
from data.task import Task
from eval.think.methods import METHODS, Chain, Setting, unmoved
from eval.think.select import Candidates
from eval.trajectory import Trajectories, follow
from tinyreason.puzzle import Rows
from tinyreason.solver import nobody

Done = Callable[[int], None]
Back = Callable[[np.ndarray], np.ndarray]


@dataclass
class Stage:
    """One row of the report: so much compute, and what it found."""

    chains: int
    segments: int  # of each chain
    ended: Candidates  # of chains read at the end, of one chain after each segment
    halted: Candidates  # M = chains, read where the head first says finished, else at the end
    seconds: float


def sizes(most: int, also: int = 1) -> list[int]:
    """1, 2, 4, ... and `most`, and `also` where it is less."""
    powers = {2**i for i in range(most.bit_length())}
    return sorted(size for size in powers | {also, most} if size <= most)


def chain_stages(setting: Setting, method: str, chains: int, done: Done = nobody) -> list[Stage]:
    """Of 1, 2, 4, ... chains, the first of which is the model as it is; the chains of a stage are
    the first ones of the next. `done` hears how many more puzzles are through a chain.
    """
    began, ended, halted, seconds = time.monotonic(), [], [], []
    K = setting.solver.segments
    for number in range(chains):
        chain = Chain(setting.solver, setting.rows)
        if number:
            chain = METHODS[method](setting, number)
        followed = follow(chain.solver, chain.rows, setting.task.facts, chain.disturb, done)
        ended.append(after(setting, followed, K - 1, chain.back))
        halted.append(at_halt(setting, followed, K, chain.back))
        seconds.append(time.monotonic() - began)
    every, early = Candidates.joined(ended), Candidates.joined(halted)
    return [
        Stage(size, K, every.few(size), early.few(size), seconds[size - 1])
        for size in sizes(chains)
    ]


def segment_stages(setting: Setting, trained: int, done: Done = nobody) -> list[Stage]:
    """Of 1, 2, 4, ... segments of one chain, and of as many as `trained`."""
    began, K = time.monotonic(), setting.solver.segments
    followed = follow(setting.solver, setting.rows, setting.task.facts, None, done)
    seconds = (time.monotonic() - began) / K  # of a segment
    every = Candidates.joined([after(setting, followed, k) for k in range(K)])
    return [
        Stage(1, n, every.few(n), at_halt(setting, followed, n), seconds * n)
        for n in sizes(K, trained)
    ]


def at_halt(
    setting: Setting, followed: Trajectories, segments: int, back: Back = unmoved
) -> Candidates:
    """The answers where the head first says finished among the first `segments`, else the last of
    these; M = 1.
    """
    wants = followed.wants[:, :segments]
    said = wants.any(1)
    k = np.where(said, wants.argmax(1), segments - 1)
    found = after(setting, followed, k, back)
    found.when = np.where(said, k + 1, segments + 1)[:, None]
    return found


def after(
    setting: Setting, followed: Trajectories, k: np.ndarray | int, back: Back = unmoved
) -> Candidates:
    """The answers after segment `k` (N,), from 0; M = 1."""
    each = np.arange(len(followed.halt))
    k = np.broadcast_to(k, each.shape)
    answers = back(followed.answers[each, k])
    # what is no number is no sign of a good answer
    halt = np.nan_to_num(followed.halt[each, k], nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    residual = np.nan_to_num(followed.residual[each, k], nan=np.inf, posinf=np.inf)
    if not setting.solver.halting.learns:
        halt = np.zeros_like(halt)
    return Candidates(
        answers=comparable(setting.task, setting.rows, answers)[:, None],
        halt=halt[:, None],
        residual=residual[:, None],
        when=k[:, None] + 1,
        exact=exact(setting, answers)[:, None],
    )


def exact(setting: Setting, answers: np.ndarray) -> np.ndarray:
    """(N,) bool: every scored cell of the answers (N, S) is right."""
    labels, ignored = setting.rows.labels, setting.task.facts.ignore_label_id
    right = answers == labels
    return (right if ignored is None else right | (labels == ignored)).all(1)


def comparable(task: Task, rows: Rows, answers: np.ndarray) -> np.ndarray:
    """Answers (N, S) without what a model writes beside a puzzle, where nothing is scored: in a
    vote, two that say the same are one.
    """
    if isinstance(task, ARC):
        count = len(answers)
        still, as_it_is = np.zeros((count, 2), np.int64), np.zeros(count, np.int64)
        colours = np.broadcast_to(IDENTITY, (count, len(IDENTITY)))
        shape = crop(answers, task.canvas)
        return transform(answers, shape, as_it_is, colours, still, task.canvas)
    if task.notation.padded:
        return np.where(rows.inputs == task.facts.pad_id, task.facts.pad_id, answers)
    return answers
