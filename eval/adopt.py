"""Take in a checkpoint of the references: `python -m eval.adopt checkpoint=FILE
config=all_config.yaml out=DIR [dataset=PATH | vocab_size= seq_len=]`

The state dict that the public TRM or HRM code writes becomes a folder that every tool here reads,
and that `init=` continues from. It is loaded with `weights_only=True`, each name and shape is held
against the model that the configuration describes, and an option that this project would compute
in another way is refused.
"""

import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from conf.cli import command, composed
from conf.schema import Config, typed
from data.arc_augment import named_tasks, parse_names
from data.dataset import refuse_taken
from tinyreason import exported, weights
from tinyreason.errors import UserError
from tinyreason.exported import FORMAT, Exported
from tinyreason.halting import HaltingConfig
from tinyreason.models import MODELS
from tinyreason.plain import from_plain
from tinyreason.puzzle import Facts
from tinyreason.rules import RULES, Notation
from tinyreason.rules.maze import CHARACTERS
from tinyreason.rules.sudoku import BOX, DIGITS
from tinyreason.run import checkpoint
from tinyreason.run.machine import versions
from tinyreason.run.plain_yaml import read_yaml
from tinyreason.untrusted import read_json, read_object

MOST = 8 << 30  # bytes of a checkpoint; ARC's, with a million embeddings, has 2 GB
CPU = torch.device("cpu")
PREFIXES = ("_orig_mod.model.", "model.", "_orig_mod.")
DERIVED = ("inner.rotary_emb.", "inner.puzzle_emb.local_")  # buffers that are computed anew
NAMES = (  # theirs -> ours, in turn
    ("inner.embed_tokens.embedding_weight", "encoder.tokens"),
    ("inner.embed_pos.embedding_weight", "encoder.positions.table"),
    ("inner.puzzle_emb.weights", "encoder.puzzles.table"),
    ("inner.lm_head.", "heads.answer."),
    ("inner.q_head.", "heads.halt."),
    ("inner.H_init", "start_z_H"),
    ("inner.L_init", "start_z_L"),
    ("inner.H_level.layers.", "core_H.blocks."),
    ("inner.L_level.layers.", "core_L.blocks."),
    ("self_attn.qkv_proj", "mix.qkv"),
    ("self_attn.o_proj", "mix.out"),
    ("mlp_t.", "mix.mlp."),
    ("gate_up_proj", "gate_up"),
    ("down_proj", "down"),
)
FIXED = {  # options that are constants here
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "causal": False,
}
IDLE = ("loss", "batch_size", "seq_len", "vocab_size", "num_puzzle_identifiers")
TYPES = {"float32": "float32", "bfloat16": "auto", "float64": "float64"}
KNOWN = {(11, 81): "sudoku", (6, 900): "maze", (12, 900): "arc"}  # sizes of published data sets


@dataclass
class AdoptConfig:
    """What to take in, and where to write it."""

    checkpoint: str
    config: str
    out: str
    dataset: str | None
    vocab_size: int | None
    seq_len: int | None
    num_puzzle_identifiers: int | None
    task: str | None


def ours(name: str, model: str) -> str:
    """A tensor of the references as it is called here; TRM has one network."""
    for theirs, mine in NAMES:
        name = name.replace(theirs, mine)
    return name if model == "hrm" else name.replace("core_L.", "core.")


# ---- reading


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by the references' names, without the prefixes of wrappers."""
    if not path.is_file():
        raise UserError(f"checkpoint={path}: no such file")
    if path.stat().st_size > MOST:
        raise UserError(f"{path}: larger than {MOST >> 30} GiB")
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds
        raise UserError(
            f"{path}: not a checkpoint of tensors alone: {type(error).__name__}"
        ) from None
    tensors = isinstance(state, dict) and all(isinstance(t, Tensor) for t in state.values())
    if not tensors or not state or not all(isinstance(name, str) for name in state):
        raise UserError(f"{path}: not a state dict, names and tensors")
    prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in state)), "")
    named = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in named.items() if not name.startswith(DERIVED)}


def read_arch(path: Path) -> dict[str, Any]:
    """The options of the network in an `all_config.yaml`."""
    if not path.is_file():
        raise UserError(f"config={path}: no such file")
    arch = read_yaml(path).get("arch")
    if not isinstance(arch, dict) or not isinstance(arch.get("name"), str):
        raise UserError(f"{path}: no arch with a name in it")
    return arch


def model_of(arch: dict[str, Any], path: Path) -> str:
    """trm or hrm, by the name of the references' class."""
    module, _, name = arch["name"].partition("@")
    if name.startswith("TinyRecursiveReasoningModel") and module.split(".")[-1] == "trm":
        return "trm"
    if name.startswith("HierarchicalReasoningModel"):
        return "hrm"
    known = "only the references' trm@TinyRecursiveReasoningModel and hrm are known"
    raise UserError(f"{path}: arch.name={arch['name'][:80]}: {known}")


def options_of(arch: dict[str, Any], model: str, path: Path) -> dict[str, Any]:
    """Our `model:` options. Raises UserError for what would be computed otherwise here."""
    read = dict(arch)

    def take(key: str, default: Any = None) -> Any:
        if key not in read and default is None:
            raise UserError(f"{path}: arch.{key} is missing")
        return read.pop(key, default)

    for key, value in FIXED.items():
        if read.pop(key, value) != value:
            raise UserError(f"{path}: arch.{key}={arch[key]}, but {value} is what is computed here")
    for key in (*IDLE, "name", "halt_max_steps", "halt_exploration_prob", "no_ACT_continue"):
        read.pop(key, None)
    width, width_of_table = take("hidden_size"), take("puzzle_emb_ndim")
    slow, layers = take("H_layers", 0), take("L_layers")
    positions, kind = take("pos_encodings"), take("forward_dtype", "bfloat16")
    length = take("puzzle_emb_len", 1 if model == "hrm" else 16)
    mixer = take("mlp_t", False)
    if width_of_table not in (0, width):
        raise UserError(f"{path}: arch.puzzle_emb_ndim={width_of_table}, but {width} or 0 is known")
    if positions not in POSITIONS or kind not in TYPES:
        raise UserError(
            f"{path}: arch.pos_encodings={positions} arch.forward_dtype={kind}: unknown"
        )
    found = {
        "name": model,
        "mix": "mixer" if mixer else "attention",
        "width": width,
        "heads": take("num_heads"),
        "layers": layers,
        "expansion": float(take("expansion")),
        "inner_multiple": 256,
        "positions": POSITIONS[positions],
        "prefix": length or math.ceil(width_of_table / width),
        "puzzle_embedding": bool(width_of_table),
        "recompute": False,
        "dtype": TYPES[kind],
        "H_cycles": take("H_cycles"),
        "L_cycles": take("L_cycles"),
    }
    if read:
        raise UserError(
            f"{path}: arch.{min(read)}={read[min(read)]}: an option that is unknown here"
        )
    if model == "hrm":
        return found | {"layers": max(slow, layers), "H_layers": slow, "L_layers": layers}
    return found


POSITIONS = {"rope": "rotary", "learned": "learned", "none": "none", None: "none"}


# ---- what its tokens are


def facts_of(options: AdoptConfig, state: dict[str, Tensor]) -> tuple[Facts, Notation, list | None]:
    """Of the data set, or as the user says: facts, notation and the names of ARC's tasks."""
    stated, names = {}, None
    if options.dataset:
        stated, names = read_dataset(Path(options.dataset))
    given = {"vocab_size": options.vocab_size, "seq_len": options.seq_len}
    given["num_puzzle_identifiers"] = options.num_puzzle_identifiers
    stated |= {key: value for key, value in given.items() if value is not None}
    for key in ("vocab_size", "seq_len"):
        value = stated.get(key)
        if type(value) is not int or not 1 <= value <= 1 << 16:
            raise UserError(
                f"{key} is not known; use dataset=PATH of its data set, or {key}=NUMBER"
            )
    table = state.get("inner.puzzle_emb.weights")
    identifiers = stated.get("num_puzzle_identifiers", 1 if table is None else len(table))
    vocab, cells = stated["vocab_size"], stated["seq_len"]
    rules = options.task or KNOWN.get((vocab, cells), "grid")
    if rules not in RULES:
        raise UserError(f"task={rules} is unknown; use one of {', '.join(RULES)}")
    side = math.isqrt(cells)
    facts = Facts(
        vocab_size=vocab,
        grid=(side, side) if side * side == cells else (1, cells),
        box=BOX.get(side) if rules == "sudoku" else None,
        num_puzzle_identifiers=identifiers,
    )
    alphabet = {"sudoku": "." + DIGITS[: max(vocab - 2, 0)], "maze": CHARACTERS}.get(rules, "")
    named = tasks_named(names) if rules == "arc" and names else None
    return facts, Notation(rules, alphabet, False), named


def read_dataset(path: Path) -> tuple[dict[str, Any], list[str] | None]:
    """What a `dataset.json` says, and the names of the identifiers beside it."""
    places = (path, path / "train" / "dataset.json", path / "dataset.json")
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise UserError(f"dataset={path}: no dataset.json there, nor in train/")
    names = next(
        (p / "identifiers.json" for p in file.parents[:2] if (p / "identifiers.json").is_file()),
        None,
    )
    return read_object(file), None if names is None else read_json(names)


def tasks_named(names: Any) -> list | None:
    """ARC's tasks by name, if the rows of each stand together."""
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        return None
    table, tasks = parse_names(names)
    together = (table.first[1:] == table.first[:-1] + table.count[:-1]).all()
    return named_tasks(tasks, table) if len(tasks) and together else None


# ---- writing


def adopted(options: AdoptConfig) -> tuple[Exported, torch.nn.Module]:
    """The description and the model. Raises UserError."""
    path, config = Path(options.checkpoint), Path(options.config)
    arch, state = read_arch(config), read_state(path)
    model = model_of(arch, config)
    words = [f"model={model}", "scale=paper", "device=cpu"]
    facts, notation, identifiers = facts_of(options, state)
    task = notation.rules
    usual = typed(Config, composed([f"task={task}", *words]))
    built = from_plain(MODELS[model].Config, options_of(arch, model, config), "model")
    rule = "correctness" if model == "trm" and arch.get("no_ACT_continue", True) else "q_learning"
    halting = HaltingConfig(
        rule, arch.get("halt_max_steps", 16), float(arch.get("halt_exploration_prob", 0.1)), 0.5
    )
    network = weights.build(built, facts, renamed(state, model, built, facts, path), CPU, str(path))
    description = Exported(
        facts=facts,
        notation=notation,
        identifiers=identifiers,
        model=built,
        gradient=usual.gradient,
        depth=usual.depth,
        halting=halting,
        eval=replace(usual.eval, puzzles=None, votes=0),
        task=task_options(task, facts),
        format=FORMAT,
        weights="raw",
        sha256=checkpoint.digest(network),
        made={"adopted": path.name, "reference": arch["name"], "versions": versions()},
    )
    description.settle()
    return description, network


def task_options(task: str, facts: Facts) -> dict[str, Any]:
    """Those of the published data, with no source: its files are the user's."""
    options = OmegaConf.to_container(composed([f"task={task}", "scale=paper"]).task)
    sizes = {"side": facts.grid[0], "canvas": facts.grid[0]}
    return options | {k: v for k, v in sizes.items() if k in options} | {"source": None}


def renamed(state, model: str, config, facts: Facts, path: Path) -> dict[str, Tensor]:
    """The tensors under our names, each held against the model. Raises UserError for the first
    that is unknown, missing or of another shape.
    """
    wanted = weights.skeleton(config, facts, len(state), str(path))
    found = {}
    for name, tensor in state.items():
        mine = ours(name, model)
        if mine not in wanted:
            raise UserError(f"{path}: {name[:80]} is no tensor of such a {model.upper()}")
        if tuple(tensor.shape) != wanted[mine][0]:
            shapes = " x ".join(map(str, tensor.shape)), " x ".join(map(str, wanted[mine][0]))
            raise UserError(
                f"{path}: {name[:80]} is {shapes[0]}, where the configuration asks for {shapes[1]}"
            )
        found[mine] = tensor.to(wanted[mine][1])
    for mine in sorted(wanted.keys() - found.keys()):
        raise UserError(f"{path}: a tensor is missing, here called {mine}")
    return found


def main(words: DictConfig) -> None:
    options = typed(AdoptConfig, words)
    out = Path(options.out)
    refuse_taken(out)
    description, network = adopted(options)
    exported.write(out, description, network)
    kind = f"{description.model.name} of {description.made['adopted']}"
    print(f"{out}: {kind}, read as task={description.notation.rules}, sha256 {description.sha256}")
    if description.notation.rules == "grid" and options.task is None:
        print("note: its tokens are numbers here; say task=sudoku, maze or arc where they are that")


if __name__ == "__main__":
    command("adopt", main)
