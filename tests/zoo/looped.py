"""Recordings of what looped models do at the boundary of a loop: Three Part, FraiLT, lanes."""

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
)
from tests.zoo.window import block_of
from tinyreason.lanes import Lanes
from tinyreason.layers import Norm
from tinyreason.models import RecursiveModel
from tinyreason.noise import NoNoise
from tinyreason.recursion import Depth, unroll
from tinyreason.segment import Carry, segment

PLACES = {  # of a layer's matrices: ours, and which of those stacked in it
    "wq": ("mix.qkv", 0),
    "wk": ("mix.qkv", 1),
    "wv": ("mix.qkv", 2),
    "wo": ("mix.out", 0),
    "w1": ("mlp.gate_up", 0),
    "w3": ("mlp.gate_up", 1),
    "w2": ("mlp.down", 0),
}
NORMS = {"attention_norm": "around_mix.before.weight", "ffn_norm": "around_mlp.before.weight"}
WHOLE = {
    "embedding": "encoder.tokens",
    "final_norm": "norm.weight",
    "loop_norm": "loop_norm.weight",
    "adapter": "adapter.weight",
    "iteration_embedding": "iteration",
}


class StandardNormal(Given):
    """The recorded start is `sigma` times these; it is 1 here."""

    def normal(self, like: Tensor) -> Tensor:
        return self.start


# ---- Three Part and FraiLT: whole models of llama2.c blocks


def three_part(recording: Recording) -> dict[str, float]:
    sizes = recording.config["three_part"]
    ends = {"sharing": "middle_cycle", "layers": sizes["core"]}
    fed = {"injection": "linear", "start": "normal", "sigma": 1.0, "loop_norm": True}
    options = ends | fed | {"recursions": sizes["loops"]}
    names = ["prelude.blocks.0", *(f"core.blocks.{i}" for i in range(sizes["core"]))]
    names.append("coda.blocks.0")
    start = StandardNormal(recording.tensor("draw/s0"))
    depth = Depth(sizes["loops"], sizes["tracked"])
    return compared(recording, "three_part", options, names, start, depth)


def frailt(recording: Recording) -> dict[str, float]:
    sizes = recording.config["frailt"]
    options = {"layers": sizes["layers"], "recursions": sizes["loops"]}
    names = [f"core.blocks.{i}" for i in range(sizes["layers"])]
    depth = Depth(sizes["loops"], sizes["loops"])
    return compared(recording, "frailt", options, names, Given(torch.empty(0)), depth)


def compared(
    recording: Recording, name: str, options: dict, blocks: list[str], start: Given, depth: Depth
) -> dict[str, float]:
    """`blocks`: what the reference's layers are called here."""
    batch, of = recording.batch(), f"{name}/"
    model = recording.model(recording.model_config(name, **options), {})
    load(recording, model, blocks)
    x = model.encode(batch)
    whole = Depth(depth.total, depth.total)
    states = [s.z for s in unroll(model.recur, model.start(x, start), x, whole)]
    trace = segment(model, Carry.fresh(model, batch), depth, tiny.FULL, start)
    logits = trace.reads[-1].logits
    loss = mean_loss(logits, batch.labels)
    loss.backward()
    e = recording.under(of).get("e")
    return {
        "states": max(
            absolute(torch.stack(states), recording.tensor(of + "states")),
            0.0 if e is None else absolute(x, e),
        ),
        "logits": absolute(logits, recording.tensor(of + "logits")),
        "losses": relative(loss, recording.tensor(of + "loss")),
        "gradients": gradient_difference(
            recording, of, lambda theirs: gradient_of(model, theirs, blocks)
        ),
    }


def load(recording: Recording, model: RecursiveModel, blocks: list[str]) -> None:
    """All recorded weights that the model has; it has no others but the halting head's."""
    parameters, filled = dict(model.named_parameters()), set()
    for theirs, weight in recording.under("weight/").items():
        mine, part, count = place(theirs, blocks)
        if mine in parameters:
            with torch.no_grad():
                target = parameters[mine].chunk(count)[part]
                target.copy_(swapped(weight) if theirs == "adapter" else weight)
            filled.add(mine)
    assert parameters.keys() - filled == {"heads.halt.weight", "heads.halt.bias"}


def place(theirs: str, blocks: list[str]) -> tuple[str, int, int]:
    """Our parameter, the part of it that the reference has, and of how many."""
    if theirs in WHOLE:
        return WHOLE[theirs], 0, 1
    layer, matrix = theirs.removeprefix("layer").split(".")
    block = blocks[int(layer)]
    if matrix in NORMS:
        return f"{block}.{NORMS[matrix]}", 0, 1
    mine, part = PLACES[matrix]
    return f"{block}.{mine}.weight", part, sum(other == mine for other, _ in PLACES.values())


def gradient_of(model: RecursiveModel, theirs: str, blocks: list[str]) -> Tensor:
    mine, part, count = place(theirs, blocks)
    grad = model.get_parameter(mine).grad.chunk(count)[part]
    return swapped(grad) if theirs == "adapter" else grad


def swapped(adapter: Tensor) -> Tensor:
    """The reference's takes (state, puzzle), ours (puzzle, state)."""
    return torch.cat(adapter.chunk(2, dim=1)[::-1], dim=1)


# ---- lanes and injections, around a block that stands in `window`


def differences(recording: Recording) -> dict[str, float]:
    found = [lanes(recording, of) for of in ("init", "random")]
    found.append({"states": injections(recording)})
    keys = found[0].keys()
    return {key: max(one.get(key, 0.0) for one in found) for key in keys}


def core_of(recording: Recording):
    """The recorded block and the norm at the boundary, and its weights."""
    weights = recording.under("weight/")
    for weight in weights.values():
        weight.requires_grad_()
    norm = Norm(recording.config["width"], 1e-6)
    norm.weight = torch.nn.Parameter(weights["loop_norm"].detach())
    block = block_of(weights, "block", recording.config["heads"])
    return (lambda u: norm(block(u))), weights


def lanes(recording: Recording, of: str) -> dict[str, float]:
    sizes, (core, weights) = recording.config, core_of(recording)
    ours = Lanes(sizes["lanes"], sizes["loops"])
    own = [absolute(p, recording.tensor(f"{of}/{n}")) for n, p in ours.named_parameters()]
    begins = max(own) if of == "init" else 0.0
    ours.load_state_dict({k: recording.tensor(f"{of}/{k}") for k in ("alpha", "mixing", "beta")})
    e = recording.tensor("input/e").requires_grad_()
    state, states, inputs = ours.begin(e), [], []
    for t in range(sizes["loops"]):
        inputs.append(ours.mixed(state, t))
        state = ours.moved(state, core(inputs[-1]), t)
        states.append(absolute(state.transpose(0, 1), recording.tensor(f"{of}/lanes/{t}")))
    out = state.sum(1)
    loss = (recording.tensor("input/probe") * out).sum()
    loss.backward()
    grads = {name: p.grad for name, p in ours.named_parameters()}
    grads |= {"e": e.grad, "qkv": weights["block.qkv.weight"].grad}
    return {
        "states": max(
            begins,
            *states,
            absolute(torch.stack(inputs), recording.tensor(f"{of}/inputs")),
            absolute(out, recording.tensor(f"{of}/out")),
        ),
        "losses": relative(loss, recording.tensor(f"{of}/loss")),
        "gradients": gradient_difference(recording, f"{of}/", lambda name: grads[name]),
    }


WAYS = {  # of giving a loop the puzzle: ours, and the start
    "inject_init_prelude": ("linear", "x"),
    "passthrough": ("none", "x"),
    "additive": ("add", "zero"),
}


@torch.no_grad()
def injections(recording: Recording) -> float:
    """The states of each way."""
    (core, weights), loops = core_of(recording), recording.config["loops"]
    x, found = recording.tensor("input/e"), []
    for name, (injection, start) in WAYS.items():
        width, heads = recording.config["width"], recording.config["heads"]
        options = {"injection": injection, "start": start, "width": width, "heads": heads}
        model = tiny.model("looped", **options)
        if model.adapter is not None:
            model.adapter.weight.copy_(weights["inject"])
        model.loop = lambda z, t: core(z)
        begun = model.start(x, NoNoise())
        states = [s.z for s in unroll(model.recur, begun, x, Depth(loops, loops))]
        found.append(absolute(torch.stack(states), recording.tensor(f"{name}/states")))
    return max(found)
