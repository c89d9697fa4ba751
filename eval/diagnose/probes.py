"""What has to be run beside the one long look: puzzles that are all but solved, disturbances, and
how alike the latents of the cells become. Each takes a Subject, and raises LeftOut where it makes
no sense.

N puzzles, K segments, S cells.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from data.sudoku import Sudoku
from eval.diagnose import measures
from eval.diagnose.subject import LeftOut, Subject, followed, rng_of
from eval.disturb import begins, noisy, restarted, seeded
from tinyreason.exits import cells_of
from tinyreason.monitors import MOST, token_correlation
from tinyreason.noise import Noise
from tinyreason.puzzle import Rows

# streams of random numbers
BLANKS, SYMMETRIES = range(2)


def one_blank(subject: Subject) -> dict:
    """Exact accuracy after each segment where a single cell is missing."""
    if not isinstance(subject.task, Sudoku):
        raise LeftOut("only Sudokus have blank cells, of which all but one can be filled in")
    rows = with_one_blank(subject.rows, subject.task.rules.blank, rng_of(subject.seed, BLANKS))
    way = subject.follow(rows, "one blank")
    return {"exact": way.exact(rows.labels, subject.task.facts.ignore_label_id).mean(0)}


def with_one_blank(rows: Rows, blank: int, rng: np.random.Generator) -> Rows:
    """The solutions as questions, one random cell of each blank."""
    questions = rows.labels.copy()
    count, cells = questions.shape
    questions[np.arange(count), rng.integers(cells, size=count)] = blank
    return Rows(questions, rows.labels, rows.puzzle_ids)


def tokens(subject: Subject) -> dict:
    """How alike the latents of the cells of a puzzle are after each segment, in the first puzzles.

    The state after a segment is looked at where the next one begins, so there is one more.
    """
    sums = np.zeros(subject.segments + 1)

    def look(state: NamedTuple, k: int, noise: Noise) -> NamedTuple:
        z = cells_of(state[0], subject.rows.inputs.shape[1])
        sums[k] += len(z) * token_correlation(z).item()
        return state

    few = Rows(*(part[:MOST] for part in subject.rows))
    subject.follow(few, "token correlation", subject.segments + 1, look)
    return {"puzzles": len(few.inputs), "correlation": sums[1:] / len(few.inputs)}


# ---- sensitivity


def sensitivity(subject: Subject) -> dict:
    """After the trained segments: accuracy, and the share of puzzles with the same answer, under
    each disturbance.
    """
    plain = subject.way.answers[:, subject.at - 1]
    rows, left_out = [compared(subject, "as it is", plain)], []
    for probe in (restart, noise, symmetries):
        try:
            found = probe(subject)
        except LeftOut as reason:
            left_out.append(str(reason))
        else:
            rows += [compared(subject, name, answers) for name, answers in found.items()]
    return {"segments": subject.at, "rows": rows, "left_out": left_out}


def restart(subject: Subject) -> dict[str, np.ndarray]:
    """Answers (N, S) from another start."""
    if subject.trained.config.model.one_segment:
        raise LeftOut("another start: the model adds up what it reads, so it has no other start")
    solver, disturb = subject.solver, seeded(restarted, subject.seed)
    how = begins(solver, subject.rows, subject.task.facts)
    if how == "puzzle":
        raise LeftOut("another start: the model starts with the puzzle itself")
    if how == "drawn":
        solver, disturb = replace(solver, start=subject.seed + 1), None
    solver = replace(solver, segments=subject.at)
    way = followed(solver, subject.rows, subject.task, "another start", disturb)
    return {"another start": way.answers[:, -1]}


def noise(subject: Subject) -> dict[str, np.ndarray]:
    """Answers (N, S) with noise at the start of every segment, the same but for its size."""
    found = {}
    for sigma in subject.sigmas:
        disturb = seeded(noisy(sigma), subject.seed)
        name = f"noise {sigma:g}"
        found[name] = subject.follow(subject.rows, name, subject.at, disturb).answers[:, -1]
    return found


def symmetries(subject: Subject) -> dict[str, np.ndarray]:
    """Answers (N, S) to the puzzles under a symmetry, mapped back."""
    task, found = subject.task, {}
    if not task.kinds:
        raise LeftOut("symmetries: the task has none that are known")
    for number, kind in enumerate(task.kinds):
        image = task.image(subject.rows, rng_of(subject.seed, SYMMETRIES + number), kind)
        way = subject.follow(image.rows, kind, subject.at)
        found[kind] = image.back(way.answers[:, -1])
    return found


def compared(subject: Subject, name: str, answers: np.ndarray) -> dict:
    """How right `answers` (N, S) are, and how many are as without the disturbance."""
    plain = subject.way.answers[:, subject.at - 1]
    ignored = ~subject.scored
    exact = ((answers == subject.rows.labels) | ignored).all(1)
    same = ((answers == plain) | ignored).all(1)
    return {"what": name, "exact": measures.share(exact), "same": measures.share(same)}
