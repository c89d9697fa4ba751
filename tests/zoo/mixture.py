"""Recordings of Mixture-of-Recursions: who runs at which depth, what comes of it, and the losses.

The reference has a copy of the block for each depth, whose gradients were recorded apart: so a
recursion runs in a copy of our model each.
"""

from copy import deepcopy

import torch
from torch import Tensor

from tests.zoo.recording import Recording, absolute, relative
from tinyreason.models import RecursiveModel
from tinyreason.noise import NoNoise

NAMES = {
    "input_layernorm": "around_mix.before",
    "post_attention_layernorm": "around_mlp.before",
    "self_attn.o_proj": "mix.out",
    "mlp.down_proj": "mlp.down",
}
STACKED = {  # matrices that are one of ours together, in order
    "self_attn.q_proj": ("mix.qkv", 0, 3),
    "self_attn.k_proj": ("mix.qkv", 1, 3),
    "self_attn.v_proj": ("mix.qkv", 2, 3),
    "mlp.gate_proj": ("mlp.gate_up", 0, 2),
    "mlp.up_proj": ("mlp.gate_up", 1, 2),
}
KV = {"own_kv": "own", "shared_kv": "shared", "shared_kv_updated": "updated"}
TOKEN = {  # of the recorded modes
    "own_kv": {"kv": "own"},
    "shared_kv": {"kv": "shared"},
    "loss_free": {"kv": "own", "balance": "loss_free"},
    "sigmoid": {"kv": "own", "gate": "sigmoid", "alpha": 0.1},
}
EXPERT_WEIGHTS = {"auxiliary": 1e-3, "z": 1e-3}  # of the recorded losses
TOKEN_WEIGHTS = {"balance_weight": 0.1, "z": 1e-5}


def differences(recording: Recording) -> dict[str, float]:
    expert = "expert choice" in recording.config["router"]
    one, modes = (of_expert, KV) if expert else (of_token, TOKEN)
    found = [one(recording, mode) for mode in modes if f"{mode}/out" in recording]
    return {key: max(each[key] for each in found) for key in found[0]}


# ---- expert choice


def of_expert(recording: Recording, mode: str) -> dict[str, float]:
    sizes, of = recording.config, f"{mode}/"
    model = model_of(recording, "mixture", kv=KV[mode], alpha=0.1, **EXPERT_WEIGHTS)
    with torch.no_grad():
        for d in range(sizes["recursions"]):
            model.routers[d] = recording.tensor(f"weight/router{d}")[0]
    copies = [deepcopy(model) for _ in range(sizes["recursions"])]
    x = recording.tensor("input/x").requires_grad_()
    state, states, wrong, losses = model.start(x, NoNoise()), [], [], []
    for d, copy in enumerate(copies):
        before = state
        state = copy.recur(state, x, d)
        states.append(absolute(state.h, recording.tensor(f"{of}state{d}")))
        places = state.ran.nonzero()[:, 1].view(len(x), -1)
        wrong.append(absolute(places, recording.tensor(f"{of}selected{d}")))
        losses.append(router_losses(copy, before, state, d))
    loss = (state.h * recording.tensor("input/probe")).sum() + model.penalties(state)[
        "router"
    ].mean()
    loss.backward()
    auxiliary, z = (torch.stack(column) for column in zip(*losses, strict=True))
    return {
        "states": max(*states, absolute(state.h, recording.tensor(f"{of}out"))),
        "losses": max(
            relative(loss, recording.tensor(f"{of}loss")),
            relative(auxiliary, recording.tensor(f"{of}aux_loss")),
            relative(z, recording.tensor(f"{of}z_loss")),
        ),
        "gradients": expert_gradients(recording, of, copies, x),
        "decisions": max(wrong),
    }


@torch.no_grad()
def router_losses(model: RecursiveModel, before, after, d: int) -> tuple[Tensor, Tensor]:
    """The two losses of a depth, each without its weight."""
    offered = torch.ones_like(before.ran) if d == 0 else before.ran
    logits = before.h @ model.routers[d]
    found, config = [], model.config
    for weights in ((1.0, 0.0), (0.0, 1.0)):
        kept = config.auxiliary, config.z
        config.auxiliary, config.z = weights
        found.append(model.router_losses(logits, offered, after.ran).mean())
        config.auxiliary, config.z = kept
    return tuple(found)


def expert_gradients(recording: Recording, of: str, copies: list, x: Tensor) -> float:
    qkv = [copy.core.blocks[0].mix.qkv.weight.grad.chunk(3) for copy in copies]
    found = [
        relative(x.grad, recording.tensor(f"{of}grad/x")),
        relative(sum(q for q, _, _ in qkv), recording.tensor(f"{of}grad/q_proj")),
    ]
    norms = torch.stack([k.double().norm() for _, k, _ in qkv])
    found.append(relative(norms, recording.tensor(f"{of}grad/k_proj_norm")))
    for d, copy in enumerate(copies):
        router = copy.routers.grad[d][None]
        found.append(relative(router, recording.tensor(f"{of}grad/router{d}")))
    return max(found)


# ---- token choice


def of_token(recording: Recording, mode: str) -> dict[str, float]:
    sizes, of = recording.config, f"{mode}/"
    usual = {"gate": "softmax", "balance": "loss", "alpha": 1.0}
    model = model_of(recording, "mixture_token", **TOKEN_WEIGHTS | usual | TOKEN[mode])
    with torch.no_grad():
        model.router.copy_(recording.tensor("weight/router"))
        if mode == "loss_free":
            model.bias.copy_(recording.tensor(f"{of}bias"))
    x = recording.tensor("input/x").requires_grad_()
    state = model.start(x, NoNoise())
    for t in range(sizes["recursions"]):
        state = model.recur(state, x, t)
    loss = (state.z * recording.tensor("input/probe")).sum() + model.penalties(state)["router"][0]
    loss.backward()
    parts = token_losses(model, x.detach(), recording, of)
    return {
        "states": max(
            absolute(state.z, recording.tensor(f"{of}out")),
            absolute(model.scored(x)[1], recording.tensor(f"{of}probabilities")),
            absolute(state.weight, weights_of(recording, of)),
        ),
        "losses": max(relative(loss, recording.tensor(f"{of}loss")), *parts),
        "gradients": max(
            relative(x.grad, recording.tensor(f"{of}grad/x")),
            relative(model.router.grad, recording.tensor(f"{of}grad/router")),
        ),
        "decisions": max(
            absolute(state.depth, recording.tensor(f"{of}depth")),
            absolute(model.counts, cells_of(recording, of)),
        ),
    }


def weights_of(recording: Recording, of: str) -> Tensor:
    """The recorded probability of the depth that each cell chose."""
    depth = recording.tensor(f"{of}depth").long()
    return recording.tensor(f"{of}probabilities").gather(-1, depth[..., None])[..., 0]


def cells_of(recording: Recording, of: str) -> Tensor:
    """How many cells chose each depth: the recorded shares of all, which are rounded."""
    exact = recording.tensor(f"{of}ratio").double() * recording.tensor(f"{of}depth").numel()
    whole = exact.round()
    return torch.where((exact - whole).abs() < 1e-4, whole, exact)


@torch.no_grad()
def token_losses(model: RecursiveModel, x: Tensor, recording: Recording, of: str) -> list[float]:
    """The losses that were recorded, each without its weight."""
    found = []
    config, kept = model.config, (model.config.z, model.config.balance)
    config.z, config.balance = 1.0, "none"
    found.append(relative(model.routed(x)[2][0], recording.tensor(f"{of}z_loss")))
    if f"{of}balancing_loss" in recording:
        config.z, config.balance, config.balance_weight = 0.0, "loss", 1.0
        found.append(relative(model.routed(x)[2][0], recording.tensor(f"{of}balancing_loss")))
    config.z, config.balance = kept
    return found


# ---- both


def model_of(recording: Recording, name: str, **options) -> RecursiveModel:
    recording.config = recording.config | {"vocab": 2}
    sizes = recording.config
    config = recording.model_config(
        name,
        layers=sizes["layers"],
        recursions=sizes["recursions"],
        temperature=sizes["temp"],
        **options,
    )
    model = recording.model(config, {})
    for theirs, weight in recording.under("weight/layer").items():
        mine, part, count = place(theirs)
        with torch.no_grad():
            model.get_parameter(mine).chunk(count)[part].copy_(weight)
    return model


def place(theirs: str) -> tuple[str, int, int]:
    """Our parameter, the part of it that the reference has, and of how many."""
    layer, name = theirs.split("/")
    name, block = name.removesuffix(".weight"), f"core.blocks.{layer}"
    if name in STACKED:
        mine, part, count = STACKED[name]
        return f"{block}.{mine}.weight", part, count
    return f"{block}.{NAMES[name]}.weight", 0, 1
