"""Several processes that train one model, and what they tell each other.

All ranks have all weights, and each has its slots of the batch, in order of rank. What is drawn is
drawn for the whole batch, and what is added up is added up over all ranks; so a step of N ranks is
the step of one rank that has all slots, up to the rounding of sums.

Not DistributedDataParallel: the core is tied, so each of its gradients is final only at the end of
the backward pass, and there is nothing to overlap the exchange with. One sum over one flat buffer
does what its buckets do.

The common case is a world of one, `Ranks` itself, where every method gives back what it is given.

B slots of all ranks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from tinyreason.errors import UserError
from tinyreason.optim import Optimizers


class Ranks:
    """A world of one."""

    rank, world = 0, 1
    first = True  # this rank speaks and writes

    def slots(self, count: int) -> slice:
        """Those of this rank among so many. Raises UserError unless every rank gets as many."""
        refuse_uneven(count, self.world)
        return self.share(count)

    def share(self, count: int, rank: int | None = None) -> slice:
        """Those of a rank, this one if none is named, among so many; ranks may differ by one."""
        rank = self.rank if rank is None else rank
        return slice(count * rank // self.world, count * (rank + 1) // self.world)

    def own(self, rows: Tensor) -> Tensor:
        """(B ...) -> the rows of this rank."""
        return rows

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows of this rank -> (B ...), those of all ranks."""
        return rows

    def collected(self, rows: Tensor) -> Tensor:
        """The same for the first rank alone, on the CPU; others get what they gave."""
        return rows

    def exchange(self, optimizers: Optimizers, counts: list[Tensor], finite: Tensor) -> Tensor:
        """Sum, over the ranks, the gradients and the `counts`, and put the rows of puzzle
        embeddings side by side. () bool: the loss is `finite` on all ranks.
        """
        return finite

    def summed(self, numbers: list[Tensor]) -> list[Tensor]:
        """Scalars over the ranks."""
        return numbers

    def once(self, count: Tensor) -> Tensor:
        """What every rank counts, so that its sum over the ranks counts it once."""
        return count

    def each(self, numbers: list[Tensor]) -> Tensor | None:
        """(ranks, numbers) scalars of each rank, for the first one; None in a world of one."""
        return None

    def one_of(self, total: list[Tensor], each: Tensor | None) -> list[Tensor]:
        """The numbers of this rank, where `each` rank had its own; else the first has their sum."""
        return total

    def largest(self, *numbers: int) -> list[int]:
        """Of each number over the ranks."""
        return list(numbers)

    def shared(self, value: Any) -> Any:
        """The first rank's: tensors, numbers, strings, lists, dicts."""
        return value

    def refuse_unlike(self, what: str, told: Callable[[], str]) -> None:
        """Raise UserError where the ranks do not tell the same of `what`."""

    @contextmanager
    def first_then_others(self, when: bool) -> Iterator[None]:
        """The first rank does something before the others do it, where that spares them work."""
        yield


ALONE = Ranks()


def refuse_uneven(batch: int, world: int) -> None:
    """Raises UserError unless each of `world` ranks gets as many of the slots."""
    if batch % world:
        near = f"batch={max(batch - batch % world, world)}"
        told = f"batch={batch} slots cannot be shared by {world} ranks"
        raise UserError(f"{told}; use {near}, or another number of ranks")
