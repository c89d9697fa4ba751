"""The systems of the field side by side: `python -m eval.zoo`."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as train.py does, before torch is loaded
