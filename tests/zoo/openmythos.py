"""Recordings of OpenMythos' loop, some loops beyond those that have scales of their own.

The reference stops where all cells have halted; ours goes on, and nothing that is read may change.
"""

import torch
from torch import Tensor

from tests.zoo.recording import Recording, absolute, gradient_difference, relative
from tinyreason.act import sinusoids
from tinyreason.models import RecursiveModel
from tinyreason.models.openmythos import Settling

NAMES = {
    "block.attn_norm": "core.blocks.0.around_mix.before",
    "block.ffn_norm": "core.blocks.0.around_mlp.before",
    "block.attn.wo": "core.blocks.0.mix.out",
    "block.ffn.down": "core.blocks.0.mlp.down",
    "injection.log_A": "log_A",
    "injection.log_dt": "log_dt",
    "injection.B": "fed",
    "act.halt": "leave",
    "lora.B": "up",
    "lora.down": "down",
    "lora.scale.weight": "scale",
}
STACKED = {  # matrices that are one of ours together, in order
    "block.attn.wq": ("core.blocks.0.mix.qkv", 0, 3),
    "block.attn.wk": ("core.blocks.0.mix.qkv", 1, 3),
    "block.attn.wv": ("core.blocks.0.mix.qkv", 2, 3),
    "block.ffn.gate": ("core.blocks.0.mlp.gate_up", 0, 2),
    "block.ffn.up": ("core.blocks.0.mlp.gate_up", 1, 2),
}


def differences(recording: Recording) -> dict[str, float]:
    sizes = recording.config
    model = model_of(recording)
    h, x = (recording.tensor(f"input/{name}").requires_grad_() for name in ("h", "e"))
    state = Settling(torch.zeros_like(h), h, torch.zeros(h.shape[:2]))
    blocks, states, leaving = [], [], []
    for t in range(sizes["loops_run"]):
        blocks.append(model.block(state.h, x, t))
        state = model.recur(state, x, t)
        states.append(state.h)
        leaving.append(model.leaving(state.h))
    loss = (recording.tensor("input/probe") * state.out).sum()
    loss.backward()
    fed = {"h": h.grad, "e": x.grad}
    return {
        "states": max(
            begun(states, recording.tensor("out/states")),
            begun(blocks, recording.tensor("out/block_out")),
            begun(leaving, recording.tensor("out/p")),
            absolute(state.out, recording.tensor("out/out")),
            absolute(model.decay(), recording.tensor("out/decay")),
            begun(numbers(model, sizes["loops_run"]), recording.tensor("loop_embedding")),
        ),
        "losses": relative(loss, recording.tensor("out/loss")),
        "gradients": gradient_difference(
            recording, "", lambda name: fed[name] if name in fed else gradient_of(model, name)
        ),
    }


def begun(mine: list[Tensor], theirs: Tensor) -> float:
    """The difference in as many loops as the reference ran."""
    return absolute(torch.stack(mine[: len(theirs)]), theirs)


def numbers(model: RecursiveModel, loops: int) -> list[Tensor]:
    """(D,) each: what is added to the state in each loop."""
    channels = model.config.numbered
    rows = sinusoids(torch.arange(loops), channels)
    return list(torch.nn.functional.pad(rows, (0, model.config.width - channels)))


def model_of(recording: Recording) -> RecursiveModel:
    recording.config = recording.config | {"vocab": 2}
    sizes = recording.config
    config = recording.model_config(
        "openmythos",
        layers=1,
        recursions=sizes["loops"],
        rank=sizes["rank"],
        threshold=sizes["act_threshold"],
    )
    model = recording.model(config, {})
    filled = set()
    for theirs, weight in recording.under("weight/").items():
        mine, part, count = place(theirs)
        with torch.no_grad():
            model.get_parameter(mine).chunk(count)[part].copy_(weight)
        filled.add(mine)
    missing = {name for name, _ in model.named_parameters()} - filled
    assert all(name.startswith(("heads.", "encoder.")) for name in missing), missing
    return model


def place(theirs: str) -> tuple[str, int, int]:
    """Our parameter, the part of it that the reference has, and of how many."""
    for name, (mine, part, count) in STACKED.items():
        if theirs == f"{name}.weight":
            return f"{mine}.weight", part, count
    for name, mine in NAMES.items():
        theirs = theirs.replace(name, mine)
    return theirs, 0, 1


def gradient_of(model: RecursiveModel, theirs: str) -> Tensor:
    mine, part, count = place(theirs)
    return model.get_parameter(mine).grad.chunk(count)[part]
