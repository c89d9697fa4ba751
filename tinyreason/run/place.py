"""Which of several processes this one is: what torchrun tells each of them by its environment
variables. A run of one process has none of them.
"""

import os
from typing import NamedTuple

from tinyreason.errors import UserError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class Place(NamedTuple):
    """A process among those of its run."""

    rank: int  # from 0; the first alone speaks and writes
    world: int  # how many there are, on all machines
    local: int  # its rank among those on this machine


def place() -> Place:
    """That of this process. Raises UserError where some of the variables are missing or wrong."""
    told = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    if told.get("WORLD_SIZE", "1") == "1":
        return Place(0, 1, 0)
    missing = ", ".join(name for name in VARIABLES if name not in told)
    if missing:
        what = f"WORLD_SIZE={told['WORLD_SIZE']} is set without {missing}"
        raise UserError(f"{what}; start with torchrun, or unset WORLD_SIZE")
    try:
        found = Place(*(int(told[name]) for name in VARIABLES[:3]))
    except ValueError:
        found = None
    if found is None or not 0 <= found.local <= found.rank < found.world:
        what = ", ".join(f"{name}={told[name]}" for name in VARIABLES[:3])
        raise UserError(f"{what} name no process of a run; start with torchrun, or unset them")
    return found


def is_first() -> bool:
    """This process speaks for its run: whatever is wrong with the variables, one does."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"
