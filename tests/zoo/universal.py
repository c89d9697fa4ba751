"""Recordings of the Universal Transformer with ACT: what each cell pays out at every step.

The reference stops where all cells have halted; ours goes on, and nothing that is read may change.
"""

import re

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.zoo.recording import Recording, absolute, gradient_difference, relative
from tinyreason.act import act_step
from tinyreason.models import RecursiveModel
from tinyreason.models.universal import Ponder
from tinyreason.noise import NoNoise

NAMES = {
    "multi_head_attention.output_linear": "mix.out",
    "positionwise_feed_forward.layers.0.conv": "one",
    "positionwise_feed_forward.layers.1.conv": "two",
    "layer_norm_mha": "norm_mix",
    "layer_norm_ffn": "norm_conv",
}
STACKED = ("query", "key", "value")  # one matrix of ours
PROJECTION = "embedding_proj.weight"


def differences(recording: Recording) -> dict[str, float]:
    sizes = recording.config
    model = model_of(recording, "interpolate")
    projection = recording.tensor(f"weight/{PROJECTION}").requires_grad_()
    x = F.linear(recording.tensor("input/x"), projection)
    leaving, states, shares, last = run(model, x)
    loss = loss_of(recording, model, last)
    loss.backward()
    summed = run(model_of(recording, "sum"), x.detach())[3].out
    slip = summed - shares.sum(0)[..., None]  # what early tensor2tensor computed
    run_there = len(recording.tensor("out/states"))
    return {
        "states": max(
            absolute(states[:run_there], recording.tensor("out/states")),
            absolute(states[-1], recording.tensor("fixed/out")),
            absolute(leaving[:run_there], recording.tensor("out/p")),
            absolute(shares[:run_there], recording.tensor("out/weights")),
            absolute(last.out, recording.tensor("out/interpolate")),
            absolute(summed, recording.tensor("own_float64/sum")),
            absolute(slip, recording.tensor("own_float64/t2t")),
            absolute(last.remainder, recording.tensor("out/remainders")),
            absolute(model.places, recording.tensor("timing_signal")[0]),
            absolute(
                model.signal(torch.arange(sizes["max_steps"])), recording.tensor("step_signal")[0]
            ),
        ),
        "losses": relative(loss, recording.tensor("out/loss")),
        "gradients": gradient_difference(
            recording, "", lambda name: gradient_of(model, projection, name)
        ),
        "decisions": max(
            absolute(last.updates, recording.tensor("out/n_updates")),
            absolute(last.updates.max(), recording.tensor("out/steps_run")),
            shares[run_there:].count_nonzero().item(),
        ),
    }


def model_of(recording: Recording, output: str) -> RecursiveModel:
    sizes = recording.config | {"vocab": 2}
    recording.config = sizes
    config = recording.model_config(
        "universal",
        positions="none",
        layers=1,
        recursions=sizes["max_steps"],
        output=output,
        threshold=1 - sizes["epsilon"],
        ponder=float(re.search(r"([\d.]+) \* mean\(remainders", sizes["loss"])[1]),
        rest=False,
    )
    model = recording.model(config, {})
    weights = {ours(k): w for k, w in recording.under("weight/").items() if known(k)}
    weights["core.0.mix.qkv.weight"] = torch.cat(
        [
            recording.tensor(f"weight/enc.multi_head_attention.{part}_linear.weight")
            for part in STACKED
        ]
    )
    own = model.state_dict()
    missing = own.keys() - weights.keys()
    assert all(name.startswith(("heads.", "encoder.")) for name in missing), missing
    model.load_state_dict(own | weights)
    return model


def known(name: str) -> bool:
    """Neither stacked, nor the projection, nor a norm that the reference does not use."""
    return not (name == PROJECTION or name.startswith("layer_norm.") or part_of(name) is not None)


def part_of(name: str) -> int | None:
    return next((i for i, part in enumerate(STACKED) if f"{part}_linear" in name), None)


def ours(name: str) -> str:
    if name.startswith("act_fn.p."):
        return name.replace("act_fn.p.", "leave.")
    for theirs, mine in NAMES.items():
        name = name.replace(theirs, mine)
    name = name.replace("gamma", "weight").replace("beta", "bias")
    return name.replace("enc.", "core.0.")


def run(model: RecursiveModel, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Ponder]:
    """Probabilities, states and shares of every step, and the last state."""
    state, found = model.start(x, NoNoise()), []
    for t in range(model.config.recursions):
        leave = model.leaving(model.placed(state.s, t))
        share = act_step(leave, state.total, model.config.threshold).share
        state = model.recur(state, x, t)
        found.append((leave, state.s, share))
    leaving, states, shares = (torch.stack(column) for column in zip(*found, strict=True))
    return leaving, states, shares, state


def loss_of(recording: Recording, model: RecursiveModel, state: Ponder) -> Tensor:
    error = (state.out - recording.tensor("input/target")).square().mean()
    return error + model.penalties(state)["ponder"].mean()


def gradient_of(model: RecursiveModel, projection: Tensor, name: str) -> Tensor:
    if name == PROJECTION:
        return projection.grad
    part = part_of(name)
    if part is not None:
        return model.get_parameter("core.0.mix.qkv.weight").grad.chunk(3)[part]
    return model.get_parameter(ours(name)).grad
