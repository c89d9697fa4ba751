"""Recordings of a looped transformer that is scored over a window of its loops.

Its block and its read-out stand here: what is ours is the loop, and the loss over the window.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.zoo.recording import Recording, absolute, gradient_difference, relative
from tinyreason.losses import Judged, total
from tinyreason.models.base import LoopState
from tinyreason.recursion import Depth, unroll
from tinyreason.supervision import Window, WindowConfig

EPS = 1e-6


def differences(recording: Recording) -> dict[str, float]:
    sizes, weights = recording.config, recording.under("weight/")
    for weight in weights.values():
        weight.requires_grad_()
    x = embedded(recording, weights)
    block = block_of(weights, "_backbone.block", sizes["heads"])
    combined = {"z=f(x+z)": torch.add, "z=f(x*z)": torch.mul}[sizes["func"]]
    start = torch.zeros_like(x) if combined is torch.add else torch.ones_like(x)

    def recur(state: LoopState, x: Tensor, t: int) -> LoopState:
        return LoopState(block(combined(state.z, x)))

    with torch.no_grad():
        whole = Depth(sizes["loops"], sizes["loops"])
        every = torch.stack([s.z for s in unroll(recur, LoopState(start), x, whole)])
    depth = Depth(sizes["loops"], sizes["window"])
    states = [state.z for state in unroll(recur, LoopState(start), x, depth)]
    found = torch.stack([read(state, weights, sizes) for state in states])
    loss = window_loss(found, recording.tensor("input/ys"), sizes["window"])
    loss.backward()
    return {
        "states": max(
            absolute(x, recording.tensor("out/embedding")),
            absolute(every, recording.tensor("out/states")),
        ),
        "logits": absolute(found, recording.tensor("out/predictions")),
        "losses": relative(loss, recording.tensor("out/loss")),
        "gradients": gradient_difference(recording, "", lambda name: weights[name].grad),
    }


def embedded(recording: Recording, weights: dict[str, Tensor]) -> Tensor:
    """(B 2n D): each point, then its value, as the reference interleaves them."""
    xs, ys = recording.tensor("input/xs"), recording.tensor("input/ys")
    wide = torch.cat((ys[..., None], torch.zeros_like(xs[..., 1:])), dim=-1)
    points = torch.stack((xs, wide), dim=2).flatten(1, 2)
    return F.linear(points, weights["_read_in.weight"], weights["_read_in.bias"])


def block_of(weights: dict[str, Tensor], name: str, heads: int):
    """x + out(attention(rms x)), then x + down(silu(up(rms x)))."""
    parts = ("qkv", "out", "up", "down")
    qkv, out, up, down = (weights[f"{name}.{part}.weight"] for part in parts)

    def block(x: Tensor) -> Tensor:
        B, S, D = x.shape
        parts = F.linear(rms(x), qkv).view(B, S, 3, heads, D // heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + F.linear(mixed, out)
        return x + F.linear(F.silu(F.linear(rms(x), up)), down)

    return block


def rms(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=EPS)


def read(state: Tensor, weights: dict[str, Tensor], sizes: dict) -> Tensor:
    """(B n): the predictions at the points."""
    first, step = sizes["index_of_predictions"]
    at_points = state[:, first::step]
    return F.linear(at_points, weights["_read_out.weight"], weights["_read_out.bias"])[..., 0]


def window_loss(found: Tensor, values: Tensor, window: int) -> Tensor:
    """Of the squared errors of the reads (R B n), over a batch as if it were one puzzle."""
    cells = (found - values).square().flatten(1)[:, None]
    judged = Judged([], cells, torch.ones_like(cells[0], dtype=torch.bool), torch.ones(1))
    return total(Window(WindowConfig("window", window)).losses(judged))
