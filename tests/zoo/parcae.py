"""Recordings of Parcae: one batch whose rows have depths of their own, the injection alone, and the
spreads of a fresh model.
"""

import math

import torch
from torch import Tensor

from tests import tiny
from tests.zoo.recording import (
    Given,
    Recording,
    absolute,
    gradient_difference,
    mean_loss,
    relative,
    renamed,
)
from tinyreason.depth import PerRow, PerRowConfig, generator_of, of_rows
from tinyreason.models import RecursiveModel, make_model
from tinyreason.models.parcae import Injection
from tinyreason.recursion import only_live, unroll
from tinyreason.segment import Carry, segment

NAMES = [
    ("transformer.wte.weight", "encoder.tokens"),
    ("transformer.ln_f", "norm"),
    ("transformer.ln_prelude", "prelude_norm"),
    ("transformer.core_block.", "core.blocks."),
    ("transformer.prelude.", "prelude.blocks."),
    ("transformer.coda.", "coda.blocks."),
    ("transformer.adapter", "injection"),
    ("transformer.C", "C"),
    ("norm_1", "around_mix.before"),
    ("norm_2", "around_mlp.before"),
    ("attn.c_proj", "mix.out"),
    ("mlp.fc", "mlp.up"),
    ("mlp.proj", "mlp.down"),
]
STACKED = ("attn.c_q", "attn.c_k", "attn.c_v")  # one matrix of ours, in this order


def differences(recording: Recording) -> dict[str, float]:
    sizes, batch = recording.config, recording.batch()
    config = recording.model_config(
        "parcae",
        expansion=sizes["inner"] / sizes["width"],
        prelude=sizes["prelude"],
        layers=sizes["core"],
        coda=sizes["coda"],
        recursions=sizes["mean_recurrence"],
    )
    model = recording.model(config, weights_of(recording))
    start = Given(recording.tensor("draw/s0"))
    depth = of_rows(recording.tensor("draw/free"), recording.tensor("draw/tracked"))

    trace = segment(model, Carry.fresh(model, batch), depth, tiny.FULL, start)
    logits = trace.reads[-1].logits
    loss = mean_loss(logits, batch.labels)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    alone = injected(recording, model.injection)
    return {
        "states": max(
            *proposed(recording, model, start),
            absolute(trace.state.z, recording.tensor("out/state")),
            alone["states"],
        ),
        "logits": absolute(logits, recording.tensor("out/logits")),
        "losses": relative(loss, recording.tensor("out/loss")),
        "gradients": max(
            gradient_difference(recording, "", lambda name: part_of(gradients, name)),
            alone["gradients"],
        ),
        "draws": drawn(recording),
        "spreads": spread(recording, make_model(config, recording.facts(), tiny.CPU)),
    }


@torch.no_grad()
def proposed(recording: Recording, model: RecursiveModel, start: Given) -> list[float]:
    """Of the embedding, and of what each recursion makes of every row, also of those that stand
    still.
    """
    depth = of_rows(recording.tensor("draw/free"), recording.tensor("draw/tracked"))
    x = model.encode(recording.batch())
    found = []

    def kept(state, x, t):
        found.append(model.recur(state, x, t))
        return found[-1]

    list(unroll(only_live(kept, depth.live), model.start(x, start), x, depth))
    pairs = zip(found, recording.tensor("out/proposals"), strict=True)
    return [
        absolute(x, recording.tensor("out/e")),
        *(absolute(state.z, theirs) for state, theirs in pairs),
    ]


def injected(recording: Recording, injection: Injection) -> dict[str, float]:
    """Of the injection alone, with the loss sum(out^3)."""
    theirs = recording.under("injection/")
    inputs = {key: theirs[key].clone().requires_grad_() for key in ("state", "e")}
    own = Injection(recording.config["width"])
    own.load_state_dict(injection.state_dict())
    out = own(inputs["state"], inputs["e"])
    out.pow(3).sum().backward()
    decay, step = own.gains()
    states = {"out": out, "decay": decay, "dt": step}
    gradients = {name: p.grad for name, p in (inputs | dict(own.named_parameters())).items()}
    expected = recording.under("injection/grad/")
    return {
        "states": max(absolute(mine, theirs[key]) for key, mine in states.items()),
        "gradients": max(relative(gradients[key], grad) for key, grad in expected.items()),
    }


def drawn(recording: Recording) -> float:
    """Of the depths of the rows, which the step decides."""
    sizes, free = recording.config, recording.tensor("draw/free")
    gradient = tiny.gradient("last", recursions=sizes["mean_backprop_depth"])
    config = PerRowConfig("per_row", 0, "poisson", "linear", "free")
    rule = PerRow(config, sizes["mean_recurrence"], gradient, steps=1)
    mine = rule.draw(sizes["step"], len(free), generator_of(0, sizes["step"]))
    theirs = of_rows(free, recording.tensor("draw/tracked"))
    same = mine[:2] == theirs[:2] and torch.equal(mine.live, theirs.live)
    return 0.0 if same else 1.0


def spread(recording: Recording, fresh: RecursiveModel) -> float:
    """Of the root mean square of each parameter of a fresh model; what the draws decide, the mean,
    is not compared.
    """
    parameters = dict(fresh.named_parameters())
    means, stds = recording.under("init/mean/"), recording.under("init/std/")
    trained = recording.under("weight/")  # others belong to options that are off
    found = [abs(fresh.std - recording.config["state_std"])]
    for name in means.keys() & trained.keys():
        mine = part_of(parameters, name).detach().double().square().mean().sqrt().item()
        found.append(abs(mine - math.hypot(means[name].item(), stds[name].item())))
    return max(found)


def weights_of(recording: Recording) -> dict[str, Tensor]:
    """Under our names, stacked as ours are."""
    theirs = recording.under("weight/")
    theirs.pop("freqs_cis")
    theirs.pop("lm_head.weight")  # the embedding
    weights = {}
    for name, weight in theirs.items():
        part = next((part for part in STACKED if part in name), None)
        if part is None:
            weights[renamed(NAMES, name)] = weight
        elif part == STACKED[0]:
            parts = [theirs[name.replace(part, other)] for other in STACKED]
            weights[stacked(name, part)] = torch.cat(parts)
    return weights


def part_of(tensors: dict[str, Tensor], name: str) -> Tensor:
    """The one, or the part of one, that stands for a reference's parameter."""
    for index, part in enumerate(STACKED):
        if part in name:
            return tensors[stacked(name, part)].chunk(len(STACKED))[index]
    return tensors[renamed(NAMES, name)]


def stacked(name: str, part: str) -> str:
    return renamed(NAMES, name.replace(part, "mix.qkv"))
