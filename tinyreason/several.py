"""One rank of several, on torch.distributed: tensors on the CPU go by gloo, those on a GPU by NCCL.

B slots of all ranks.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tinyreason.device import pick_device, widest
from tinyreason.errors import UserError
from tinyreason.optim import Optimizers
from tinyreason.ranks import ALONE, Ranks
from tinyreason.run.place import place

PATIENCE = timedelta(minutes=30)  # of a rank that waits for the others


class Gone(UserError):
    """Another rank has left, or cannot be reached."""

    exit_code = 4


class Several(Ranks):
    """What `Ranks` are, where there are others."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.first = self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        return rows[self.slots(len(rows))]

    def gathered(self, rows: Tensor) -> Tensor:
        raw = raw_bytes(rows)
        whole = raw.new_empty(self.world * len(raw))
        if len(raw):
            reached(lambda: dist.all_gather(list(whole.split(len(raw))), raw))
        return whole.view(rows.dtype).view(self.world * len(rows), *rows.shape[1:])

    def collected(self, rows: Tensor) -> Tensor:
        raw = raw_bytes(rows.cpu())
        parts = [torch.empty_like(raw) for _ in range(self.world)] if self.first else None
        if len(raw):
            reached(lambda: dist.gather(raw, parts))
        if not self.first:
            return rows
        whole = torch.cat(parts).view(rows.dtype)
        return whole.view(self.world * len(rows), *rows.shape[1:])

    def exchange(self, optimizers: Optimizers, counts: list[Tensor], finite: Tensor) -> Tensor:
        held = [p for p in optimizers.parameters if p.grad is not None]
        parts = [p.grad for p in held] + counts
        flat = torch.cat([part.flatten() for part in parts] + [(~finite).to(parts[0])[None]])
        reached(lambda: dist.all_reduce(flat))
        *sums, bad = flat.split([part.numel() for part in parts] + [1])
        for p, total in zip(held, sums, strict=False):
            p.grad = total.view_as(p).to(p.dtype)
        for count, total in zip(counts, sums[len(held) :], strict=True):
            count.copy_(total.view_as(count))
        for embedding in optimizers.embeddings:
            embedding.gather(self.gathered)
        return bad[0] == 0

    def summed(self, numbers: list[Tensor]) -> list[Tensor]:
        if not numbers:
            return []
        wide = widest(numbers[0].device)
        total = torch.stack([number.to(wide) for number in numbers])
        reached(lambda: dist.all_reduce(total))
        return [one.to(number.dtype) for one, number in zip(total, numbers, strict=True)]

    def once(self, count: Tensor) -> Tensor:
        return count if self.first else torch.zeros_like(count)

    def each(self, numbers: list[Tensor]) -> Tensor | None:
        if not numbers:
            return None
        return self.collected(torch.stack([one.cpu().double() for one in numbers])[None])

    def one_of(self, total: list[Tensor], each: Tensor | None) -> list[Tensor]:
        if each is None or len(each) != self.world:
            return [self.once(one) for one in total]
        return [mine.to(one) for mine, one in zip(each[self.rank], total, strict=True)]

    def largest(self, *numbers: int) -> list[int]:
        found = torch.tensor(numbers)
        reached(lambda: dist.all_reduce(found, dist.ReduceOp.MAX))
        return found.tolist()

    def shared(self, value: Any) -> Any:
        data = torch.tensor(0) if not self.first else written(value)
        size = torch.tensor(data.numel())
        reached(lambda: dist.broadcast(size, 0))
        data = data if self.first else torch.empty(int(size), dtype=torch.uint8)
        reached(lambda: dist.broadcast(data, 0))
        return value if self.first else read(data)

    def refuse_unlike(self, what: str, told: Callable[[], str]) -> None:
        mine = told()
        (other,) = self.largest(self.rank * int(mine != self.shared(mine)))
        if other:
            advice = "start all of them with the same words, files, versions and kind of machine"
            raise UserError(f"{what} of rank {other} are not those of rank 0; {advice}")

    @contextmanager
    def first_then_others(self, when: bool) -> Iterator[None]:
        if when and not self.first:
            self.largest(0)
        yield
        if when and self.first:
            self.largest(0)


@contextmanager
def joined(device: str, deterministic: bool) -> Iterator[Ranks]:
    """The ranks of a run on the `device` that its options name, met and at the end parted.

    Raises UserError where they cannot work there, or cannot meet.
    """
    here = place()
    if here.world == 1:
        yield ALONE
        return
    mine = pick_device(device)
    if mine.type == "cuda":
        torch.cuda.set_device(mine)
    elif mine.type != "cpu":
        raise UserError(f"device={mine.type} is for one process; use device=cpu, or no torchrun")
    if deterministic:  # NCCL otherwise picks the order of its sums by timing
        os.environ.setdefault("NCCL_ALGO", "Ring")
    backend = "cpu:gloo,cuda:nccl" if mine.type == "cuda" else "gloo"
    bound = mine if mine.type == "cuda" else None
    reached(lambda: dist.init_process_group(backend, timeout=PATIENCE, device_id=bound))
    try:
        yield Several()
    except SystemExit:  # all of them leave, as a signal asked
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def reached(exchange: Callable[[], Any]) -> None:
    """An exchange with the other ranks. Raises Gone where they cannot be reached."""
    try:
        exchange()
    except RuntimeError as error:  # of gloo, and all of NCCL's
        if "out of memory" in str(error):
            raise
        again = "the same command resumes from the last checkpoint"
        reason = " ".join(str(error).split())[:150]
        raise Gone(f"another rank has left, or cannot be reached ({reason}); {again}") from None


def raw_bytes(rows: Tensor) -> Tensor:
    """(n,) uint8: of any type, also those that gloo does not know."""
    return rows.contiguous().flatten().view(torch.uint8)


def written(value: Any) -> Tensor:
    """(n,) uint8."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)


def read(data: Tensor) -> Any:
    """What was `written`."""
    return torch.load(io.BytesIO(data.numpy().tobytes()), map_location="cpu", weights_only=True)
