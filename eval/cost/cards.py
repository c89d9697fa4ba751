"""What GPUs can do, by name: for `python -m eval.cost plan device=NAME`.

Public figures: 10^12 FLOP/s of dense products with float32 sums, gigabytes, 10^9 bytes of memory
traffic a second. Sources, all NVIDIA's:

- data sheets of T4, V100, A10, A100, L4, L40S, H100 and H200 (SXM where there is a choice; figures
  with sparsity halved)
- GeForce: the white papers of GA102, Ada and RTX Blackwell. bfloat16 with float32 sums is twice
  the float32 rate of the shaders, 4 x CUDA cores x boost clock: half the rate with float16 sums.
  Where a card is sold with two sizes of memory, say yours: device=4060ti memory=16
- laptops: the table on nvidia.com/geforce/gaming-laptops/compare, at the lowest boost clock there,
  since the maker of the laptop chooses its power: expect this or better

T4 and V100 have no fast bfloat16: theirs is the rate in float32, in which they train.
"""

import re
from typing import NamedTuple

from tinyreason.errors import UserError


class Card(NamedTuple):
    """One kind of GPU."""

    tflops: float  # 10^12 FLOP/s of dense products, in `dtype`
    memory: float  # 10^9 bytes
    bandwidth: float | None  # 10^9 bytes/s; None: not known
    dtype: str = "bfloat16"  # that model.dtype=auto takes


def geforce(cores: int, boost: float, memory: float, bandwidth: float) -> Card:
    """From its CUDA cores and its boost clock in GHz."""
    return Card(round(4e-3 * cores * boost, 1), memory, bandwidth)


CARDS = {
    "h200": Card(989.4, 141, 4800),
    "h100": Card(989.4, 80, 3350),
    "a100": Card(312.0, 80, 2039),
    "a100-40gb": Card(312.0, 40, 1555),
    "l40s": Card(362.05, 48, 864),
    "l4": Card(121.0, 24, 300),
    "a10": Card(125.0, 24, 600),
    "v100": Card(15.7, 16, 900, "float32"),
    "t4": Card(8.1, 16, 320, "float32"),
    "rtx5090": geforce(21760, 2.407, 32, 1792),
    "rtx5080": geforce(10752, 2.617, 16, 960),
    "rtx5070ti": geforce(8960, 2.452, 16, 896),
    "rtx5070": geforce(6144, 2.512, 12, 672),
    "rtx5060ti": geforce(4608, 2.572, 16, 448),
    "rtx5060": geforce(3840, 2.497, 8, 448),
    "rtx4090": geforce(16384, 2.520, 24, 1008),
    "rtx4080": geforce(9728, 2.505, 16, 717),
    "rtx4070ti": geforce(7680, 2.610, 12, 504),
    "rtx4070": geforce(5888, 2.475, 12, 504),
    "rtx4060ti": geforce(4352, 2.535, 8, 288),
    "rtx4060": geforce(3072, 2.460, 8, 272),
    "rtx3090": geforce(10496, 1.695, 24, 936),
    "rtx3080": geforce(8704, 1.710, 10, 760),
    "rtx3070": geforce(5888, 1.725, 8, 448),
    "rtx3060ti": geforce(4864, 1.665, 8, 448),
    "rtx3060": geforce(3584, 1.777, 12, 360),
    "rtx4090-laptop": geforce(9728, 1.455, 16, 576),
    "rtx4080-laptop": geforce(7424, 1.350, 12, 432),
    "rtx4070-laptop": geforce(4608, 1.230, 8, 256),
    "rtx4060-laptop": geforce(3072, 1.470, 8, 256),
    "rtx4050-laptop": geforce(2560, 1.605, 6, 192),
}
DEFAULT = "h100"
APPLE = re.compile(r"(apple)?m[1-9](pro|max|ultra)?")
OTHERWISE = "or device=here, or tflops= and memory= of yours"


def card_of(name: str | None, tflops: str | None, memory: str | None) -> Card:
    """The card of that name, an H100 if there is none, with the user's own figures in place of its.

    Raises UserError for a name that is unknown and a figure that is none.
    """
    own = {"tflops": figure("tflops", tflops), "memory": figure("memory", memory)}
    own = {key: value for key, value in own.items() if value is not None}
    if name is None and len(own) == 2:
        return Card(**own, bandwidth=None)
    if name is None and own:
        raise UserError(f"{', '.join(own)}= alone; use tflops= and memory=, or device= too")
    return known_card(name or DEFAULT)._replace(**own)


def known_card(name: str) -> Card:
    """Raises UserError."""
    if APPLE.fullmatch(re.sub(r"[\s_-]", "", name.lower())):
        apple = f"device={name}: Apple states no rate of matrix products for its chips"
        raise UserError(f"{apple}; use device=here on that machine, or tflops= and memory=")
    if spelt(name) not in CARDS:
        raise UserError(f"device={name} is unknown; use one of {', '.join(CARDS)}, {OTHERWISE}")
    return CARDS[spelt(name)]


def spelt(name: str) -> str:
    """As in CARDS: "NVIDIA GeForce RTX 4060 Ti", "4060-ti" and "rtx4060ti" are one."""
    plain = re.sub(r"nvidia|geforce|gpu|[\s_-]", "", name.lower())
    plain = re.sub(r"^(?=[3-5]0[5-9]0)", "rtx", plain)
    plain = re.sub(r"(laptop|mobile)$", "-laptop", plain)
    return re.sub(r"^a10040gb$", "a100-40gb", re.sub(r"^(a100|h100)80gb$", r"\1", plain))


def figure(key: str, value: str | None) -> float | None:
    """A number above 0, or None. Raises UserError."""
    if value is None:
        return None
    if not re.fullmatch(r"\d{0,9}\.?\d{1,9}", value) or not float(value):
        example = {"tflops": 30, "memory": 12}[key]
        raise UserError(f"{key}={value} must be a number above 0; use {key}={example}")
    return float(value)
