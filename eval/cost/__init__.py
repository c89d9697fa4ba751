"""What training a loop costs: `python -m eval.cost`."""

import os

os.environ.setdefault(
    "TORCH_CPP_LOG_LEVEL", "ERROR"
)  # or its profiler warns of memory that was there before it
