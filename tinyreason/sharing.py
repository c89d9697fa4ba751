"""Which layer of its own each layer of an unrolled net uses.

Sources: "Lessons on Parameter Sharing across Layers in Transformers", arXiv 2104.06022 (sequence,
cycle, cycle_rev); Mixture-of-Recursions, arXiv 2507.10524 (middle_*: the first and the last layer
are their own).

n layers of the unrolled net, M layers of its own.
"""

ENDS = "middle_"  # of names whose first and last layer are not shared


def cycle(n: int, M: int) -> list[int]:
    """0 1 2 0 1 2"""
    return [i % M for i in range(n)]


def sequence(n: int, M: int) -> list[int]:
    """0 0 1 1 2 2; the first layers are used once more where M does not divide n."""
    return [i * M // n for i in range(n)]


def cycle_rev(n: int, M: int) -> list[int]:
    """0 1 2 0 1 2 2 1 0: the last M reversed, as many as there are."""
    back = min(M, max(n - M, 0))
    return cycle(n - back, M) + [M - 1 - i for i in range(back)]


MAPS = {"cycle": cycle, "sequence": sequence, "cycle_rev": cycle_rev}
SHARINGS = (*MAPS, "middle_cycle", "middle_sequence")


def layer_map(sharing: str, n: int, M: int) -> tuple[int, ...]:
    """The layer of its own, 0..M-1, of each of `n` layers."""
    if not sharing.startswith(ENDS):
        return tuple(MAPS[sharing](n, M))
    inner = MAPS[sharing.removeprefix(ENDS)](n - 2, M - 2)
    return (0, *(1 + i for i in inner), M - 1)
