"""How threads wait for each other. Imported before torch, whose OpenMP reads it when it loads.

A thread that spins for as long as it waits starves its neighbours where cores are shared; one that
sleeps at once is woken some 2,500 times a step, which takes longer than the work of a small model.
So it spins for a fraction of a millisecond and then sleeps. What is set already stays.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # of GNU's OpenMP, which torch has on Linux
