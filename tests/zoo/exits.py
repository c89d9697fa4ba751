"""Recordings of Huginn's exits: the value of each criterion on a scripted trajectory, and where it
is met. What was read as a language model does, off the last cell, is read off our values.
"""

import torch
from torch import Tensor

from tests.zoo.recording import Recording, absolute
from tinyreason.exits import EXITS, Exit
from tinyreason.models.base import Read

NAMES = {
    "entropy-diff": "entropy",
    "latent-diff": "latent",
    "kl": "kl",
    "minp-kl": "minp_kl",
    "argmax-stability": "stability",
    "cosine": "cosine",
}
OF_LATENTS = ("latent-diff", "cosine")  # these are averaged over the cells


def differences(recording: Recording) -> dict[str, float]:
    states, decisions = [], []
    for theirs, name in NAMES.items():
        exit = EXITS[name](None, "mean")
        assert exit.limit == recording.config["threshold"][theirs], name
        values = values_of(recording, exit)
        last = values.mean(-1) if theirs in OF_LATENTS else values[..., -1]
        for reading, value in (("cells", values), ("last", last)):
            of = f"{theirs}/{reading}/"
            # an entropy that was never seen counts 100, at which float32 has fewer places
            scale = max(1.0, value.abs().max().item()) if name == "entropy" else 1.0
            states.append(absolute(value, recording.tensor(f"{of}value")) / scale)
            decisions.append(absolute(exit.done(value), recording.tensor(f"{of}exit")))
    return {"states": max(states), "decisions": max(decisions)}


def values_of(recording: Recording, exit: Exit) -> Tensor:
    """(steps B S)."""
    latents, logits = recording.tensor("latents"), recording.tensor("logits")
    memory, found = exit.begin(latents[0], logits.shape[-1]), []
    for z, one in zip(latents[1:], logits[1:], strict=True):
        value, memory = exit.look(memory, z, Read(one, torch.zeros(len(z), 2)))
        found.append(value)
    return torch.stack(found)
