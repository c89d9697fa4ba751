"""What does more compute at test time bring, without retraining?
`python -m eval.think run=runs/NAME [method=segments|restarts|symmetries|noise] [select=NAME]
[chains=16] [segments=K] [json=FILE] [out=DIR] [answers=FILE.csv]`

N puzzles, M candidates, S cells.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from conf.cli import command
from conf.schema import typed
from eval.answer import as_csv
from eval.charts import NoPictures
from eval.cost.report import writable
from eval.load import open_run
from eval.think.methods import Setting
from eval.think.options import ThinkConfig, notes_of, selectors_of, setting_of
from eval.think.report import draw, summary, table
from eval.think.score import DEFINITIONS, baseline, rows_of, taken
from eval.think.select import SELECTORS
from eval.think.stages import Stage, chain_stages, segment_stages
from tinyreason.device import pick_device
from tinyreason.errors import UserError
from tinyreason.run.atomic import write_whole
from tinyreason.run.console import say
from tinyreason.solutions import Solutions
from tinyreason.solver import confidence_of

USUAL_CHAINS = 16
SOURCES = {
    "segments": "arXiv 2510.04871 (TRM), more segments than trained",
    "restarts": "arXiv 2605.21488 (EqR), random starts",
    "symmetries": "arXiv 2601.10679, arXiv 2601.19085: symmetric images, answers mapped back",
    "noise": "arXiv 2605.19943 (PTRM), Gaussian noise of sigma 0.3 at every segment",
}


def run(setting: Setting, options: ThinkConfig, usual: int) -> list[Stage]:
    """All chains or segments, with a bar."""
    chains = 1 if options.method == "segments" else options.chains or USUAL_CHAINS
    total = len(setting.rows.inputs) * chains
    with tqdm(total=total, unit="puzzle", disable=None, leave=False) as bar:
        if options.method == "segments":
            return segment_stages(setting, usual, bar.update)
        return chain_stages(setting, options.method, chains, bar.update)


def numbers(
    setting: Setting, options: ThinkConfig, rows: list[dict], notes: list[str], count: int
) -> dict:
    """Everything that was found, and how."""
    solver = setting.solver
    asked = ("run", "checkpoint", "weights", "split", "seed", "select")
    found = {"method": options.method} | {key: getattr(options, key) for key in asked}
    found |= {"sigma": options.sigma} if options.method == "noise" else {}
    names = rows[0]["selectors"]
    return found | {
        "source": None if options.source is None else str(options.source),
        "puzzles": count,
        "puzzles_sha256": hashlib.sha256(setting.rows.inputs.tobytes()).hexdigest(),
        "segments": solver.segments,
        "recursions_of_a_segment": solver.depth.total,
        "batch": solver.batch,
        "notes": notes,
        "definitions": DEFINITIONS,
        "selectors": {name: SELECTORS[name].definition for name in names},
        "method_source": SOURCES[options.method],
        "rows": rows,
    }


def write_answers(path: Path, setting: Setting, stage: Stage, name: str, known: np.ndarray) -> None:
    """What a selector takes of the most compute, as a table."""
    pool = stage.halted if SELECTORS[name].at_halt else stage.ended
    chosen, right = taken(stage, name)
    each = np.arange(len(chosen))
    answers, halt = pool.answers[each, chosen], pool.halt[each, chosen]
    found = Solutions(
        rules=setting.task.rules,
        questions=setting.rows.inputs,
        tokens=answers,
        checks=setting.task.check(setting.rows.inputs, answers),
        confidence=confidence_of(halt) if setting.solver.halting.learns else None,
        segments=np.minimum(pool.when[each, chosen], stage.segments),
    )
    lines = found.table()
    for i, line in enumerate(lines):
        if stage.chains > 1:
            line["chain"] = int(chosen[i])
        if known.any():
            line["exact"] = bool(right[i]) if known[i] else ""
    write_whole(path, as_csv(lines).encode())
    say(f"wrote {path}")


def save(found: dict, options: ThinkConfig, out: Path | None) -> None:
    """The numbers to `json=` and `out=`, the curves there too."""
    content = (json.dumps(found, indent=1) + "\n").encode()
    if options.json:
        write_whole(Path(options.json), content)
        say(f"wrote {options.json}")
    if out is None:
        return
    name = f"think-{options.method}"
    write_whole(out / f"{name}.json", content)
    written = f"wrote {out / name}.json"
    title = f"{options.run}, method={options.method}, {found['puzzles']:,} puzzles"
    try:
        draw(found["rows"], title, options.select, out / f"{name}.png")
        say(f"{written} and {out / name}.png")
    except NoPictures as reason:
        say(f"{written}; {reason}")


def refuse_existing(options: ThinkConfig, out: Path | None) -> None:
    """Raises UserError for a file that is there already."""
    named = {"json": options.json, "answers": options.answers}
    found = [(key, Path(path)) for key, path in named.items() if path]
    if out:
        found += [("out", out / f"think-{options.method}.{kind}") for kind in ("json", "png")]
    for key, path in found:
        if path.exists():
            raise UserError(f"{key}=: {path} is there already; name another, or move it away")


def folder(name: str | None) -> Path | None:
    """That of `out=`, made now rather than after the work. Raises UserError."""
    if name is None:
        return None
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out={name}: {error.strerror}") from None
    return Path(name)


def main(words: DictConfig) -> None:
    options = typed(ThinkConfig, words)
    options.check()
    out = folder(options.out)
    answers = writable("answers", options.answers)
    writable("json", options.json)
    refuse_existing(options, out)
    device = pick_device(options.device)
    trained = open_run(options.run, options.checkpoint, options.weights, device)
    usual = trained.usual_segments
    setting, examined = setting_of(trained, options)
    names = selectors_of(options, setting.solver.halting.learns)
    known = (setting.rows.labels != setting.task.facts.ignore_label_id).any(-1)
    if not known.any() and answers is None:
        raise UserError(
            "no answer is known, so nothing is scored; use select=vote answers=FILE.csv"
        )
    notes = notes_of(setting, examined, trained, options)
    for line in (examined.task.notes if options.source else []) + notes:
        say(f"note: {line}")
    stages = run(setting, options, usual)
    if answers:
        write_answers(answers, setting, stages[-1], options.select, known)
    if not known.any():
        say(f"{len(known)} answered; no answer is known, so nothing is scored")
        return
    rows = rows_of(stages, names, setting.solver.depth.total, known, usual)
    what = "segments" if options.method == "segments" else "chains"
    say(table(rows, what, options.select))
    shown = [options.select] if options.select else names
    against = baseline(stages, usual)[1]
    for line in summary(rows[-1], shown, int(known.sum()), against):
        say(line)
    found = numbers(setting, options, rows, notes, int(known.sum()))
    save(found | {"baseline": against}, options, out)


if __name__ == "__main__":
    command("think", main)
