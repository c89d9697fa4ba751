"""Compile the Triton kernels for cards that need not be here, at the published sizes:
`python -m tests.compiled`, or `python -m tests.compiled 90` for one compute capability. Prints what
shared memory each takes, as lines of JSON.
"""

import json
import sys
from collections.abc import Iterator

import torch
from triton import compile as compile_kernel
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tinyreason.kernels import mixer, swiglu

# KiB of shared memory that a program may take, by compute capability: A100, RTX 30 and 40, H100 and
# RTX 50. Source: NVIDIA's CUDA programming guide, technical specifications
CARDS = {80: 163, 86: 99, 89: 99, 90: 227, 120: 99}
TENSOR_CORES = ("mma.sync", "wgmma.mma_async")
POINTERS = {"x", "dy", "y", "dx", "w", "wd", "dh", "out"}
WIDE = {"dw", "dwd"}  # float32 in any case
HOW = {"num_warps": 8}


def kernels(capability: int) -> Iterator[tuple]:
    """Each, its sizes and stages: TRM's mixer (97 tokens, inner 512), its SwiGLU (512, 1536)."""
    x = torch.empty(2, 97, 512, dtype=torch.bfloat16)
    block = 128 if capability == 90 else 64
    yield mixer.forward_kernel, mixer.tiles(x, 512, block, 64), 2
    yield mixer.input_kernel, mixer.tiles(x, 512, 64, 64), 2
    yield mixer.weight_kernel, mixer.tiles(x, 512, 32, 32), 2
    bm, bi, bk = swiglu.WIDE
    sizes = {"I": 1536, "K": 512, "BM": bm, "BI": bi, "BK": bk, "EXACT": "ieee"}
    yield swiglu.kernel, sizes | {"BACKWARD": True}, 3


def source(kernel, sizes: dict) -> ASTSource:
    """As it is launched on contiguous bfloat16."""
    types = {}
    for name in kernel.arg_names:
        pointer = "*bf16" if name in POINTERS else "*fp32" if name in WIDE else "i32"
        types[name] = "constexpr" if name in sizes else pointer
    aligned = {
        (i,): [["tt.divisibility", 16]] for i, t in enumerate(types.values()) if t.startswith("*")
    }
    return ASTSource(kernel, types, constexprs=sizes, attrs=aligned)


def main(wanted: list[str]) -> None:
    for capability in map(int, wanted or CARDS):
        for kernel, sizes, stages in kernels(capability):
            target, how = GPUTarget("cuda", capability, 32), HOW | {"num_stages": stages}
            made = compile_kernel(source(kernel, sizes), target=target, options=how)
            row = {"card": capability, "kernel": kernel.fn.__name__, "shared": made.metadata.shared}
            row["has"] = 1024 * CARDS[capability]
            row["tensor cores"] = any(one in made.asm["ptx"] for one in TENSOR_CORES)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
