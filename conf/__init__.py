"""Configuration: the yaml groups, their types, the command line, and a run's folder."""

import sys

if sys.version_info >= (3, 14):
    sys.exit(
        "error: Hydra does not start on Python 3.14; run "
        "python3.13 -m venv .venv (3.11 and 3.12 will do too)"
    )
