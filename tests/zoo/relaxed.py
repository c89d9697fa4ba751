"""Recordings of the small looped models that share one stack: here of Relaxed, with a LoRA for each
loop.
"""

import torch
from torch import Tensor

from tests import tiny
from tests.zoo.looped import PLACES, frailt, three_part
from tests.zoo.recording import Recording, absolute, mean_loss, relative
from tinyreason.models import RecursiveModel
from tinyreason.noise import NoNoise
from tinyreason.recursion import Depth, unroll
from tinyreason.segment import Carry, segment


def differences(recording: Recording) -> dict[str, float]:
    found = [relaxed(recording), three_part(recording), frailt(recording)]
    return {key: max(one[key] for one in found) for key in found[0]}


def relaxed(recording: Recording) -> dict[str, float]:
    sizes, batch = recording.config["frailt"], recording.batch()
    loops, layers = sizes["loops"], sizes["layers"]
    rank = len(recording.tensor("lora/loop0.layer0.wq.A"))
    config = recording.model_config("relaxed", layers=layers, recursions=loops, rank=rank)
    model = recording.model(config, weights_of(recording, config))

    x = model.encode(batch)
    start = model.start(x, NoNoise())
    states = [s.z for s in unroll(model.recur, start, x, Depth(loops, loops))]
    carry = Carry.fresh(model, batch)
    trace = segment(model, carry, Depth(loops, loops), tiny.FULL, NoNoise())
    logits = trace.reads[-1].logits
    loss = mean_loss(logits, batch.labels)
    loss.backward()
    return {
        "states": absolute(torch.stack(states), recording.tensor("relaxed/states")),
        "logits": max(
            absolute(logits, recording.tensor("relaxed/logits")),
            absolute(plain_logits(model, batch, loops), recording.tensor("plain_loop/logits")),
        ),
        "losses": relative(loss, recording.tensor("relaxed/loss")),
        "gradients": max(whole_gradients(recording, model), lora_gradients(recording, model)),
    }


@torch.no_grad()
def plain_logits(model: RecursiveModel, batch, loops: int) -> Tensor:
    """Without what the loops add."""
    for lora in model.lora:
        lora.B.zero_()
    carry = Carry.fresh(model, batch)
    return segment(model, carry, Depth(loops, 1), tiny.FULL, NoNoise()).reads[-1].logits


def weights_of(recording: Recording, config) -> dict[str, Tensor]:
    """Under our names, stacked as ours are."""
    weights = {
        "encoder.tokens": recording.tensor("weight/embedding"),
        "norm.weight": recording.tensor("weight/final_norm"),
    }
    lora = {}
    for layer in range(config.layers):
        block, theirs = f"core.blocks.{layer}", f"weight/layer{layer}."
        for theirs_norm, mine in (("attention_norm", "around_mix"), ("ffn_norm", "around_mlp")):
            weights[f"{block}.{mine}.before.weight"] = recording.tensor(theirs + theirs_norm)
        for mine, _ in PLACES.values():
            parts = [m for m, (other, _) in PLACES.items() if other == mine]
            stacked = [recording.tensor(theirs + part) for part in parts]
            weights[f"{block}.{mine}.weight"] = torch.cat(stacked)
            lora[f"{block}.{mine}"] = [
                stacked_lora(recording, config.recursions, layer, parts, factor) for factor in "AB"
            ]
    order = [f"core.blocks.{i}.{m}" for i in range(config.layers) for m in OWN_ORDER]
    for index, name in enumerate(order):
        weights[f"lora.{index}.A"], weights[f"lora.{index}.B"] = lora[name]
    return weights


OWN_ORDER = ("mix.qkv", "mix.out", "mlp.gate_up", "mlp.down")  # of a block's matrices


def stacked_lora(
    recording: Recording, loops: int, layer: int, parts: list[str], factor: str
) -> Tensor:
    """(loops, parts, ...) of the A or the B of one of our matrices."""
    rows = [
        torch.stack([recording.tensor(f"lora/loop{t}.layer{layer}.{p}.{factor}") for p in parts])
        for t in range(loops)
    ]
    return torch.stack(rows)


def whole_gradients(recording: Recording, model: RecursiveModel) -> float:
    found = []
    for name, theirs in recording.under("relaxed/grad/").items():
        layer, matrix = name.removeprefix("layer").split(".")
        mine, part = PLACES[matrix]
        parameter = model.get_parameter(f"core.blocks.{layer}.{mine}.weight")
        count = sum(other == mine for other, _ in PLACES.values())
        found.append(relative(parameter.grad.chunk(count)[part], theirs))
    return max(found)


def lora_gradients(recording: Recording, model: RecursiveModel) -> float:
    """Of the norms, which are listed in the order of the configuration."""
    norms = []
    for name in recording.config["lora_order"]:
        loop, layer, matrix, factor = name.split(".")
        mine, part = PLACES[matrix]
        index = int(layer.removeprefix("layer")) * len(OWN_ORDER) + OWN_ORDER.index(mine)
        parameter = model.lora[index].get_parameter(factor)
        norms.append(parameter.grad[int(loop.removeprefix("loop")), part].double().norm())
    return relative(torch.stack(norms), recording.tensor("relaxed/lora_grad_norm"))
