"""How does a trained model reason, and how does it fail?
`python -m eval.diagnose run=runs/NAME [segments=64] [out=DIR]`

One report: accuracy far beyond the trained segments, whether the latent settles and the halting
head knows, what disturbs it, what it finds hard, and whether it remembers rather than reasons.
`definitions` says what each number is and whose it is.
"""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from conf.cli import command
from conf.schema import DiagnoseConfig, at_least, typed
from eval.charts import NoPictures
from eval.diagnose import draw, page, probes, report, sections
from eval.diagnose.definitions import DEFINITIONS
from eval.diagnose.memory import memory
from eval.diagnose.subject import LeftOut, Subject, answered
from eval.load import Examined, model_for, open_run, puzzles_for
from eval.page import write
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.models import parameter_count
from tinyreason.run.console import say
from tinyreason.trained import Trained

MOST_NOISE = 8  # sigmas
DEEPER, DEEPEST = 8, 64  # times as deep as trained, at most so many segments
NAMES = ("diagnose.json", "diagnose.png", "diagnose.html")
PARTS: dict[str, Callable[[Subject], object]] = {
    "depth": sections.depth,
    "residual": sections.residual,
    "halting": sections.halting,
    "settling": sections.settling,
    "retention": sections.retention,
    "rules": sections.rules,
    "difficulty": sections.difficulty,
    "one_blank": probes.one_blank,
    "sensitivity": probes.sensitivity,
    "tokens": probes.tokens,
    "memory": memory,
}


def diagnosed(subject: Subject) -> dict:
    """Every part of the report, and a line for each that is left out."""
    found, left_out = {}, []
    for name, part in PARTS.items():
        try:
            found[name] = part(subject)
        except LeftOut as reason:
            left_out.append({"what": name.replace("_", " "), "why": str(reason)})
    return found | {"left_out": left_out}


def subject_of(options: DiagnoseConfig) -> tuple[Subject, Examined]:
    """Who is examined, on what. Raises UserError."""
    device = pick_device(options.device)
    trained = open_run(options.run, options.checkpoint, options.weights, device)
    chosen = options.split, options.source, options.max_puzzles
    examined = puzzles_for(trained, *chosen, options.task)
    trained.model = model_for(trained, examined.task, options.embedding)
    rows = answered(examined.task, examined.puzzles.rows(slice(options.max_puzzles)))
    if not len(rows.inputs):
        raise UserError(f"split={options.split}: no puzzle with a known answer; use another split")
    segments = trained.usual_segments
    deep = options.segments or trained.deeper(DEEPER, DEEPEST)
    subject = Subject(
        trained=trained,
        solver=trained.solver(deep, False, options.batch),
        task=examined.task,
        split=options.split,
        own=options.source is None,
        rows=rows,
        at=min(segments, deep),
        sigmas=options.sigmas,
        seed=options.seed,
    )
    return subject, examined


def about(subject: Subject, examined: Examined, options: DiagnoseConfig) -> dict:
    """What was examined, for whoever reads the numbers later."""
    trained: Trained = subject.trained
    seen, count = examined.trained_on, len(subject.rows.inputs)
    return {
        "run": options.run,
        "checkpoint": options.checkpoint,
        "weights": options.weights,
        "task": trained.config.task["name"],
        "model": trained.config.model.name,
        "parameters": parameter_count(trained.model),
        "split": options.split,
        "source": options.source,
        "puzzles": count,
        "trained_on": None if seen is None else int(seen[: options.max_puzzles].sum()),
        "trained_segments": trained.config.halting.segments,
        "at": subject.at,
        "segments": subject.segments,
        "sigmas": options.sigmas,
        "seed": options.seed,
    }


# ---- what is asked for, and what is written


def refuse(options: DiagnoseConfig) -> None:
    """Raises UserError for what cannot be done, before anything is read."""
    at_least(1, segments=options.segments, max_puzzles=options.max_puzzles, batch=options.batch)
    at_least(0, seed=options.seed)
    if len(options.sigmas) > MOST_NOISE:
        raise UserError(f"sigmas= has {len(options.sigmas)} numbers; use {MOST_NOISE} at most")
    for sigma in options.sigmas:
        if not 0 < sigma < math.inf:
            raise UserError(f"sigmas={sigma:g}: noise must be above 0, and finite")
    for key, path in targets(options).items():
        if path.exists():
            raise UserError(f"{key}: {path} is there already; name another, or move it away")


def targets(options: DiagnoseConfig) -> dict[str, Path]:
    """The files that will be written, their folders made. Raises UserError where that is not
    possible.
    """
    found = {}
    if options.json:
        found[f"json={options.json}"] = Path(options.json)
        if not Path(options.json).parent.is_dir():
            raise UserError(f"json={options.json}: there is no folder {Path(options.json).parent}")
    if options.out:
        folder = Path(options.out)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"out={options.out}: {error.strerror}") from None
        if not os.access(folder, os.W_OK):
            raise UserError(f"out={options.out}: files cannot be written there")
        found |= {f"out={options.out} ({name})": folder / name for name in NAMES}
    return found


def save(found: dict, options: DiagnoseConfig) -> None:
    """JSON, PNG and HTML, as asked for; say what is written."""
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    if options.json:
        Path(options.json).write_text(text, encoding="utf-8")
        say(f"wrote {options.json}")
    if not options.out:
        say("out=DIR also writes these numbers as JSON, PNG and HTML, with what each of them is")
        return
    data, picture, document = (Path(options.out) / name for name in NAMES)
    data.write_text(text, encoding="utf-8")
    write(document, page.document(found))
    try:
        draw.png(found, picture)
        say(f"wrote {data}, {picture} and {document}")
    except NoPictures as reason:
        say(f"wrote {data} and {document}; {reason}")


def main(words: DictConfig) -> None:
    options = typed(DiagnoseConfig, words)
    refuse(options)
    subject, examined = subject_of(options)
    for line in examined.task.notes if options.source else ():
        say(f"note: {line}")
    found = {"about": about(subject, examined, options)} | diagnosed(subject)
    told = {part: [one._asdict() for one in DEFINITIONS[part]] for part in PARTS if part in found}
    found = report.plain(found | {"definitions": told})
    say(report.table(found))
    save(found, options)


if __name__ == "__main__":
    command("diagnose", main)
