"""How fast does a configuration train, and how near to what the machine can do?
`python -m eval.speed`

made.py      a trainer and a solver whose puzzles are noise
baseline.py  the layers as autograd alone would have them
measure.py   seconds, in turn, beside the machine's own matrix product
report.py    the table and the lines
"""

import os

# or the profiler warns of memory that was there before it
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

from eval.speed.made import PLAIN, random_trainer, steps_to_warm_up

__all__ = ["PLAIN", "random_trainer", "steps_to_warm_up"]
