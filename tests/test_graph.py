"""A recorded step does what the step does. On a CPU a recording is a tape of PyTorch's operators,
each with the tensors and the numbers that it had, as CUDA's is one of kernels; `-k cuda` replays a
real one.
"""

from collections.abc import Callable
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from eval.speed import random_trainer
from tests import tiny
from tests.marks import hostile
from tinyreason import graph
from tinyreason.errors import UserError
from tinyreason.graph import WARM_UP, StepGraph, alike, make_graph
from tinyreason.held import replaced
from tinyreason.run import checkpoint
from tinyreason.run.deterministic import deterministic
from tinyreason.trainer import Trainer

SMALL = ("task=sudoku", "scale=small", "task.side=4", "batch=6", "model.width=16", "model.heads=2")
SMALL += ("optim.warmup=20", "steps=100", "compile=false", "graph=false", "halting.segments=3")
SMALL += ("model.layers=1",)
PUZZLES = ("model.prefix=1", "model.puzzle_embedding=true")
BAD_STEP = 31
MODELS = {
    "trm": ("model=trm", *PUZZLES),
    "hrm": ("model=hrm", "optim.clip=1"),
    "mixer in parts": ("model=trm", "model.mix=mixer", "micro_batch=4", "ema=null", "optim=muon"),
}


class Tape(TorchDispatchMode):
    """Keeps every operator with what it was given, and what it gave."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, given))
        return given

    @torch.no_grad()
    def replay(self) -> None:
        """Every operator again, from the same memory into the same memory."""
        for function, args, kwargs, given in self.calls:
            pairs = zip(tensors_of(given), tensors_of(function(*args, **kwargs)), strict=True)
            for place, new in pairs:
                if place.data_ptr() != new.data_ptr():  # not a view, nor in place
                    place.copy_(new)


def tensors_of(given) -> list[torch.Tensor]:
    found = given if isinstance(given, list | tuple) else [given]
    return [t for t in found if torch.is_tensor(t)]


def taped(step: Callable[[], None]) -> Callable[[], None]:
    with Tape() as tape:
        step()  # which is taken back, as all that is tried
    return tape.replay


class OnCPU:
    """In place of CUDA's recorder."""

    def __init__(self, recording: Callable = taped):
        self.recording, self.recorded = recording, 0

    def run(self, step):
        step()

    def record(self, step):
        self.recorded += 1
        return self.recording(step)

    def wait(self):
        pass


class Poison:
    """A cross-entropy times a tensor, by which a step is spoilt without another call."""

    def __init__(self, trainer: Trainer):
        self.honest, self.factor = trainer.cross_entropy, torch.ones((), device=trainer.device)
        trainer.cross_entropy = lambda *given: self.honest(*given) * self.factor

    def at(self, step: int) -> None:
        self.factor.fill_(float("nan") if step == BAD_STEP else 1.0)


def trainer_of(*words: str) -> tuple[Trainer, Poison]:
    torch.manual_seed(0)
    trainer = random_trainer(tiny.config(*SMALL, *words))
    return trainer, Poison(trainer)


def static(trainer: Trainer, recorder: OnCPU, timed: bool = False) -> StepGraph:
    trainer.graph = StepGraph(trainer, recorder, timed)
    return trainer.graph


def assert_same(one: Trainer, other: Trainer) -> None:
    a, b = (checkpoint_of(trainer) for trainer in (one, other))
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert torch.equal(a[name], b[name]), name
    assert one.optimizers.lr == other.optimizers.lr
    assert (one.feed.start, one.feed.sure) == (other.feed.start, other.feed.sure)
    assert one.bad_steps.lost() == other.bad_steps.lost()


def checkpoint_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """All that a run goes on from, but for the window, which its position decides."""
    found = {f"moved {i}": t for i, t in enumerate(trainer.moved())}
    found |= {f"table {i}": e.table for i, e in enumerate(trainer.optimizers.embeddings)}
    found |= replaced(trainer) | {"generator": trainer.generator.get_state()}
    return {name: t.detach().clone() for name, t in found.items()}


def side_by_side(plain: Trainer, replayed: Trainer, spoil: Callable[[int], None]) -> None:
    """50 steps and 50 replays: rates that warm up, a bad step, the window filled again, sums that
    are read in between.
    """
    for step in range(1, 51 + WARM_UP):
        spoil(step)
        plain.step(), replayed.step()
        if step % 7 == 0:  # a look at the loss, which begins the sums anew
            assert plain.meter.read() == replayed.meter.read()
        elif step % 3 == 0 or step > 50:
            assert_same(plain, replayed)
    assert plain.feed.start > 0
    assert bool(plain.bad_steps.most)


@pytest.mark.parametrize("name", ["trm", hostile("hrm"), hostile("mixer in parts")])
def test_50_replays_of_a_tape_are_50_steps_bit_for_bit(name):
    (plain, one), (replayed, other) = trainer_of(*MODELS[name]), trainer_of(*MODELS[name])
    recorder = OnCPU()
    static(replayed, recorder)
    side_by_side(plain, replayed, lambda step: (one.at(step), other.at(step)))
    assert recorder.recorded == 1


class Strict(TorchDispatchMode):
    """Raises where the host would wait for a number or send one, and keeps those that it used."""

    WAITS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "lift_fresh")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().split("::")[1].split(".")[0]
        if name in self.WAITS:
            raise AssertionError(f"{function.name()} in a recorded step")
        given = [
            a if isinstance(a, list | tuple) else [a] for a in (*args, *(kwargs or {}).values())
        ]
        numbers = [a for some in given for a in some if isinstance(a, int | float | bool)]
        self.seen.append((function.name(), numbers))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["trm", hostile("hrm"), hostile("mixer in parts")])
def test_nothing_in_a_recorded_step_is_a_number_of_the_host_that_changes(name):
    trainer, _ = trainer_of(*MODELS[name])
    seen = []

    def watched(step):
        def replay():
            with Strict() as strict:
                step()
            seen.append(strict.seen)

        return replay

    static(trainer, OnCPU(watched))
    tiny.steps(trainer, 12)
    assert len(seen) > 8
    assert len(seen[0]) > 500
    assert all(one == seen[0] for one in seen)


def test_the_watch_sees_a_number_that_the_host_takes_or_changes():
    x = torch.ones(3)
    for wait in (lambda: x.sum().item(), lambda: x.nonzero(), lambda: torch.tensor(2.0)):
        with pytest.raises(AssertionError, match="in a recorded step"), Strict():
            wait()
    runs = []
    for number in (1.0, 2.0):
        with Strict() as strict:
            torch._foreach_div([x], [number])
        runs.append(strict.seen)
    assert runs[0] != runs[1]


def test_a_run_is_saved_and_resumed_among_replays_bit_for_bit():
    (whole, _), (half, _), (later, _) = (trainer_of(*MODELS["trm"]) for _ in range(3))
    tiny.steps(whole, 14)
    static(half, OnCPU())
    tiny.steps(half, 8)
    saved = half.state_dict()
    recorder = OnCPU()
    static(later, recorder)
    tiny.steps(later, 6)  # a recording of other tensors
    later.load_state_dict(saved)
    tiny.steps(later, 6)
    assert recorder.recorded == 2
    assert checkpoint.digest(whole.model) == checkpoint.digest(later.model)
    assert checkpoint.digest(whole.averaged) == checkpoint.digest(later.averaged)


@pytest.mark.hostile
def test_a_new_depth_is_recorded_anew():
    words = ("model=trm", "depth=stages", "depth.begins=[0,0.1]", "depth.shares=[0.5,1]")
    (plain, _), (replayed, _) = trainer_of(*words), trainer_of(*words)
    recorder = OnCPU()
    static(replayed, recorder)
    for _ in range(20):
        plain.step(), replayed.step()
        assert_same(plain, replayed)
    assert recorder.recorded == 2


def broken_capture(step):
    step()  # half of it has happened
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def taken_from_the_wrong_place(trainer: Trainer, name: str) -> Callable:
    def wrapped(step):
        def replay():
            step()
            trainer.graph.held[name].add_(1)

        return replay

    return wrapped


INTEGERS = ("taken", "segments", "batch labels", "batch inputs", "batch puzzle_ids", "bad most")
INTEGERS += ("total skipped", "count loss")


@pytest.mark.parametrize("name", [INTEGERS[0], *(hostile(n) for n in INTEGERS[1:])])
def test_a_replay_that_takes_other_puzzles_or_counts_is_found_wrong(name, capsys, monkeypatch):
    monkeypatch.setattr(graph, "repeats", lambda device: False)
    trainer, _ = trainer_of(*MODELS["trm"])
    static(trainer, OnCPU(taken_from_the_wrong_place(trainer, name)))
    tiny.steps(trainer, WARM_UP + 1)
    assert "did not do what the step does" in capsys.readouterr().out
    assert trainer.graph.replay is None


def snapshot_of(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    known = {"own 0": torch.ones(100), "halted": torch.tensor([True, False])}
    known |= {"segments": torch.tensor([1, 2]), "total exact": torch.tensor(7)}
    known |= {
        "generator": torch.zeros(8, dtype=torch.uint8),
        "state 0": torch.full((2,), torch.nan),
    }
    return known | {name.replace("_", " "): t for name, t in changes.items()}


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({}, True),
        ({"own_0": torch.ones(100) + 1e-4}, True),
        ({"own_0": torch.ones(100) + 1e-1}, False),
        ({"halted": torch.tensor([True, True])}, True),
        ({"total_exact": torch.tensor(8)}, True),
        ({"segments": torch.tensor([1, 3])}, False),
        ({"generator": torch.ones(8, dtype=torch.uint8)}, False),
    ],
)
def test_only_last_bits_and_what_they_decide_may_differ_and_nothing_if_steps_repeat(changes, near):
    assert alike(snapshot_of(**changes), snapshot_of(), exact=False) == near
    assert alike(snapshot_of(**changes), snapshot_of(), exact=True) == (not changes)


def wrong_replay(trainer: Trainer) -> Callable:
    def wrapped(step):
        def replay():
            step()
            trainer.model.heads.answer.weight.data.mul_(1.5)

        return replay

    return wrapped


@pytest.mark.parametrize("how", ["broken", "wrong", "slow", hostile("draws")])
def test_a_step_that_cannot_be_recorded_runs_as_it_is_and_one_line_says_so(
    how, capsys, monkeypatch
):
    draws = ("model=huginn", "depth=fixed", "optim=adam_atan2", "model.recursions=2")
    words = draws if how == "draws" else MODELS["trm"]
    (plain, _), (replayed, _) = trainer_of(*words), trainer_of(*words)
    wrapped = {"broken": broken_capture, "wrong": wrong_replay(replayed)}
    static(replayed, OnCPU(wrapped.get(how, taped)), timed=how == "slow")
    if how == "slow":
        clock = iter([0.0, 1.0] * graph.REPEATS + [0.0, 2.0] * graph.REPEATS)
        monkeypatch.setattr(graph.time, "perf_counter", lambda: next(clock))
    for _ in range(WARM_UP + 3):
        plain.step(), replayed.step()
        assert_same(plain, replayed)
    said = capsys.readouterr().out
    told = {"broken": "not permitted", "wrong": "did not do", "slow": "2000.0 ms", "draws": "draws"}
    assert said.count("graph: ") == said.count("\n") == 1
    assert told[how] in said
    assert "not recorded" in said


@contextmanager
def pretended_cuda(trainer: Trainer):
    trainer.device = torch.device("cuda")
    yield
    trainer.device = tiny.CPU


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("model=trm", "depth=poisson"), "depth of its own"),
        (("model=trm", "optim.rule=adamw"), "rounds a learning rate"),
        (("model=mixture_token", "depth=fixed"), "depend on numbers"),
    ],
)
def test_steps_that_differ_are_not_recorded_and_one_line_says_so(words, told, capsys):
    trainer, _ = trainer_of(*words)
    with pretended_cuda(trainer):
        assert make_graph("auto", trainer) is None
        said = capsys.readouterr().out
        assert told in said
        assert said.count("\n") == 1
        assert make_graph("false", trainer) is None
    assert capsys.readouterr().out == ""


def test_without_cuda_auto_is_false_and_true_is_refused():
    trainer, _ = trainer_of("model=trm")
    assert make_graph("auto", trainer) is None
    with pytest.raises(UserError, match="use graph=auto"):
        make_graph("true", trainer)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("name", MODELS)
def test_50_replays_on_cuda_are_50_steps(name):
    words = (*MODELS[name], "device=cuda", "kernels=plain")
    with deterministic(True):
        (plain, one), (replayed, other) = trainer_of(*words), trainer_of(*words)
        replayed.graph = make_graph("true", replayed)
        side_by_side(plain, replayed, lambda step: (one.at(step), other.at(step)))
    assert replayed.graph.replay is not None
