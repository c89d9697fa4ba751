"""Rows of a law from finished runs.

Parameters count as repeated if two recursions of a segment use them, and as used once otherwise;
embeddings and heads are left out. D is what was trained on: examples as the optimizer drew them, or
different puzzles.
"""

import csv
from copy import deepcopy
from pathlib import Path

import torch

from eval.compare import Run, read_run
from eval.load import open_run
from tinyreason.errors import UserError
from tinyreason.models import RecursiveModel
from tinyreason.noise import NoNoise
from tinyreason.puzzle import Batch, Facts
from tinyreason.run import puzzles
from tinyreason.run.folder import read_config

COLUMNS = ("run", "n_once", "n_rec", "r", "D", "loss", "exact")
COUNTED = ("examples", "unique")
OUTSIDE = ("encoder.", "heads.")  # of the networks that are counted


def collect(paths: list[Path], out: Path, D: str) -> int:
    """Write the CSV; how many rows. Raises UserError."""
    rows = [row_of(path, D) for path in paths]
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def row_of(path: Path, D: str) -> dict:
    """One run."""
    run, trained = read_run(path), open_run(path)
    once, repeated = parameters(trained.model, trained.config.facts)
    last = held_out(run)
    return {
        "run": path.name,
        "n_once": once,
        "n_rec": repeated,
        "r": trained.depth().total,
        "D": run.result["segments"] if D == "examples" else unique(path),
        "loss": last["answer_loss"],
        "exact": last["exact_accuracy"],
    }


def held_out(run: Run) -> dict:
    """The last evaluation on held-out puzzles, else that on test. Raises UserError."""
    found = [one for one in run.curve if "answer_loss" in one]
    if found:
        return found[-1]
    if "answer_loss" not in run.result["test"]:
        old = f"{run.path} was made by an earlier version, which did not write down its loss on"
        raise UserError(f"{old} puzzles that are not trained on; train it again, or leave it out")
    return run.result["test"]


def unique(path: Path) -> int:
    """Different training puzzles."""
    remembered = puzzles.read(path)
    if remembered is None:
        raise UserError(f"{path} does not say how many puzzles it had; use D=examples")
    read_config(path)
    return int(remembered.splits["train"]["examples"])


def parameters(model: RecursiveModel, facts: Facts) -> tuple[int, int]:
    """(used once, repeated), number by number: a tensor may have a part for each recursion."""
    model, generator = deepcopy(model), torch.Generator().manual_seed(0)
    own = {n: p for n, p in model.named_parameters() if not n.startswith(OUTSIDE)}
    for p in own.values():  # or what starts at zero would have no gradient
        torch.nn.init.normal_(p.requires_grad_(), std=0.3, generator=generator)
    tokens = torch.randint(1, facts.vocab_size, (8, facts.seq_len), generator=generator)
    batch = Batch(tokens.int(), tokens, torch.zeros(8, dtype=torch.int32))
    used = [torch.zeros_like(p, dtype=torch.int64) for p in own.values()]
    x = model.encode(batch).detach()
    state = model.start(x, NoNoise())
    state = type(state)(*(random_like(z, generator) for z in state))
    recursions = model.config.recursions
    for t in range(recursions):
        new = model.recur(state, x, t)
        value = sum(
            (z.float() * random_like(z.float(), generator)).sum() for z in new if z.requires_grad
        )
        grads = torch.autograd.grad(value, list(own.values()), allow_unused=True)
        for count, grad in zip(used, grads, strict=True):
            if grad is not None:
                count += grad != 0
        state = type(new)(*(z.detach() for z in new))
    least = 2 if recursions > 1 else 1
    repeated = sum(int((count >= least).sum()) for count in used)
    return sum(p.numel() for p in own.values()) - repeated, repeated


def random_like(z: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Numbers at random; what is no number stays."""
    if not z.is_floating_point():
        return z
    return torch.randn(z.shape, generator=generator, dtype=z.dtype)
