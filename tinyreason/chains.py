"""Several chains of states on one puzzle, of which the best is trained.

Source: "Winner takes all", arXiv 2601.19085.

B batch, K chains, S sequence, D width.
"""

from torch import Tensor

from tinyreason.recursion import select

POLICIES = ("all", "copy_top1", "top1", "top2", "none")


def carried(policy: str, old: Tensor, new: Tensor, order: Tensor) -> Tensor:
    """A latent (B K S D) as the next segment finds it: each chain's own new one (`all`), the best
    one's in all of them (`copy_top1`), or new ones in the best alone, as before in the others.

    `order` (B K): the chains from the best to the worst.
    """
    if policy == "all":
        return new
    if policy == "none":
        return old
    if policy == "copy_top1":
        return of_chain(new, order[:, 0])[:, None].expand_as(new)
    best = order[:, : int(policy.removeprefix("top"))]
    moved = order.new_zeros(order.shape).scatter(1, best, 1).bool()
    return select(moved.flatten(), new.flatten(0, 1), old.flatten(0, 1)).view_as(new)


def of_chain(x: Tensor, chain: Tensor) -> Tensor:
    """(B K ...), (B,) -> (B ...)."""
    index = chain.view(-1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])
    return x.gather(1, index)[:, 0]
