"""The tensors that a training step replaces by new ones, by name: to hold them in place while steps
are replayed.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from tinyreason.metrics import Metric
from tinyreason.puzzle import Batch

if TYPE_CHECKING:
    from tinyreason.trainer import Trainer

Tensors = dict[str, Tensor]


def replaced(trainer: "Trainer") -> Tensors:
    """By name, every tensor that a step replaces by a new one, and the window that it reads."""
    carry, feed, bad = trainer.carry, trainer.feed, trainer.bad_steps
    found = {f"state {i}": z for i, z in enumerate(carry.state)}
    found |= {f"batch {name}": t for name, t in vars(carry.batch).items()}
    found |= {"segments": carry.segments, "halted": carry.halted, "taken": feed.taken}
    found |= {f"window {i}": t for i, t in enumerate(feed.window)}
    found |= {f"bad {name}": t for name, t in vars(bad).items()}
    for name, metric in trainer.meter.sums.items():
        found |= {f"{k} {name}": t for k, t in metric._asdict().items() if t is not None}
    return found


def put(trainer: "Trainer", tensors: Tensors) -> None:
    """The same tensors in the same places."""
    carry, feed = trainer.carry, trainer.feed
    state = type(carry.state)(*(tensors[f"state {i}"] for i in range(len(carry.state))))
    batch = Batch(*(tensors[f"batch {name}"] for name in vars(carry.batch)))
    rest = {name: tensors[name] for name in ("segments", "halted")}
    trainer.carry = replace(carry, state=state, batch=batch, **rest)
    feed.taken = tensors["taken"]
    feed.window = tuple(tensors[f"window {i}"] for i in range(len(feed.window)))
    for name in vars(trainer.bad_steps):
        setattr(trainer.bad_steps, name, tensors[f"bad {name}"])
    names = [name.removeprefix("total ") for name in tensors if name.startswith("total ")]
    trainer.meter.sums = {
        name: Metric(tensors[f"total {name}"], tensors.get(f"count {name}")) for name in names
    }
