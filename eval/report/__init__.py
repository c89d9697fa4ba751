"""What a run was and what came of it, on one page: `python -m eval.report run=runs/NAME`."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as train.py does, before torch is loaded
