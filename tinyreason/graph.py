"""A whole training step recorded once and replayed: a CUDA graph.

A recording repeats its kernels on the same memory, with the numbers that the host had then. So what
a step replaces (carry, counts, sums, the window of coming puzzles) lies in tensors of its own,
which the recorded step reads and, at its end, writes; and what the host changes from step to step
(learning rates, the step's number) is written into tensors before each replay. The step itself is
the trainer's own `advance`, and does not know.

Only steps that are all alike can be recorded. A new depth is recorded anew; where depths or states
are drawn at random, or an optimizer rounds its learning rate, steps run as ever, and one line says
so.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tinyreason.errors import UserError
from tinyreason.held import Tensors, put, replaced
from tinyreason.noise import NoNoise
from tinyreason.recursion import Depth
from tinyreason.run.console import say
from tinyreason.run.deterministic import repeats

if TYPE_CHECKING:
    from tinyreason.trainer import Trainer

GRAPH = ("auto", "true", "false")
WARM_UP = 3  # steps before one is recorded, in which kernels are compiled and states are made
REPEATS = 3  # of either way, to time it
TOLERANCE = 1e-2  # of a replay's weights, moments and states, relative to the step's
# what says yes or no to numbers of floating point, whose last bits may decide
LEAVING = ("exact", "cells", "halt_right", "segments", "puzzles")
DECIDED = {"halted", *(f"{part} {name}" for part in ("total", "count") for name in LEAVING)}
Step = Callable[[], None]


class CannotRecord(Exception):
    """This step is not like the next one."""


class NoDraws(NoNoise):
    """For a step that is recorded."""

    def normal(self, like: Tensor) -> Tensor:
        raise CannotRecord("the model draws random numbers")


class Recorder:
    """Of CUDA graphs."""

    def __init__(self, device: torch.device, generator: torch.Generator):
        self.device, self.generator = device, generator
        self.stream = torch.cuda.Stream(device)

    def run(self, step: Step) -> None:
        """As it is, on the stream that will record it: gradients remember their stream."""
        now = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            step()
        now.wait_stream(self.stream)

    def record(self, step: Step) -> Step:
        """What repeats `step`, which does not run now."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        # other threads, as a tracker's, may use CUDA meanwhile
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            step()
        return graph.replay

    def wait(self) -> None:
        torch.cuda.synchronize(self.device)


class StepGraph:
    """A trainer's steps, replayed where they can be."""

    def __init__(self, trainer: "Trainer", recorder: Recorder, timed: bool):
        self.trainer, self.recorder, self.timed = trainer, recorder, timed
        self.off = False  # for good
        self.number = torch.zeros((), dtype=torch.int64, device=trainer.device)
        trainer.optimizers.keep_rates_on(trainer.device)
        self.forget()

    def forget(self) -> None:
        """Record anew: a tensor of the trainer is another now."""
        self.depth: Depth | None = None
        self.warm = 0
        self.replay: Step | None = None
        self.held: Tensors = {}

    def __call__(self, depth: Depth) -> None:
        """The device's part of the trainer's step."""
        trainer = self.trainer
        self.number.fill_(trainer.steps + 1)
        if depth != self.depth:
            self.forget()
            self.depth = depth
        if not self.off and self.warm == WARM_UP:
            self.take_over()
            self.replay = self.replay or self.recorded()
            self.off = self.replay is None
        if self.replay is not None:
            self.replay()
            return
        self.recorder.run(lambda: trainer.advance(depth, trainer.steps + 1, trainer.noise))
        self.warm += 1
        if self.warm == WARM_UP:
            self.held = {name: t.clone() for name, t in replaced(trainer).items()}

    def take_over(self) -> None:
        """Let what others have put into the trainer since lie where the recording looks for it."""
        now = replaced(self.trainer)
        for name, held in self.held.items():
            if name not in now:  # a sum that was read, and begins anew
                held.zero_()
            elif now[name] is not held:
                held.copy_(now[name])
        put(self.trainer, self.held)

    def static_step(self) -> None:
        """The step, from the held tensors to the held tensors.

        No new tensor shares memory with a held one that is written before it: all are results.
        """
        self.trainer.advance(self.depth, self.number, lambda rows: NoDraws())
        for name, new in replaced(self.trainer).items():
            if new is not self.held[name]:
                self.held[name].copy_(new)
        put(self.trainer, self.held)

    def recorded(self) -> Step | None:
        """The recording, if it can be made, does what the step does, and is faster (if that
        matters).

        Both are tried on this very step, and everything is then as before.
        """
        before = self.snapshot()

        def tried(step: Step) -> tuple[Tensors, float]:
            seconds = []
            for _ in range(REPEATS if self.timed else 1):
                self.restore(before)
                self.recorder.wait()
                start = time.perf_counter()
                step()
                self.recorder.wait()
                seconds.append(time.perf_counter() - start)
            return self.snapshot(), min(seconds)

        try:
            expected, slow = tried(lambda: self.recorder.run(self.static_step))
            self.restore(before)
            replay = self.recorder.record(self.static_step)
            found, fast = tried(replay)
            wrong = not alike(found, expected, repeats(self.trainer.device))
        except (CannotRecord, RuntimeError) as error:  # torch.OutOfMemoryError is one
            say(f"graph: steps are not recorded, {str(error).strip().splitlines()[0][:150]}")
            replay = None
        else:
            replay = self.judged(replay, wrong, slow, fast)
        self.drop_gradients()
        put(self.trainer, self.held)
        self.restore(before)
        return replay

    def judged(self, replay: Step, wrong: bool, slow: float, fast: float) -> Step | None:
        """The replay, or None; and a line."""
        if wrong:
            say("graph: steps are not recorded, a replay did not do what the step does")
            return None
        if self.timed:
            taken = "replayed" if fast < slow else "not recorded"
            times = f"{1000 * fast:.1f} ms a step replayed, {1000 * slow:.1f} ms as it is"
            say(f"graph: steps are {taken}, {times}")
            return replay if fast < slow else None
        say("graph: steps are replayed")
        return replay

    def tensors(self) -> Tensors:
        """All that a step changes, by name."""
        own = [*self.trainer.moved(), *self.trainer.model.buffers()]
        return {f"own {i}": t for i, t in enumerate(own)} | self.held

    def snapshot(self) -> Tensors:
        tensors = {name: t.detach().clone() for name, t in self.tensors().items()}
        return tensors | {"generator": self.trainer.generator.get_state()}

    @torch.no_grad()
    def restore(self, before: Tensors) -> None:
        for name, own in self.tensors().items():
            own.copy_(before[name])
        self.trainer.generator.set_state(before["generator"])

    def drop_gradients(self) -> None:
        """Those of a step that was broken off."""
        for optimizer in self.trainer.optimizers.optimizers:
            optimizer.zero_grad(set_to_none=True)
        for embedding in self.trainer.optimizers.embeddings:
            embedding.used = []


def make_graph(word: str, trainer: "Trainer") -> StepGraph | None:
    """That of `graph=word`; None: steps run as they are. Raises UserError without CUDA."""
    device = trainer.device
    if word == "true" and device.type != "cuda":
        raise UserError("graph=true is for CUDA; use graph=auto")
    if word == "false" or device.type != "cuda":
        return None
    if reason := different(trainer):
        say(f"graph: steps are not recorded, {reason}")
        return None
    return StepGraph(trainer, Recorder(device, trainer.generator), timed=word == "auto")


def different(trainer: "Trainer") -> str | None:
    """Why a trainer's steps are not all alike."""
    if trainer.ranks.world > 1:
        return "several ranks are not tried together"
    if trainer.depth.drawn:
        return "each has a depth of its own"
    if trainer.model.config.drops_cells:
        return "the shapes of the model depend on numbers"
    if not trainer.optimizers.recordable:
        return "torch's AdamW rounds a learning rate that lies on the device"
    return None


def alike(found: Tensors, expected: Tensors, exact: bool) -> bool:
    """Bit for bit if `exact`; else numbers of floating point are near, what they decide is free."""
    return found.keys() == expected.keys() and all(
        same_bits(found[name], b) or (not exact and (name in DECIDED or near(found[name], b)))
        for name, b in expected.items()
    )


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(*(t.contiguous().flatten().view(torch.uint8) for t in (a, b)))


def near(a: Tensor, b: Tensor) -> bool:
    """Up to kernels that add in another order: numbers of floating point alone."""
    if not b.is_floating_point():
        return False
    a, b = (t.double().nan_to_num() for t in (a, b))
    return bool((a - b).norm() <= TOLERANCE * b.norm())
