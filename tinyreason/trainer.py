"""A training run in memory: all that changes while training, and the one step that changes it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from tinyreason import earlier
from tinyreason.combinations import refuse_combinations
from tinyreason.compiled import compile_cores, keep_what_is_compiled
from tinyreason.depth import DepthConfig, generator_of, make_depth
from tinyreason.ema import EMA
from tinyreason.feed import Feed, Stream
from tinyreason.gradient import GradientConfig, make_gradient
from tinyreason.graph import GRAPH, make_graph
from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.kernels import KERNELS, Site, choose_kernels, use_kernels
from tinyreason.losses import CROSS_ENTROPIES, Loss, cross_entropy_of, total
from tinyreason.metrics import Meter, Metric, tally
from tinyreason.models import (
    ModelConfig,
    Read,
    RecursiveModel,
    make_model,
    name_of,
    parameter_count,
)
from tinyreason.noise import Noise, StepNoise
from tinyreason.nonfinite import BadSteps, only_if
from tinyreason.objective import judged_segment
from tinyreason.optim import OptimConfig, Optimizers
from tinyreason.options import Options, option
from tinyreason.puzzle import Batch, Facts
from tinyreason.puzzle_embedding import rows_by_name
from tinyreason.ranks import ALONE, Ranks
from tinyreason.recursion import Depth
from tinyreason.run import checkpoint
from tinyreason.run.deterministic import repeats
from tinyreason.run.machine import machine_of, peak_memory, versions
from tinyreason.segment import Carry, Trace, detached
from tinyreason.supervision import SupervisionConfig, make_supervision


@dataclass
class Training(Options):
    """All that decides the weights of a run, but for its data; the values stand in `conf/`."""

    model: ModelConfig
    gradient: GradientConfig
    depth: DepthConfig
    supervision: SupervisionConfig
    halting: HaltingConfig
    optim: OptimConfig
    seed: int = option(least=0, most=2**63 - 1)  # of weights, order of puzzles, augmentation, noise
    steps: int = option(least=1)  # optimizer steps; a segment of each slot, each
    batch: int = option(least=1)  # slots
    loss: str = option(choices=tuple(CROSS_ENTROPIES))
    ema: float | None = option(least=0, most=1)  # decay of the averaged weights; None: none
    compile: str = option(choices=("auto", "true", "false"))  # auto: on CUDA
    kernels: str = option(choices=KERNELS)  # auto: on CUDA, where they are faster
    graph: str = option(choices=GRAPH)  # auto: on CUDA, where that is faster
    # slots of a rank that go forward and backward at once; None: all; auto: for the caller to
    # choose
    micro_batch: int | str | None = option(least=1, words=("auto",))

    @property
    def slots_at_once(self) -> int:
        """That number; where nobody has chosen one, all slots."""
        chosen = isinstance(self.micro_batch, int)
        return min(self.micro_batch, self.batch) if chosen else self.batch

    def check_together(self, prefix: str) -> None:
        refuse_combinations(self)


TABLE = "encoder.puzzles.table"


class Trainer:
    """Everything that changes while training; what `state_dict` holds is all there is to a run."""

    def __init__(
        self,
        config: Training,
        facts: Facts,
        stream: Stream,
        device: torch.device,
        ranks: Ranks = ALONE,
        kernels: str | None = None,  # of the run that goes on, see `choose_kernels`
    ):
        self.config, self.device, self.ranks = asdict(config), device, ranks
        self.batch, self.seed = config.batch, config.seed
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # Triton launches on the current one, not on its inputs'
        self.slots = ranks.slots(config.batch)
        own = self.slots.stop - self.slots.start
        size = min(config.slots_at_once, own)
        self.parts = [slice(first, min(first + size, own)) for first in range(0, own, size)]
        self.model = make_model(config.model, facts, device)
        self.gradient = make_gradient(config.gradient, config.model.cycle)
        self.depth = make_depth(config.depth, config.model.recursions, self.gradient, config.steps)
        self.supervision = make_supervision(config.supervision)
        self.halting = make_halting(config.halting)
        self.cross_entropy = cross_entropy_of(config.loss)
        compiled = config.compile == "true" or (config.compile == "auto" and device.type == "cuda")
        if compiled:
            keep_what_is_compiled()
        site = Site(size, config.model.prefix + facts.seq_len, device, compiled)
        found = choose_kernels(config.kernels, self.model, site, self.gradient.twice, kernels)
        self.kernels = ranks.shared(found)  # by its clock
        use_kernels(self.kernels, self.model, site.tokens)
        self.optimizers = Optimizers(self.model, config.optim, config.steps)
        self.ema = None if config.ema is None else EMA(self.model, config.ema)
        if compiled:
            for model in {self.model, self.averaged}:
                compile_cores(model)
        # of halting's exploration
        self.generator = torch.Generator(device).manual_seed(config.seed)
        self.feed = Feed(stream, facts, config.batch, device, ranks=ranks)
        self.carry = Carry.fresh(self.model, Batch.of(stream.rows(0, own), facts, device))
        self.meter, self.bad_steps = Meter(ranks), BadSteps(device)
        self.steps, self.seconds = 0, 0.0
        # the evaluation with the highest exact accuracy so far: its step, its accuracy
        self.best: dict | None = None
        self.graph = make_graph(config.graph, self)

    def step(self) -> None:
        """One segment of every slot and one optimizer step. The host waits only where the feed
        fills its window.

        A step whose loss or gradient is not finite moves nothing, and every slot then begins with a
        new puzzle.
        """
        self.feed.ready(self.batch)
        self.optimizers.schedule_next()
        depth = self.drawn_depth()
        if self.graph is None:
            self.advance(depth, self.steps + 1, self.noise)
        else:
            self.graph(depth)
        self.steps += 1

    def advance(self, depth: Depth, step: int | Tensor, noise: Callable[[slice], Noise]) -> None:
        """The device's part of step number `step`: nothing in it waits for a number, or makes one
        that is another at the next step, so that it can be recorded.
        """
        carry = self.carry.refill(self.feed.next(self.carry.halted))
        parts = [
            self.forward_backward(carry.select(rows), depth.of(rows), rows, noise(rows))
            for rows in self.parts
        ]
        state, read, losses = (joined(part) for part in zip(*parts, strict=True))

        finite_loss = torch.isfinite(sum(loss.value for loss in losses.values()).sum())
        counts = self.model.counted()
        finite_loss = self.ranks.exchange(self.optimizers, counts, finite_loss)
        norm = self.optimizers.norm()
        good = finite_loss & torch.isfinite(norm)
        only_if(good, self.moved, lambda: self.move(good))
        self.bad_steps.count(good, step)

        carry = carry.advance(state)
        done = self.halting.done(read, carry.segments, self.generator, self.ranks)
        self.carry = replace(carry, halted=done | ~good)
        one = self.ranks.once(torch.ones_like(norm))
        mean_norm = Metric(self.ranks.once(norm), one)
        self.measure(good, tally(losses, read, self.carry) | {"grad_norm": mean_norm})

    def forward_backward(
        self, carry: Carry, depth: Depth, rows: slice, noise: Noise | None = None
    ) -> tuple[NamedTuple, Read, dict[str, Loss]]:
        """A segment of the slots `rows` forward and backward: their state, last read and losses,
        all detached.
        """
        trace, losses = self.forward(carry, depth, rows, noise)
        (total(losses) / self.batch).backward()
        values = {name: loss._replace(value=loss.value.detach()) for name, loss in losses.items()}
        return detached(trace.state), detached(trace.reads[-1]), values

    def forward(
        self, carry: Carry, depth: Depth, rows: slice = slice(None), noise: Noise | None = None
    ) -> tuple[Trace, dict[str, Loss]]:
        """A segment of the slots `rows`, and its losses; with the `noise` of this step."""
        judges = self.halting, self.supervision, self.cross_entropy
        noise = self.noise(rows) if noise is None else noise
        return judged_segment(self.model, carry, depth, self.gradient, noise, *judges)

    def drawn_depth(self) -> Depth:
        """That of this step: drawn for the slots of all ranks, of which these have theirs."""
        depth = self.depth.draw(self.steps, self.batch, generator_of(self.seed, self.steps))
        depth = depth.of(self.slots)
        live = depth.live
        return depth if live is None else depth._replace(live=live.to(self.device))

    def noise(self, rows: slice) -> StepNoise:
        """The random numbers of this step, for the slots `rows`."""
        own = range(self.batch)[self.slots][rows]
        of_all = slice(own.start, own.stop)
        return StepNoise(self.seed, self.steps, self.batch, of_all, self.device)

    def move(self, good: Tensor) -> None:
        """The optimizers' step, and the average's."""
        self.optimizers.move(good)
        self.model.adjust()
        if self.ema is not None:
            self.ema.update(self.model)
            for own, buffer in zip(self.averaged.adjusted(), self.model.adjusted(), strict=True):
                own.copy_(buffer)

    def moved(self) -> list[Tensor]:
        """Every tensor that `move` changes, except the puzzle table, which checks `good` itself."""
        moved = self.optimizers.moved() + self.model.adjusted()
        if self.ema is None:
            return moved
        return [*moved, *self.averaged.parameters(), *self.averaged.adjusted()]

    def measure(self, good: Tensor, metrics: dict[str, Metric]) -> None:
        """Add up what a step came to; a bad one counts as skipped and as nothing else."""
        kept = {
            name: Metric(*(None if t is None else torch.where(good, t, 0) for t in metric))
            for name, metric in metrics.items()
        }
        self.meter.add(kept | {"skipped": Metric(self.ranks.once((~good).long()))})

    @property
    def averaged(self) -> RecursiveModel:
        """The weights that are evaluated."""
        return self.model if self.ema is None else self.ema.module

    def state_dict(self, carry: bool = True) -> dict:
        """All that a run needs to go on; without the carry it goes on with new puzzles in every
        slot.

        That of several ranks is as if of one: the first has the slots of all of them.
        """
        self.ranks.refuse_unlike("the weights", lambda: checkpoint.digest(self.model))
        return {
            "step": self.steps,
            "seconds": self.seconds,
            "best": self.best,
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.averaged.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "carry": self.saved_carry() if carry else None,
            "meter": self.meter.state_dict(),
            "meters": self.meter.of_each_rank(),
            "bad_in_a_row": self.bad_steps.in_a_row,
            "position": self.feed.position,
            # of halting; the feed's draws are functions of their number
            "generator": self.generator.get_state(),
            # nothing here draws from these; a model that you add may
            "random": checkpoint.random_states(),
            "config": self.config,
            "made_on": self.made_on(),
        }

    def load_state_dict(self, saved: dict) -> list[str]:
        """Go on from `state_dict`. Returns why the run may differ from one that never stopped.

        Raises KeyError, ValueError, RuntimeError or TypeError if `saved` is not of such a model and
        optimizer.
        """
        here, made_on = self.made_on(), earlier.made_on(saved["made_on"])
        changed = [f"{k} {v} is now {here.get(k)}" for k, v in made_on.items() if v != here.get(k)]
        learnt = {field.name for field in fields(Training)}
        before = earlier.options(saved["config"])
        changed += differences({k: v for k, v in before.items() if k in learnt}, self.config)
        if not repeats(self.device):
            changed.append(
                "CUDA kernels are not deterministic; set deterministic=true for bitwise repeats"
            )
        self.model.load_state_dict(saved["model"])
        if self.ema is not None:
            self.averaged.load_state_dict(saved["ema"] or saved["model"])
        self.optimizers.load_state_dict(saved["optimizers"])
        self.feed = Feed(
            self.feed.stream,
            self.feed.facts,
            self.batch,
            self.device,
            saved["position"],
            self.ranks,
        )
        if saved["carry"] is None:
            changed.append("it was saved without its carry, so every slot begins with a new puzzle")
        else:
            self.carry = self.loaded_carry(saved["carry"])
        self.meter.load_state_dict(earlier.meter(saved["meter"]), self.device, saved.get("meters"))
        self.bad_steps.in_a_row = saved["bad_in_a_row"].to(self.device)
        if saved["made_on"]["device"] == here["device"]:
            self.generator.set_state(saved["generator"])
            checkpoint.set_random_states(saved["random"])
        self.steps, self.seconds, self.best = saved["step"], saved["seconds"], saved["best"]
        if self.graph is not None:
            self.graph.forget()  # it was of the tensors before
        return changed

    def made_on(self) -> dict:
        """The machine, and what was chosen on it: what may change the last bits."""
        chosen = {"kernels": self.kernels, "dtype": name_of(self.model.encoder.dtype)}
        return machine_of(self.device) | chosen | {"ranks": self.ranks.world}

    def take_weights(
        self, tensors: dict[str, Tensor], known: list[list] | None, wanted: list[list] | None
    ) -> tuple[list[str], list[str]]:
        """Begin with the `tensors` of another model whose name and shape fit: (taken, begun
        afresh).

        Puzzle embeddings are taken by the names of their tasks: `known` in the other model,
        `wanted` here, see `About.identifiers`.
        """
        own = self.model.state_dict()
        if TABLE in own and TABLE in tensors and known is not None and wanted is not None:
            tensors = tensors | {TABLE: by_name(tensors[TABLE], own[TABLE], known, wanted)}
        taken = {
            name: tensor
            for name, tensor in tensors.items()
            if name in own and tensor.shape == own[name].shape
        }
        for model in (self.model, self.averaged):
            model.load_state_dict(own | taken)
        return sorted(taken), sorted(own.keys() - taken.keys())

    def saved_carry(self) -> dict:
        """The slots of all ranks."""
        now, all_of = self.carry, self.ranks.collected
        fields = now.batch.inputs, now.batch.labels, now.batch.puzzle_ids
        return {
            "state": [all_of(z) for z in now.state],
            "segments": all_of(now.segments),
            "halted": all_of(now.halted),
            "batch": [all_of(field) for field in fields],
        }

    def loaded_carry(self, saved: dict) -> Carry:
        def own(t: Tensor) -> Tensor:
            return self.ranks.own(t).to(self.device)

        if len(saved["halted"]) != self.batch:
            raise ValueError("another batch")
        state, batch = ([own(t) for t in saved[k]] for k in ("state", "batch"))
        segments, halted = own(saved["segments"]), own(saved["halted"])
        if [t.shape for t in state] != [t.shape for t in self.carry.state]:
            raise ValueError("another batch or another number of cells")
        return Carry(type(self.carry.state)(*state), Batch(*batch), segments, halted)

    def result(self) -> dict:
        """What was done, for result.json."""
        on_gpu = self.device.type == "cuda"
        return {
            "steps": self.steps,
            "segments": self.steps * self.batch,
            "puzzles_seen": self.feed.position,
            "seconds": self.seconds,
            "parameters": parameter_count(self.model),
            "device": torch.cuda.get_device_name(self.device)
            if on_gpu
            else f"cpu, {torch.get_num_threads()} threads",
            "ranks": self.ranks.world,
            "peak_memory": peak_memory(self.device),  # of the first of them
            "versions": versions(),
            "sha256": {
                "raw": checkpoint.digest(self.model),
                "ema": checkpoint.digest(self.averaged),
            },
        }


def by_name(table: Tensor, fresh: Tensor, known: list[list], wanted: list[list]) -> Tensor:
    """The rows of `fresh`, but for tasks that the other `table` has with the same copies."""
    rows = torch.from_numpy(rows_by_name(known, wanted)).to(fresh.device)
    if len(rows) != len(fresh) or table.shape[1] != fresh.shape[1]:
        return fresh
    return torch.where((rows >= 0)[:, None], table.to(fresh.device)[rows.clamp(min=0)], fresh)


def joined(parts: tuple) -> tuple | dict[str, Loss]:
    """The outcomes of the micro-batches, as if of one batch: NamedTuples of tensors (B ...), or
    losses by name.
    """
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        return {
            name: loss._replace(value=torch.cat([part[name].value for part in parts]))
            for name, loss in parts[0].items()
        }
    columns = zip(*parts, strict=True)
    return type(parts[0])(*(None if c[0] is None else torch.cat(c) for c in columns))


def differences(saved: dict, now: dict, prefix: str = "") -> list[str]:
    """The options that have another value now; those that only one of the two knows are of another
    version, and what `auto` came to is in what the run was made on.
    """
    found = []
    for key in saved.keys() & now.keys() - {"recompute"}:  # which gives the same bits
        if isinstance(saved[key], dict):
            found += differences(saved[key], now[key], f"{prefix}{key}.")
        elif saved[key] != now[key] and "auto" not in (saved[key], now[key]):
            found.append(f"{prefix}{key} {saved[key]} is now {now[key]}")
    return sorted(found)
