"""Recordings of TRM's relatives, URM and EqR: some segments with the carry between them, each from
its recorded start.
"""

import torch
from torch import Tensor

from tests import tiny
from tests.zoo.recording import Recording, absolute, gradient_difference, relative, renamed
from tinyreason.halting import HaltingConfig, make_halting
from tinyreason.losses import stablemax, total
from tinyreason.metrics import tally
from tinyreason.models import RecursiveModel
from tinyreason.models.base import LoopState, State
from tinyreason.noise import Noise, NoNoise
from tinyreason.objective import objective
from tinyreason.puzzle import Batch, Facts
from tinyreason.recursion import Depth
from tinyreason.segment import Carry, segment
from tinyreason.supervision import SupervisionConfig, make_supervision

NAMES = [
    ("embed_tokens.embedding_weight", "encoder.tokens"),
    ("puzzle_emb.weights", "encoder.puzzles.table"),
    ("init_hidden", "start_z"),
    ("lm_head", "heads.answer"),
    ("q_head", "heads.halt"),
    ("L_level.layers.", "core.blocks."),
    ("layers.", "core.blocks."),
    ("self_attn.qkv_proj", "mix.qkv"),
    ("self_attn.o_proj", "mix.out"),
    ("mlp_t.gate_up_proj", "mix.mlp.gate_up"),
    ("mlp_t.down_proj", "mix.mlp.down"),
    ("mlp.gate_up_proj", "mlp.gate_up"),
    ("mlp.dwconv", "mlp.conv"),
    ("mlp.down_proj", "mlp.down"),
]


class Recorded(Noise):
    """The random numbers of one segment, in the order in which they were drawn."""

    def __init__(self, numbers: Tensor, L_cycles: int):
        self.numbers, self.L_cycles = numbers, L_cycles

    def at(self, t: int) -> "Recorded":
        """A cycle of L recursions draws L + 1 times."""
        return Recorded(self.numbers[t + t // self.L_cycles :], self.L_cycles)

    def normal(self, like: Tensor) -> Tensor:
        first, self.numbers = self.numbers[0], self.numbers[1:]
        return first


def differences(recording: Recording) -> dict[str, float]:
    sizes = recording.config
    name = "eqr" if "eqr" in sizes["reference"].lower() else "urm"
    weights = {renamed(NAMES, k): w for k, w in recording.under("weight/").items()}
    model = model_of(recording, name, weights)
    count = sum(key.endswith("/loss") for key in recording.data)
    found = [of_segment(recording, model, number) for number in range(count)]
    return {key: max(one[key] for one in found) for key in found[0]}


def model_of(recording: Recording, name: str, weights: dict[str, Tensor]) -> RecursiveModel:
    """Ours, with the recorded weights."""
    sizes = recording.config
    own = {"damping": sizes["lambda_"], "noise": sizes["noise_scale"]} if name == "eqr" else {}
    own |= {"kernel": sizes["conv_kernel"]} if name == "urm" else {}
    with_table = "encoder.puzzles.table" in weights
    mixer = sizes.get("mlp_t", False)
    config = recording.model_config(
        name,
        mix="mixer" if mixer else "attention",
        positions="none" if mixer else "rotary",
        layers=sizes["layers"],
        H_cycles=sizes["H_cycles"],
        L_cycles=sizes["L_cycles"],
        prefix=int(with_table),
        puzzle_embedding=with_table,
        # every inner width is the same: the first multiple of it
        expansion=0.1,
        inner_multiple=sizes["inner"],
        **own,
    )
    identifiers = len(weights["encoder.puzzles.table"]) if with_table else 1
    facts = Facts(sizes["vocab"], (1, sizes["seq"]), num_puzzle_identifiers=identifiers)
    return recording.model(config, weights, facts)


def of_segment(recording: Recording, model: RecursiveModel, number: int) -> dict[str, float]:
    """Largest differences of one segment."""
    of, config = f"seg{number}/", model.config
    carry, noise = begun(recording, model, number)
    model.zero_grad()
    depth = Depth(config.recursions, config.L_cycles)
    trace = segment(model, carry, depth, tiny.FULL, noise)
    read, carry = trace.reads[-1], carry.advance(trace.state)
    halting = make_halting(HaltingConfig("correctness", recording_segments(recording), 0.0, 0.5))
    carry.halted = halting.done(read, carry.segments, torch.Generator())
    losses = objective(
        trace, carry, halting, make_supervision(SupervisionConfig("last")), stablemax
    )
    total(losses).backward()
    sums = tally(losses, read, carry)
    gradients = {k: p.grad for k, p in model.named_parameters()}
    states = [
        absolute(getattr(trace.state, latent), recording.tensor(of + theirs))
        for latent, theirs in latents_of(model)
    ]
    named = {"loss": "loss", "lm_loss": "answer_loss", "q_halt_loss": "q_halt_loss"}
    return {
        "states": max(states),
        "logits": max(
            absolute(read.logits, recording.tensor(of + "logits")),
            absolute(read.halt[:, 0], recording.tensor(of + "q_halt")),
        ),
        "losses": max(
            relative(sums[mine].total, recording.tensor(of + theirs))
            for theirs, mine in named.items()
        ),
        "gradients": gradient_difference(recording, of, lambda k: gradients[renamed(NAMES, k)]),
        "decisions": max(
            absolute(carry.segments, recording.tensor(of + "steps")),
            absolute(carry.halted, recording.tensor(of + "halted")),
        ),
    }


def recording_segments(recording: Recording) -> int:
    """Most that a puzzle stays."""
    return recording.config.get("halt_max_steps", recording.config.get("loops"))


def latents_of(model: RecursiveModel) -> list[tuple[str, str]]:
    """Ours, and what the recording calls it."""
    if model.config.name == "eqr":
        return [("z_H", "z_H"), ("z_L", "z_L")]
    return [("z", "state")]


def begun(recording: Recording, model: RecursiveModel, number: int) -> tuple[Carry, Noise]:
    """The carry as segment `number` found it, and its random numbers."""
    inputs, labels = recording.tensor("input/inputs"), recording.tensor("input/labels")
    identifiers = recording.under("input/").get("puzzle_identifiers")
    if identifiers is None:
        identifiers = torch.zeros(len(inputs), dtype=torch.int32)
    batch, of = Batch(inputs, labels, identifiers), f"seg{number}/"
    drawn = recording.under(of + "draw/")
    carry = Carry.fresh(model, batch)
    if number:
        before = f"seg{number - 1}/"
        latents = [recording.tensor(before + theirs) for _, theirs in latents_of(model)]
        state = (State if len(latents) > 1 else LoopState)(*latents)
        steps = recording.tensor(before + "steps")
        carry = Carry(state, batch, steps, recording.tensor(before + "halted"))
    carry = carry.refill(batch)
    if not drawn:
        return carry, NoNoise()
    # the state after the reset was recorded, whether a row was reset or not
    state = State(drawn["start_z_H"], drawn["start_z_L"])
    noise = Started(drawn["noise"], model.config.L_cycles, state)
    return Carry(state, carry.batch, carry.segments, carry.halted), noise


class Started(Recorded):
    """The same, and the state at which rows begin."""

    def __init__(self, numbers: Tensor, L_cycles: int, start: State):
        super().__init__(numbers, L_cycles)
        self.starts = list(start)

    def truncated_normal(self, like: Tensor, std: float, cut: float) -> Tensor:
        return self.starts.pop(0)
