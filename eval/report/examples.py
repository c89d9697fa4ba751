"""Some puzzles of the test split that a run's model solves and some that it fails, as pictures."""

import hashlib

import numpy as np

from eval.load import Examined, model_for, puzzles_for
from eval.page import paragraph
from eval.picture import as_img, picture
from eval.report.seen import Seen
from tinyreason.errors import UserError
from tinyreason.puzzle import Rows

USUAL = 4  # solved, and failed
LOOKED = 64  # puzzles that are tried where no result says which are solved
STYLE = """
.example { margin: .3rem 1rem .9rem 0; padding: .6rem .7rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; max-width: 100%; }
.example figcaption { margin-top: .4rem; }
.example .row { gap: .6rem; }
.example .row > div { width: 8.6rem; max-width: 100%; font-size: .85rem; color: var(--soft); }
.example.large .row > div { width: 17rem; }
.example img { width: 100%; height: auto; display: block; }
"""
LARGE = 12  # rows or columns from which a picture needs more room


def examples(run: Seen, most: int) -> str:
    """`most` solved and `most` failed, solved anew by the model. Raises UserError where there is no
    model, or no puzzles.
    """
    if run.trained is None:
        raise UserError("its model cannot be built")
    examined = puzzles_for(run.trained, "test")
    rows = examined.puzzles.rows()
    if not (rows.labels != examined.task.facts.ignore_label_id).any():
        raise UserError("its test split has no puzzles with a known answer")
    run.trained.model = model_for(run.trained, examined.task, "own")
    solver = run.trained.solver()
    which, looked = chosen(run, rows, examined, most)
    few = Rows(*(field[which] for field in rows))
    attempt = solver(few, examined.task.facts)
    sure = attempt.confidence if solver.halting.learns else None
    solved = attempt.exact[:, -1]
    parts = []
    for title, kept in (("Solved", solved), ("Failed", ~solved)):
        shown = [
            example(examined, few, i, attempt.answers[i], told(which[i], i, sure))
            for i in np.flatnonzero(kept)[:most]
        ]
        nothing = paragraph(f"None of the {looked:,} that were looked at.")
        inside = f'<div class="row">{"".join(shown)}</div>' if shown else nothing
        parts.append(f"<h3>{title}</h3>{inside}")
    return "".join(parts)


def told(number: int, i: int, sure: np.ndarray | None) -> str:
    """Which puzzle it is, and how sure (of 1) the halting head is of the answer."""
    return f"test puzzle {number}" + ("" if sure is None else f", halting head {sure[i]:.0%} sure")


def chosen(run: Seen, rows: Rows, examined: Examined, most: int) -> tuple[np.ndarray, int]:
    """(M,) indices, and of how many puzzles they were chosen: the first `most` that the result says
    are solved and as many that are not; the first of all where it does not say, or the puzzles are
    others.
    """
    ignored = examined.task.facts.ignore_label_id
    known = np.flatnonzero((rows.labels != ignored).any(-1))
    told = run.test.get("solved", "")
    same = run.test.get("puzzles_sha256") == digest(rows.inputs[known])
    if not same or len(told) != len(known):
        return known[:LOOKED], min(len(known), LOOKED)
    solved = np.array(list(told)) == "1"
    which = np.concatenate((known[solved][:most], known[~solved][:most]))
    return np.sort(which), len(known)


def digest(inputs: np.ndarray) -> str:
    """As in result.json."""
    return hashlib.sha256(inputs.tobytes()).hexdigest()


def example(examined: Examined, rows: Rows, i: int, answer: np.ndarray, caption: str) -> str:
    """Question, answer and, where they differ, the truth, side by side."""
    facts, rules = examined.task.facts, examined.task.rules
    question, truth = rows.inputs[i], rows.labels[i]
    ignored = facts.ignore_label_id
    wrong = int(((answer != truth) & (truth != ignored)).sum())
    grids = [("question", question, None), ("answer", answer, truth)]
    if wrong:
        grids.append(("truth", truth, None))
        caption += f", {wrong} wrong " + ("cell" if wrong == 1 else "cells")
    shown = []
    for title, tokens, right in grids:
        drawn = picture(rules, question, tokens, right, ignored=ignored)
        img = as_img(drawn, f"{title}: {rules.text(question, tokens)}")
        shown.append(f"<div>{title}{img}</div>")
    large = " large" if max(facts.grid) >= LARGE else ""
    inside = f'<div class="row">{"".join(shown)}</div>'
    return f'<figure class="example{large}">{inside}<figcaption>{caption}</figcaption></figure>'
