"""Recordings of the conversion of an untied net: maps, shared weights, low ranks."""

import torch
from torch import Tensor

from tests.zoo.recording import Recording, absolute
from tinyreason.conversion import INITS, low_rank, merged, shared_layer, sources


def differences(recording: Recording) -> dict[str, float]:
    maps = recording.config["maps"]
    wrong = [wrong_map(recording, name, theirs) for name, theirs in maps.items()]
    return {
        "states": max(converted(recording), lora(recording)),
        "decisions": max(wrong),
    }


def sizes(recording: Recording) -> tuple[int, int]:
    return recording.config["layers"], recording.config["recursions"]


def wrong_map(recording: Recording, name: str, theirs: list[int]) -> float:
    """How many layers use another: the first that shares, or the one that is copied."""
    n, K = sizes(recording)
    sharing, _, init = name.partition("/")
    shared = shared_layer(sharing, n, K)
    mine = [shared.index(own) for own in shared]
    if init:
        made = sources(sharing, init, n, K)
        mine = [made[own][0] for own in shared]
    return float(sum(a != b for a, b in zip(mine, theirs, strict=True)))


def converted(recording: Recording) -> float:
    """What each layer uses afterwards."""
    found = []
    n, K = sizes(recording)
    for key, theirs in recording.under("converted/").items():
        sharing, init, tensor = key.split("/")
        found.append(absolute(used(recording, sharing, init, tensor, n, K), theirs))
    return max(found)


def used(recording: Recording, sharing: str, init: str, tensor: str, n: int, K: int) -> Tensor:
    layer, name = tensor.split(".", 1)
    own = shared_layer(sharing, n, K)[int(layer)]
    group = sources(sharing, init, n, K)[own]
    return merged([recording.tensor(f"weight/{i}.{name}") for i in group])


def lora(recording: Recording) -> float:
    """The products and the forms of the factors, whose signs are arbitrary."""
    n, K = sizes(recording)
    rank, found = recording.config["rank"], []
    for init in INITS:
        for key in {key.rsplit("/", 1)[0] for key in recording.under(f"lora/{init}/")}:
            layer, name = key.split(".", 1)
            weight = recording.tensor(f"weight/{layer}.{name}")
            residual = weight - used(recording, "cycle", init, key, n, K)
            A, B = low_rank(residual, rank)
            mine = {"residual": residual, "BA": B @ A, "A_gram": A @ A.T, "B_gram": B.T @ B}
            theirs = recording.under(f"lora/{init}/{key}/")
            found += [absolute(mine[part], value) for part, value in theirs.items()]
    return max(found) if found else torch.nan
