"""Which kernels a model runs on: plain PyTorch, or the Triton kernels beside this file and cuDNN's
attention where a card has shown that they are right and faster there.

`SwiGLU`, `TokenMixer` and `Attention` have a `fused`, which is None (plain) or one of these. Triton
is imported where it is needed alone: PyTorch's CPU builds come without it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tinyreason.errors import UserError
from tinyreason.kernels import cudnn
from tinyreason.kernels.trial import drawn, trial
from tinyreason.layers import Attention, SwiGLU, TokenMixer
from tinyreason.models import RecursiveModel
from tinyreason.run.console import say

KERNELS = ("auto", "plain", "triton")
TYPES = (torch.float32, torch.bfloat16)


class Site(NamedTuple):
    """Where a model is trained."""

    slots: int  # that go forward and backward at once
    tokens: int  # S
    device: torch.device
    compiled: bool


def choose_kernels(
    word: str, model: RecursiveModel, site: Site, twice: bool, had: str | None = None
) -> str:
    """Which layers of `model` get the kernels of `kernels=word`, for `use_kernels`; says so in a
    line each.

    `twice`: the gradient of a gradient is needed. `had`: what was chosen for the run that goes on,
    and with auto is again: a clock may say another thing now. Raises UserError for a device without
    Triton.
    """
    if word == "triton" and site.device.type != "cuda":
        raise UserError("kernels=triton is for CUDA; use kernels=auto")
    if word == "plain" or site.device.type != "cuda":
        return "plain"
    if reason := impossible(model, twice):
        say(f"kernels={word}: plain ones, {reason}")
        return "plain"
    if word == "auto" and had is not None:
        say(f"kernels=auto: {had}, as before")
        return had
    if word == "auto" and torch.are_deterministic_algorithms_enabled():
        say("kernels=auto: plain ones, with deterministic=true nothing is timed")
        return "plain"
    chosen = []
    for name, layers in layers_of(model, site.tokens).items():
        if word == "triton" and name.startswith("cuDNN"):
            continue
        layer, shape = layers[0], (site.slots, site.tokens, model.config.width)
        x, dy = (drawn(shape, seed, model.encoder.dtype, site.device) for seed in range(2))
        found = trial(layer, x, dy, kernel_of(layer), site.compiled, timed=word == "auto")
        say(f"kernels={word}: {name}: {found.why}")
        if found.taken:
            chosen.append(name)
    return ", ".join(chosen) or "plain"


def use_kernels(chosen: str, model: RecursiveModel, tokens: int) -> None:
    """Give the layers what `choose_kernels` chose."""
    if chosen != "plain":
        for name, layers in layers_of(model, tokens).items():
            if name in chosen.split(", "):
                fuse(layers)


def impossible(model: RecursiveModel, twice: bool) -> str | None:
    """Why there is nothing to try."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return "Triton is not installed"
    if twice:
        return "gradient.jacobian takes the gradient of a gradient"
    if model.encoder.dtype not in TYPES:
        return f"there are no others for {model.encoder.dtype}"
    return None


def layers_of(model: nn.Module, tokens: int) -> dict[str, list[nn.Module]]:
    """The layers that have a kernel, those of one shape together, by what a user may call them.

    A subclass of `SwiGLU` has a gate of its own; the SwiGLU in a mixer is fused with it.
    """
    from tinyreason.kernels.mixer import MOST_TOKENS

    mixers = [m for m in model.modules() if type(m) is TokenMixer]
    inside = {id(m.mlp) for m in mixers}
    found: dict[str, list[nn.Module]] = {}
    for layer in mixers if tokens <= MOST_TOKENS else []:
        inner = layer.mlp.down.weight.shape[1]
        found.setdefault(f"Triton token mixer {tokens}x{inner}", []).append(layer)
    for layer in model.modules():
        if type(layer) is SwiGLU and id(layer) not in inside:
            width, inner = layer.down.weight.shape
            found.setdefault(f"Triton SwiGLU {width}x{inner}", []).append(layer)
        if type(layer) is Attention:
            name = (
                f"cuDNN attention {layer.heads}x{tokens}x{layer.out.weight.shape[0] // layer.heads}"
            )
            found.setdefault(name, []).append(layer)
    return found


def kernel_of(layer: nn.Module) -> Callable[..., Tensor]:
    if isinstance(layer, Attention):
        return cudnn.attention
    from tinyreason.kernels.mixer import token_mixer
    from tinyreason.kernels.swiglu import swiglu

    return token_mixer if isinstance(layer, TokenMixer) else swiglu


def fuse(layers: list[nn.Module]) -> None:
    """Let the layers run on their kernel."""
    for layer in layers:
        layer.fused = kernel_of(layer)
