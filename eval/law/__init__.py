"""Scaling laws of recursion: `python -m eval.law`."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as train.py does, before torch is loaded
