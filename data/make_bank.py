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

from data import sudoku_symmetry as symmetry
from data.sudoku import BANK

SIZE, SEED = 2000, 0
ALPHABET = ".123456789"
HEADER = "source,question,answer,explainer_rating"


def bank(path: Path) -> bytes:
    """The gzipped CSV. Raises ValueError for a malformed row."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ratings = np.array([float(row["explainer_rating"]) for row in rows])
    puzzles = [tokens_of([row[name] for row in rows]) for name in ("question", "answer")]
    rng = np.random.Generator(np.random.PCG64(SEED))
    hardest = rng.permuted(np.argsort(-ratings, kind="stable")[:SIZE])
    drawn = symmetry.draw(len(hardest), 9, rng)
    texts = (texts_of(drawn.apply(tokens[hardest])) for tokens in puzzles)
    lines = [
        f"sudoku_exchange_diabolical,{q},{a},{r}"
        for q, a, r in zip(*texts, ratings[hardest], strict=True)
    ]
    return gzip.compress(("\n".join([HEADER, *lines]) + "\n").encode(), mtime=0)


def tokens_of(texts: list[str]) -> np.ndarray:
    """(N, 81) uint8."""
    return np.array([[ALPHABET.index(c) + 1 for c in text] for text in texts], np.uint8)


def texts_of(tokens: np.ndarray) -> list[str]:
    """One string a row of `tokens` (N, 81)."""
    return ["".join(ALPHABET[token - 1] for token in row) for row in tokens.tolist()]


if __name__ == "__main__":
    try:
        BANK.write_bytes(bank(Path(sys.argv[1])))
    except (OSError, ValueError, KeyError, IndexError) as error:
        sys.exit(f"error: {error or __doc__.splitlines()[0]}")
