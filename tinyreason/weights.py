"""Weights to share: a safetensors file, which holds names and numbers and nothing that runs.

Whoever hands us weights and the sizes of their model may lie about both. So the sizes are compared
first, with a model that has shapes and no memory, and memory is asked for only where all of them
agree.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from tinyreason.errors import UserError
from tinyreason.models import ModelConfig, RecursiveModel, make_model
from tinyreason.puzzle import Facts
from tinyreason.run.atomic import write_whole

MAX_HEADER = 1 << 20  # bytes; a hundred tensors take about 10,000
TYPES = {"F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16}
MAX_PREFIX = 4096  # tokens; published models have 16

Shapes = dict[str, tuple[tuple[int, ...], torch.dtype | None]]


def write(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write the state of a model, whole or not at all."""
    write_whole(
        path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    )


def read(path: Path, config: ModelConfig, facts: Facts, device: torch.device) -> RecursiveModel:
    """The model whose state `write` wrote.

    Raises UserError unless the file holds exactly that model's tensors.
    """
    refuse_misfits(config, facts, shapes_in(path), str(path))
    try:
        tensors = load_file(path)
    except Exception as error:
        raise UserError(f"{path}: damaged: {str(error)[:200]}") from None
    return build(config, facts, tensors, device, str(path))


def build(
    config: ModelConfig, facts: Facts, tensors: object, device: torch.device, where: str
) -> RecursiveModel:
    """A model with the state `tensors`.

    Raises UserError, `where: ...`, unless they are exactly the tensors of one.
    """
    if not isinstance(tensors, dict) or not all(
        isinstance(tensor, Tensor) for tensor in tensors.values()
    ):
        raise UserError(f"{where}: not the weights of a model")
    refuse_misfits(config, facts, shapes_of(tensors), where)
    model = make_model(config, facts, device)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(
            f"{where}: not the weights of this model: {' '.join(str(error).split())[:200]}"
        ) from None
    return model


def shapes_of(tensors: dict[str, Tensor]) -> Shapes:
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}


def shapes_in(path: Path) -> Shapes:
    """What the header of a safetensors file says; the library holds it against the size of the
    file.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing, or not a file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise UserError(f"{path}: no safetensors file, or one with a header of {length:,} bytes")
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no dict
            return {
                name: (tuple(s.get_shape()), TYPES.get(s.get_dtype())) for name, s in slices.items()
            }
    except Exception as error:  # the library's own error, or Python's for what it will not take
        raise UserError(f"{path}: no safetensors file, or damaged: {str(error)[:200]}") from None


def refuse_misfits(config: ModelConfig, facts: Facts, found: Shapes, where: str) -> None:
    """Raise UserError unless these are the tensors of such a model.

    Takes no memory, whatever sizes are claimed.
    """
    wanted = skeleton(config, facts, len(found), where)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            what = " is missing" if name not in found else f" is {told(found[name])}"
            other = "no tensor of this model" if name not in wanted else told(wanted[name])
            raise UserError(
                f"{where}: not the weights of this model: {name[:80]}{what}, not {other}"
            )


def skeleton(config: ModelConfig, facts: Facts, tensors: int, where: str) -> Shapes:
    """The tensors of a model of which `tensors` were found."""
    if (
        config.layers > tensors or config.prefix > MAX_PREFIX
    ):  # no tensor's shape tells these two in every model
        raise UserError(
            f"{where}: {tensors} tensors, for {config.layers} "
            f"layers and {config.prefix} prefix tokens"
        )
    try:
        with torch.device("meta"):
            return shapes_of(make_model(config, facts, torch.device("meta")).state_dict())
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{where}: there is no model of such sizes: {str(error).splitlines()[0][:200]}"
        ) from None


def told(shape: tuple[tuple[int, ...], torch.dtype | None]) -> str:
    kind = "of an unknown type" if shape[1] is None else str(shape[1]).removeprefix("torch.")
    return f"{' x '.join(map(str, shape[0])) or 'a single'} {kind}"
