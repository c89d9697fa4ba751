"""Work shared among processes: results come in the order of the work, so they are the same for any
number of them.

What is random is drawn before it is handed out; a worker computes what follows from it.
"""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

from tinyreason.errors import UserError

Spread = Callable[[Callable, Iterable], Iterator]  # `map`, or one that has workers
MOST = 256
AHEAD = 2  # pieces of work that wait for each worker, so that it is never idle


@contextmanager
def workers(count: int) -> Iterator[Spread]:
    """A `map` of functions at the top of a module over pieces of work, by `count` processes (1:
    this one). Ends them in the end. Raises UserError for more than MOST.
    """
    if count > MOST:
        raise UserError(f"workers={count}: {MOST} is the most")
    if count == 1:
        yield map
        return
    # new processes: one that is forked from a process with threads may hang
    context, ignore = get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(count, context, signal.signal, ignore) as pool:
        try:
            yield partial(in_order, pool, AHEAD * count)
        except BrokenProcessPool:
            why = "a process of workers= was ended from outside, perhaps for its memory"
            raise UserError(f"{why}; use fewer, or workers=1") from None
        finally:
            pool.shutdown(cancel_futures=True)


def in_order(
    pool: ProcessPoolExecutor, most: int, function: Callable[[Any], Any], pieces: Iterable
) -> Iterator:
    """`map(function, pieces)`, of which `most` are taken before their results are."""
    waiting: deque = deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) == most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
