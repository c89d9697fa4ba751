"""Make a looped model of an untied one: `python -m eval.convert run=runs/NAME out=DIR loops=2
[init=average|lower|upper|stepwise] [sharing=cycle] [rank=8]`

Source: Relaxed Recursive Transformers, arXiv 2410.20672. With the full rank the result answers as
the untied model does; with less, it is a start for more training (`train.py init=DIR`).

b layers of the looped net, K loops.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from conf.cli import command
from conf.schema import typed
from data.dataset import refuse_taken
from eval.export import share
from eval.load import open_run
from tinyreason import exported, weights
from tinyreason.conversion import INITS, kept_layers, low_rank, merged, sources
from tinyreason.errors import UserError
from tinyreason.exported import Exported
from tinyreason.gradient import GradientConfig
from tinyreason.models import ModelConfig, RecursiveModel, make_model
from tinyreason.models.looped import LoopedConfig
from tinyreason.models.relaxed import Relaxed, RelaxedConfig
from tinyreason.options import check_value
from tinyreason.puzzle import Facts
from tinyreason.run import checkpoint
from tinyreason.sharing import ENDS
from tinyreason.trained import CPU

SHARINGS = ("cycle", "sequence", "middle_cycle", "middle_sequence")
UNTIED = {  # what a stack without loops has
    "recursions": 1,
    "sharing": "cycle",
    "injection": "none",
    "start": "x",
    "norms": "pre",
    "residual": 1,
    "loop_norm": False,
    "lanes": 1,
    "iteration_embedding": False,
}


@dataclass
class ConvertConfig:
    """What to convert, and how."""

    run: str
    out: str
    loops: int
    sharing: str
    init: str
    rank: int
    weights: str  # ema | raw
    checkpoint: str  # best | last | a step


def check(options: ConvertConfig) -> None:
    """Raises UserError, one line."""
    check_value("loops", options.loops, False, 2, None, (), None)
    check_value("rank", options.rank, False, 0, 4096, (), None)
    check_value("sharing", options.sharing, False, None, None, SHARINGS, None)
    check_value("init", options.init, False, None, None, INITS, None)
    if options.rank and options.sharing != "cycle":
        raise UserError(f"rank={options.rank} goes with sharing=cycle; use that, or rank=0")


def refuse_others(config: ModelConfig, run: str) -> None:
    """Raises UserError unless it is an untied stack."""
    untied = isinstance(config, LoopedConfig) and all(
        getattr(config, key) == value for key, value in UNTIED.items()
    )
    if not untied:
        what = f"{run} is a model.name={config.name} that is no untied stack"
        raise UserError(f"{what}; use a run of model=transformer")


@torch.no_grad()
def converted(
    model: RecursiveModel, facts: Facts, options: ConvertConfig
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The configuration of the looped model, and its weights."""
    config, K = model.config, options.loops
    kept = kept_layers(options.sharing, config.layers, K)
    made = sources(options.sharing, options.init, len(kept), K)
    layers = [dict(model.core.blocks[i].named_parameters()) for i in kept]
    if options.rank:
        layers = [folded(layer) for layer in layers]
    state = {k: w for k, w in model.state_dict().items() if not k.startswith("core.")}
    for own, group in enumerate(made):
        for name in layers[0]:
            weight = merged([layers[i][name] for i in group])
            state[f"{place(own, len(made), options.sharing)}.{name}"] = weight
    b = len(made) - (2 if options.sharing.startswith(ENDS) else 0)
    if not options.rank:
        return replace(config, recursions=K, layers=b, sharing=options.sharing), state
    relaxed = relaxed_of(config, b, options)
    return relaxed, state | loras(make_model(relaxed, facts, CPU), layers, state)


FOLDED = {  # the weights of a norm, and the matrix that reads what it made
    "around_mix.before.weight": "mix.qkv.weight",
    "around_mlp.before.weight": "mlp.gate_up.weight",
}


def folded(layer: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same layer with the weights of its norms in its matrices, where a low rank can give back
    what they differ in. A mixer reads along another axis; its norm stays.
    """
    layer = dict(layer)
    for norm, matrix in FOLDED.items():
        if matrix in layer:
            layer[matrix] = layer[matrix] * layer[norm]
            layer[norm] = torch.ones_like(layer[norm])
    return layer


def place(own: int, count: int, sharing: str) -> str:
    """What the blocks of the looped model are called."""
    if not sharing.startswith(ENDS):
        return f"core.blocks.{own}"
    if own in (0, count - 1):
        return "prelude.blocks.0" if own == 0 else "coda.blocks.0"
    return f"core.blocks.{own - 1}"


def relaxed_of(config: LoopedConfig, layers: int, options: ConvertConfig) -> RelaxedConfig:
    """Of the model with low ranks."""
    if config.embedding_scale != 1:
        scale = f"model.embedding_scale={config.embedding_scale}"
        raise UserError(f"{options.run}: {scale}, and model=relaxed has 1; use rank=0")
    names = {field.name for field in fields(RelaxedConfig)} & {f.name for f in fields(config)}
    common = {name: getattr(config, name) for name in names}
    own = {"name": "relaxed", "layers": layers, "recursions": options.loops, "rank": options.rank}
    return RelaxedConfig(**common | own)


def loras(model: Relaxed, layers: list[dict], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A and B of every matrix, by loop: the nearest to what the layers differ in."""
    found, b = {}, model.config.layers
    for index, name in enumerate(model.names):  # as "blocks.0.mix.qkv.weight"
        _, own, matrix = name.split(".", 2)
        parts, by_loop = model.core.get_submodule(name.removesuffix(".weight")).parts, []
        for t in range(model.config.recursions):
            residual = layers[t * b + int(own)][matrix] - state[f"core.{name}"]
            pairs = [low_rank(part, model.config.rank) for part in residual.chunk(parts)]
            by_loop.append([torch.stack(column) for column in zip(*pairs, strict=True)])
        A, B = (torch.stack(column) for column in zip(*by_loop, strict=True))
        found |= {f"lora.{index}.A": A, f"lora.{index}.B": B}
    return found


def described(
    description: Exported, config: ModelConfig, model: RecursiveModel, options: ConvertConfig
) -> Exported:
    """What the folder says of itself."""
    how = {key: getattr(options, key) for key in ("loops", "sharing", "init", "rank")}
    made: dict[str, Any] = description.made | {"result": None, "converted": how}
    return replace(
        description,
        model=config,
        gradient=GradientConfig("bptt"),
        sha256=checkpoint.digest(model),
        made=made,
    )


def words_of(config: ModelConfig, out: str) -> str:
    """How train.py goes on from it."""
    sizes = ("width", "heads", "layers", "recursions", "rank", "mix", "positions")
    stated = [f"model.{name}={getattr(config, name)}" for name in sizes if name in vars(config)]
    if isinstance(config, RelaxedConfig):
        return f"python train.py model=relaxed {' '.join(stated)} init={out}"
    choice = f"model=transformer model.sharing={config.sharing}"
    return f"python train.py {choice} {' '.join(stated)} init={out}"


def main(words: DictConfig) -> None:
    options = typed(ConvertConfig, words)
    check(options)
    refuse_taken(Path(options.out))
    trained = open_run(options.run, options.checkpoint, options.weights)
    refuse_others(trained.config.model, options.run)
    description, untied = share(trained)
    config, state = converted(untied, description.facts, options)
    config.check("model.")
    model = weights.build(config, description.facts, state, CPU, options.out)
    exported.write(Path(options.out), described(description, config, model, options), model)
    layers = f"{untied.config.layers} layers are {config.layers} x {config.recursions} loops"
    print(f"{options.out}: {layers} (sharing={options.sharing}, init={options.init})")
    print(f"more training: {words_of(config, options.out)}")


if __name__ == "__main__":
    command("convert", main)
