"""Share a model: `python -m eval.export run=runs/NAME [out=DIR] [to=hub:owner/name]
[weights=ema|raw] [checkpoint=best|last|STEP]`

`out` gets `model.safetensors` and `config.json`, see `tinyreason/exported.py`; `to` pushes them to
the Hugging Face hub. `run` may itself be such a folder or `hub:owner/name[@revision]`: with `out`,
that pulls. `eval.solve run=` takes all three.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig

from conf.cli import command
from conf.schema import typed
from data.dataset import refuse_taken
from eval.load import open_run
from tinyreason import exported
from tinyreason.described import Described
from tinyreason.errors import UserError
from tinyreason.exported import CONFIG, FORMAT, WEIGHTS, Exported
from tinyreason.hub import hub_parts, reason_of
from tinyreason.models import RecursiveModel
from tinyreason.run import checkpoint
from tinyreason.run.chosen import state_of
from tinyreason.run.console import say
from tinyreason.run.machine import versions
from tinyreason.trained import Trained
from tinyreason.untrusted import read_object


@dataclass
class ExportConfig:
    """What to share, and where."""

    run: str
    out: str | None
    to: str | None
    weights: str  # ema | raw
    checkpoint: str  # best | last | a step


def share(trained: Trained) -> tuple[Exported, RecursiveModel]:
    """A run's model, or an exported one, and its description. Raises UserError."""
    config, run, model = trained.config, trained.path, trained.model
    if isinstance(config, Exported):
        return config, model
    state = state_of(run, trained.checkpoint)[1]
    step = state["step"]
    trained_in = state["made_on"].get("dtype", "float32")
    if config.model.dtype == "auto" and trained_in != "float32":
        say(f"note: trained in {trained_in}; an export answers in what its device multiplies fast")
    made = {
        "run": run.name,
        "step": step,
        "versions": versions(),
        "result": result_of(run, step),
    }
    stated = {one.name: getattr(config, one.name) for one in fields(Described)}
    description = Exported(
        **stated | {"task": exported.shareable(config.task)},
        format=FORMAT,
        weights=trained.weights,
        sha256=checkpoint.digest(model),
        made=made,
    )
    return description, model


def result_of(run: Path, step: int) -> dict | None:
    """What the run's result.json says of this step, but for the long rows of digits."""
    path = run / "result.json"
    result = read_object(path) if path.is_file() else {}
    if result.get("steps") != step or not isinstance(result.get("test"), dict):
        return None
    test = {
        key: value for key, value in result["test"].items() if key not in ("solved", "submission")
    }
    return result | {"test": test}


def push(folder: Path, to: str) -> None:
    """Upload to `hub:owner/name`; a repository that is not there yet is made, private. Raises
    UserError.
    """
    repository, revision = hub_parts(to, "to")
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError("to=hub:... needs the hub extra: pip install -e '.[hub]'") from None
    try:
        HfApi().create_repo(repository, private=True, exist_ok=True)
        HfApi().upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            allow_patterns=[CONFIG, WEIGHTS],
        )
    except (
        Exception
    ) as error:  # every transport fails in its own class; all of them are the user's to mend
        raise UserError(f"to={to}: cannot be uploaded: {reason_of(error)}") from None


@contextmanager
def folder_for(out: str | None) -> Iterator[Path]:
    """`out`, new or empty, or a folder that is gone afterwards."""
    if out:
        refuse_taken(Path(out))
        yield Path(out)
    else:
        with TemporaryDirectory() as name:
            yield Path(name)


def main(words: DictConfig) -> None:
    options = typed(ExportConfig, words)
    if not options.out and not options.to:
        raise UserError("nowhere to export to; use out=DIR, to=hub:owner/name, or both")
    if options.to:
        hub_parts(options.to, "to")  # before minutes of loading
    with folder_for(options.out) as out:
        description, model = share(open_run(options.run, options.checkpoint, options.weights))
        exported.write(out, description, model)
        size = (out / WEIGHTS).stat().st_size
        print(
            f"{options.out or 'weights'}: {description.weights} "
            f"weights, {size:,} bytes, sha256 {description.sha256}"
        )
        if options.to:
            push(out, options.to)
            print(f"pushed to {options.to}; a new repository is private until you publish it")
    if description.task["source"] is None:
        print(
            "note: the puzzles were files, which are not "
            "shared; eval.solve takes theirs as source=PATH"
        )


if __name__ == "__main__":
    command("export", main)
