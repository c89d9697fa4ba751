"""Make the bank of hard Sudokus that ships with the project: `python -m data.make_bank CSV`.

CSV has the columns question, answer, explainer_rating. The hardest puzzles by that rating are
taken, each is given a random symmetry (public lists hold puzzles in a canonical form, which a
network could learn), and their order is shuffled. The same CSV gives the same puzzles.
`data/bank/README.md` says where they come from.
"""

import csv
import gzip
import sys
from pathlib import Path

import numpy as np

from data import sudoku_rules as rules
from data import sudoku_symmetry as symmetry
from data.sudoku import BANK
from tinyreason.errors import UserError

SIZE, SEED = 2000, 0
HEADER = "source,question,answer,explainer_rating"


def bank(path: Path) -> bytes:
    """The gzipped CSV. Raises UserError for a malformed row."""
    puzzles = rules.read(path, 9)
    with path.open(newline="", encoding="utf-8") as file:
        ratings = np.array([float(row["explainer_rating"]) for row in csv.DictReader(file)])
    rng = np.random.Generator(np.random.PCG64(SEED))
    hardest = rng.permuted(np.argsort(-ratings, kind="stable")[:SIZE])
    drawn = symmetry.draw(len(hardest), 9, rng)
    texts = (
        rules.decode(drawn.apply(tokens[hardest])) for tokens in (puzzles.inputs, puzzles.labels)
    )
    lines = [
        f"sudoku_exchange_diabolical,{q},{a},{r}"
        for q, a, r in zip(*texts, ratings[hardest], strict=True)
    ]
    return gzip.compress(("\n".join([HEADER, *lines]) + "\n").encode(), mtime=0)


if __name__ == "__main__":
    try:
        BANK.write_bytes(bank(Path(sys.argv[1])))
    except (UserError, IndexError) as error:
        sys.exit(f"error: {error if isinstance(error, UserError) else __doc__.splitlines()[0]}")
