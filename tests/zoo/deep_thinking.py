"""Recordings of deep thinking: its convolutions, and the progressive loss.

The reference is fed colours (B 3 rows columns), ours embedded tokens of `width` features: the
others are zero here, and so are their weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tests import tiny
from tests.zoo.recording import Recording, absolute, gradient_difference, relative
from tinyreason.losses import judge, softmax, total
from tinyreason.models import RecursiveModel, make_model
from tinyreason.noise import NoNoise
from tinyreason.puzzle import IGNORE, Facts
from tinyreason.recursion import Depth, unroll
from tinyreason.supervision import Progressive, ProgressiveConfig

NAMES = {
    "projection.0.weight": "projection.weight",
    "head.0.weight": "answer.0.weight",
    "head.2.weight": "answer.2.weight",
    "head.4.weight": "answer.4.weight",
}


def differences(recording: Recording) -> dict[str, float]:
    sizes = recording.config
    model = model_of(recording)
    x = model.flat(padded(recording.tensor("input/x"), sizes["width"]))
    start = model.start(x, NoNoise())
    whole, drawn = (
        list(unroll(model.recur, start, x, depth))
        for depth in (
            Depth(sizes["iterations"], sizes["iterations"]),
            Depth(sizes["free"] + sizes["tracked"], sizes["tracked"]),
        )
    )
    reads = [model.read(state) for state in whole]
    logits = torch.stack([squared(read.logits, sizes["side"]) for read in reads], dim=1)
    made = [model.read(drawn[-1]), reads[-1]]
    losses = as_one_puzzle(made, recording)
    loss = total(losses)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return {
        "states": max(
            absolute(model.square(start.z), recording.tensor("out/projection")),
            absolute(model.square(whole[-1].z), recording.tensor("out/thought")),
        ),
        "logits": absolute(logits, recording.tensor("out/logits")),
        "losses": max(
            relative(loss, recording.tensor("out/loss")),
            relative(losses["answer_loss"].value, recording.tensor("out/loss_max")[None]),
            relative(
                losses["progressive_loss"].value, recording.tensor("out/loss_progressive")[None]
            ),
        ),
        "gradients": gradient_difference(recording, "", lambda k: of_colours(gradients, k, sizes)),
    }


def model_of(recording: Recording) -> RecursiveModel:
    sizes = recording.config
    config = tiny.model_config(
        "deep_thinking",
        width=sizes["width"],
        layers=sum(k.startswith("weight/recur_block.1.") for k in recording.data) // 2,
        recursions=sizes["iterations"],
        recall=sizes["recall"],
        positions="none",
        prefix=0,
        puzzle_embedding=False,
    )
    weights = {ours(k, sizes): w for k, w in recording.under("weight/").items()}
    fed = {"projection.weight": sizes["width"], "recall.weight": 2 * sizes["width"]}
    for name, features in fed.items():
        if name in weights:
            weights[name] = padded(weights[name], features)
    vocab = len(weights["answer.4.weight"])
    model = make_model(config, Facts(vocab, (sizes["side"], sizes["side"])), torch.device("cpu"))
    own = model.state_dict()
    unused = own.keys() - weights.keys()
    assert unused == {"encoder.tokens", "heads.halt.weight", "heads.halt.bias"}
    model.load_state_dict(own | weights)
    return model


def ours(name: str, sizes: dict) -> str:
    """The reference counts the convolution of recall among the blocks."""
    if name in NAMES:
        return NAMES[name]
    if name == "recur_block.0.weight":
        return "recall.weight"
    name = name.replace("recur_block.1.", "blocks.")
    return name.replace("conv1", "one").replace("conv2", "two")


def of_colours(gradients: dict[str, Tensor], name: str, sizes: dict) -> Tensor:
    """The gradient of a reference's parameter."""
    mine = gradients[ours(name, sizes)]
    fed = {"projection.0.weight": 0, "recur_block.0.weight": sizes["width"]}
    return mine[:, : fed[name] + sizes["in_channels"]] if name in fed else mine


def padded(x: Tensor, features: int) -> Tensor:
    """(... I a b) -> (... features a b), zeros behind."""
    return F.pad(x, (0, 0, 0, 0, 0, features - x.shape[-3]))


def squared(logits: Tensor, side: int) -> Tensor:
    """(B S V) -> (B V side side)."""
    return logits.mT.unflatten(-1, (side, side))


def as_one_puzzle(reads: list, recording: Recording) -> dict:
    """The losses over all cells of a batch, as if they were one puzzle."""
    labels = recording.tensor("input/y").flatten()[None]
    labels = torch.where(recording.tensor("input/mask").flatten()[None], labels, IGNORE)
    flat = [read._replace(logits=read.logits.flatten(0, 1)[None]) for read in reads]
    config = ProgressiveConfig("progressive", recording.config["alpha"])
    return Progressive(config).losses(judge(softmax, flat, labels, torch.ones(1)))
