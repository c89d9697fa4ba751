"""Which systems there are, and the words of train.py that choose each."""

from typing import NamedTuple


class System(NamedTuple):
    """One row of the table."""

    name: str
    paper: str  # arXiv number, or what stands for it
    words: tuple[str, ...]  # of train.py
    file: str  # its own, in tinyreason/
    recordings: tuple[str, ...] = ()  # in tests/golden/


SYSTEMS = (
    System(
        "TRM",
        "2510.04871",
        ("model=trm",),
        "models/trm.py",
        ("trm_mixer", "trm_attention"),
    ),
    System("HRM", "2506.21734", ("model=hrm",), "models/hrm.py", ("hrm",)),
    System(
        "Huginn",
        "2502.05171",
        ("model=huginn",),
        "models/huginn.py",
        ("zoo/huginn", "zoo/huginn_add"),
    ),
    System("Ouro / LoopLM", "2510.25741", ("model=ouro",), "models/ouro.py", ("zoo/ouro",)),
    System(
        "Relaxed Recursive Transformer",
        "2410.20672",
        ("model=relaxed",),
        "models/relaxed.py",
        ("zoo/three_part",),
    ),
)
