"""A core that runs on some cells of each puzzle alone.

Source: Mixture-of-Recursions, arXiv 2507.10524. Which keys and values they attend to (`kv`):
- own: those of the cells that run
- shared: those of all cells at the first recursion
- updated: the same, but a cell that runs again brings its new ones along, for this recursion alone

B batch, S sequence, k cells that run, D width, N heads, K head width, L layers.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from tinyreason.layers import Attention, Core

KV = ("own", "shared", "updated")


class Chosen(NamedTuple):
    """The cells that run."""

    places: Tensor  # (B k) int64, in order
    # (B k) bool; others fill rows in which fewer run, and change nothing; None: all are
    real: Tensor | None = None


def all_of(x: Tensor) -> Chosen:
    """Every cell of x (B S D)."""
    return Chosen(torch.arange(x.shape[1], device=x.device).expand(x.shape[:2]))


def picked(x: Tensor, places: Tensor) -> Tensor:
    """(B S D), (B k) -> (B k D)."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def put(x: Tensor, chosen: Chosen, new: Tensor) -> Tensor:
    """x (B S D) with `new` (B k D) in the chosen cells; the others are untouched."""
    if chosen.real is not None:
        new = torch.where(chosen.real[..., None], new, picked(x, chosen.places))
    return x.scatter(1, chosen.places[..., None].expand_as(new), new)


def no_store(core: Core, x: Tensor, kv: str) -> Tensor:
    """What is kept of the first recursion before there is any: (B L 2 N S K), or (B 0)."""
    if kv == "own":
        return x.new_zeros(len(x), 0)
    heads = core.blocks[0].mix.heads
    B, S, D = x.shape
    return x.new_zeros(B, len(core.blocks), 2, heads, S, D // heads)


def run(core: Core, x: Tensor, chosen: Chosen, kv: str, store: Tensor) -> Tensor:
    """The core on the chosen cells of x (B S D), (B k D). `store`: that of the first recursion."""
    h = picked(x, chosen.places)
    if kv == "own" and chosen.real is None:
        return core(h, chosen.places)
    for layer, block in enumerate(core.blocks):
        known = None if kv == "own" else store[:, layer]
        h = block.around_mix(
            h, lambda z, mix=block.mix, known=known: attended(mix, z, chosen, kv, known)
        )
        h = block.around_mlp(h, block.mlp)
    return h


def run_first(core: Core, x: Tensor, kv: str) -> tuple[Tensor, Tensor]:
    """The core on all cells (B S D), and its keys and values, as `no_store` shapes them."""
    if kv == "own":
        return core(x), no_store(core, x, kv)
    kept, chosen = [], all_of(x)
    for block in core.blocks:
        q, k, v = projected(block.mix, block.around_mix.before(x), chosen.places, 0, 3)
        kept.append(torch.stack((k, v), dim=1))
        x = block.around_mix(x, lambda _, q=q, k=k, v=v, mix=block.mix: joined(mix, q, k, v))
        x = block.around_mlp(x, block.mlp)
    return x, torch.stack(kept, dim=1)


def attended(mix: Attention, x: Tensor, chosen: Chosen, kv: str, known: Tensor | None) -> Tensor:
    """Attention of the cells that run, x (B k D); `known` (B 2 N S K)."""
    places = chosen.places
    if kv == "shared":
        (q,) = projected(mix, x, places, 0, 1)
        return joined(mix, q, *known.unbind(1))
    q, k, v = projected(mix, x, places, 0, 3)
    if kv == "own":
        return joined(mix, q, k, v, chosen.real)
    keys, values = (
        renewed(old, chosen, new) for old, new in zip(known.unbind(1), (k, v), strict=True)
    )
    return joined(mix, q, keys, values)


def renewed(old: Tensor, chosen: Chosen, new: Tensor) -> Tensor:
    """Keys or values (B N S K) with those of the chosen cells, `new` (B N k K)."""
    index = chosen.places[:, None, :, None].expand_as(new)
    if chosen.real is not None:
        new = torch.where(chosen.real[:, None, :, None], new, old.gather(2, index))
    return old.scatter(2, index, new)


def projected(mix: Attention, x: Tensor, places: Tensor, first: int, last: int) -> list[Tensor]:
    """Queries (0), keys (1) and values (2), from `first` to before `last`: (B N k K) each."""
    D = x.shape[-1]
    weight = mix.qkv.weight[first * D : last * D].to(x.dtype)
    parts = F.linear(x, weight)
    parts = rearrange(parts, "b s (p n k) -> p b n s k", p=last - first, n=mix.heads)
    turns = mix.rotary is not None
    return [
        mix.rotary(part, places) if turns and number < 2 else part
        for number, part in enumerate(parts, first)
    ]


def joined(mix: Attention, q: Tensor, k: Tensor, v: Tensor, real: Tensor | None = None) -> Tensor:
    """Attention and what is made of it, (B k D); keys that are not `real` are not attended to."""
    mask = None
    if real is not None:
        # a row in which none runs would have nothing to attend to, and NaN for a gradient
        mask = (real | ~real.any(-1, keepdim=True))[:, None, None, :]
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mix.out(rearrange(y, "b n s k -> b s (n k)"))
