"""Share a model: `python -m eval.export run=runs/NAME [out=DIR] [to=hub:owner/name]
[weights=ema|raw]`

`out` gets `model.safetensors` and `config.json`, see `eval/exported.py`; `to` pushes them to the
Hugging Face hub. `run` may itself be such a folder or `hub:owner/name[@revision]`: with `out`, that
pulls. `eval.solve run=` takes all three.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig

from conf.cli import command, pick_device
from conf.schema import plain, typed
from data.dataset import refuse_taken
from data.registry import make_task
from data.sources import hub_parts, reason_of
from eval import exported
from eval.exported import CONFIG, FORMAT, WEIGHTS, Exported
from eval.load import Trained, newest_state, open_run, weights_of
from tinyreason import weights
from tinyreason.errors import UserError
from tinyreason.models import RecursiveModel
from tinyreason.puzzle import Facts
from tinyreason.run import checkpoint
from tinyreason.run.atomic import write_whole
from tinyreason.run.machine import versions
from tinyreason.untrusted import read_object


@dataclass
class ExportConfig:
    """What to share, and where."""

    run: str
    out: str | None
    to: str | None
    weights: str  # ema | raw


def share(trained: Trained, which: str) -> tuple[Exported, RecursiveModel]:
    """A run's model, or an exported one, and its description. Raises UserError."""
    device, config, run = pick_device("cpu"), trained.config, trained.path
    if isinstance(config, Exported):
        return config, trained.model(config.facts, which, device)
    path, state = newest_state(run)
    tensors = weights_of(state, which)
    facts = facts_of(config.task, tensors)
    model = weights.build(
        config.model, facts, tensors, device, f"{path} does not fit {run}/config.yaml"
    )
    made = {
        "run": run.name,
        "step": state["step"],
        "versions": versions(),
        "result": result_of(run, state["step"]),
    }
    sha256, task = checkpoint.digest(model), exported.shareable(config.task)
    description = Exported(
        format=FORMAT,
        weights=which,
        sha256=sha256,
        model=config.model,
        gradient=config.gradient,
        depth=config.depth,
        facts=facts,
        halting=config.halting,
        eval=config.eval,
        task=task,
        made=made,
    )
    return description, model


def facts_of(task: dict, tensors: dict) -> Facts:
    """Of a run's puzzles, without loading them: only ARC's identifiers are counted then, and the
    table has them.
    """
    facts, table = make_task(task).facts, tensors.get("encoder.puzzles.table")
    return facts if table is None else replace(facts, num_puzzle_identifiers=len(table))


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


def write(out: Path, description: Exported, model: RecursiveModel) -> None:
    """The two files, the description last."""
    out.mkdir(parents=True, exist_ok=True)
    weights.write(out / WEIGHTS, model.state_dict())
    write_whole(out / CONFIG, (json.dumps(plain(description), indent=1) + "\n").encode())


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
        description, model = share(open_run(options.run), options.weights)
        write(out, description, model)
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
