"""What training a loop costs: `python -m eval.cost`."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as train.py does, before torch is loaded
os.environ.setdefault(
    "TORCH_CPP_LOG_LEVEL", "ERROR"
)  # or its profiler warns of memory that was there before it
