"""What each number of the report is, and whose it is: (name, one sentence with its formula,
source), by part of the report.

N puzzles; K segments, T of them as trained; 1[...] is 1 where it holds, else 0.
"""

from typing import NamedTuple

HRM = "Reasoning or Guessing, arXiv 2601.10679"
EQR = "EqR, arXiv 2605.21488"
TRM = "TRM, arXiv 2510.04871"
FINISH = "When Recursive Models Finish Computing (2026)"
OWN = "this project"


class Definition(NamedTuple):
    """Of one number."""

    name: str
    sentence: str
    source: str


DEFINITIONS: dict[str, tuple[Definition, ...]] = {
    "depth": (
        Definition(
            "exact (solved now)",
            "share of puzzles with every scored cell right after segment k: "
            "now(k) = 1/N sum_i 1[answer_i(k) = label_i]",
            TRM,
        ),
        Definition(
            "cells", "mean over puzzles of the share of scored cells that are right", f"HRM; {TRM}"
        ),
        Definition(
            "ever solved",
            "share of puzzles exact after some segment up to k: ever(k) = 1/N sum_i max_{j<=k} "
            "1[answer_i(j) = label_i]; no selection reaches it without knowing the labels",
            FINISH,
        ),
        Definition("regressions", "solved before and not now: ever(k) - now(k)", FINISH),
        Definition(
            "merely unfinished",
            "of the puzzles wrong after T, the share that is exact after some later segment",
            FINISH,
        ),
        Definition(
            "overthinking",
            "k* is the segment with the best now(k), the first of several; overthinking begins at "
            "the first later k from which on every now is below now(k*) with p < 0.05 in an exact "
            "McNemar test of the same puzzles, if that is the last quarter of the segments or "
            "more. k* is the best of K on these very puzzles, so p is too small",
            "the word: deep thinking, arXiv 2202.05826; the test: McNemar 1947; the rule: " + OWN,
        ),
        Definition(
            "error law",
            "1 - now(k) = e_inf + A exp(-k L), least squares over k = 1..K, 0 <= e_inf <= 1; "
            "standard errors from the curvature at the fit, as if segments were independent, "
            "which they are not: they are too small",
            "Parcae, arXiv 2604.12946",
        ),
    ),
    "residual": (
        Definition(
            "relative residual",
            "r(k) = |f(z) - z| / |f(z)| of the last whole recursion of segment k, z the latent "
            "that is read; median and quartiles over puzzles",
            EQR,
        ),
        Definition(
            "AUROC of the residual",
            "chance that a right answer has a lower r than a wrong one, a tie counting half "
            "(Mann-Whitney U / (n_right n_wrong)): 0.5 says nothing, 1 everything",
            "Hanley and McNeil 1982; as selector: " + EQR,
        ),
    ),
    "halting": (
        Definition("confidence", "c = sigmoid(halting logit) of an answer", f"HRM; {TRM}"),
        Definition(
            "AUROC of the confidence",
            "chance that a right answer has a higher c than a wrong one, a tie counting half",
            "Hanley and McNeil 1982",
        ),
        Definition(
            "reliability, calibration error",
            "ten bins of c of equal width; ECE = sum_b n_b / N |accuracy_b - mean c_b|",
            "Guo et al., arXiv 1706.04599",
        ),
        Definition(
            "accuracy by halting segment",
            "share of answers that is exact where the head says for the first time that it is "
            "finished, by that segment",
            "logs of sic; " + TRM,
        ),
        Definition(
            "stopping at a confidence",
            "exact accuracy and mean segments where the answer is taken at the first segment whose "
            "c is at least so much, else at the last trained one; eval.confidence is such a number",
            OWN,
        ),
        Definition(
            "false accepts",
            "puzzles that the head calls finished with a wrong answer, of those that it calls "
            "finished, at the first such segment",
            OWN,
        ),
    ),
    "settling": (
        Definition(
            "settled",
            "no scored cell of the answer changes in the last quarter of the segments "
            "(threshold 0 cells); else it wanders",
            "settle or wander: the rrm dissection of HRM and TRM; by answers: " + OWN,
        ),
        Definition(
            "late drift", "mean of r(k) over the last quarter of the segments", "the same; " + EQR
        ),
        Definition(
            "spurious", "settled on a wrong answer, of all puzzles and of those that settled", EQR
        ),
    ),
    "one_blank": (
        Definition(
            "one blank",
            "exact accuracy where the question is the solution with one random cell blank: a "
            "model that has a fixed point at the solution gets all. HRM is reported to fail",
            HRM,
        ),
    ),
    "retention": (
        Definition(
            "still solved",
            "of the puzzles exact after T, the share that is exact after 2 T, 4 T, ...",
            HRM,
        ),
    ),
    "sensitivity": (
        Definition(
            "another start",
            "every latent drawn anew at every position, a normal of deviation 1 cut at two "
            "deviations; models that draw their start draw another",
            EQR,
        ),
        Definition(
            "noise sigma",
            "z + sigma rms(z) n at the start of every segment, for each latent z and normal n; "
            "rms over the latent of one puzzle",
            "noise to get several tries: PTRM; as a test: " + OWN,
        ),
        Definition(
            "symmetries",
            "the puzzle under a random symmetry of one kind, the answer mapped back",
            "votes over symmetries: HRM, sic",
        ),
        Definition(
            "same answer", "share of puzzles whose scored cells are all as undisturbed", OWN
        ),
    ),
    "tokens": (
        Definition(
            "token correlation",
            "mean correlation of the latents of two different cells of a puzzle; 1: all cells "
            "have the same latent, a collapse",
            "Huginn, arXiv 2502.05171",
        ),
    ),
    "difficulty": (
        Definition(
            "difficulty",
            "Sudoku: guesses of this project's solver, and givens; mazes: steps of the shortest "
            "path, in quarters; other grids: cells, in quarters",
            "the buckets of guesses: tables of chenglou",
        ),
    ),
    "rules": (
        Definition(
            "valid",
            "the answer keeps the question and the rules: a full legal Sudoku, or any path from "
            "start to goal, whether or not it is the stored one",
            "mazes by connectivity: the rrm dissection",
        ),
        Definition("optimal", "a valid path that is as short as the shortest", OWN),
    ),
    "memory": (
        Definition(
            "memorisation",
            "exact accuracy after T on training puzzles, without augmentation, beside held-out "
            "training puzzles (valid) and test",
            "TRM issues 19 and 26: training 100 %, test falls",
        ),
        Definition(
            "onset",
            "the first evaluation of the log from which on training stays more than 10 points "
            "ahead of held-out puzzles; training as logged: augmented, where puzzles leave",
            OWN,
        ),
    ),
}
TITLES = {
    "depth": "Accuracy with more segments",
    "residual": "Does it come to rest, and is it right then?",
    "halting": "What the halting head knows",
    "settling": "Settle or wander",
    "one_blank": "One blank cell",
    "retention": "Does what is solved stay solved?",
    "sensitivity": "How little it takes to change the answer",
    "tokens": "Are the cells still different?",
    "difficulty": "By difficulty",
    "rules": "Does an answer keep the rules?",
    "memory": "Memory or skill",
}
