"""Use a trained model where only the library is installed.

    tinyreason solve run=exported puzzle=1...4.6....14..623.......1.4..534.6.
    tinyreason solve run=hub:owner/name puzzle=mine.txt json=answers.json
    cat mine.txt | tinyreason solve run=exported puzzle=-

run=           a folder that `python -m eval.export` wrote, a run's folder, or hub:owner/name
puzzle=        a grid, a text file with a grid a line (or one grid over its lines), or - for
               standard input
json=FILE      write the answers there instead of drawing them
segments=, halt=true, batch=, checkpoint=best|last|STEP, weights=ema|raw, device=
               as in `python -m eval.solve`

Training, evaluation and readers for other forms of files are commands of a checkout:
`python train.py task=sudoku model=trm`, `python -m eval.solve --help`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tinyreason.errors import UserError
from tinyreason.run.console import say, tell

WHERE = (
    "training lives in a checkout: python train.py task=sudoku model=trm; here: tinyreason solve"
)
KEYS = ("run", "puzzle", "json", "segments", "halt", "batch", "checkpoint", "weights", "device")
MOST = 64 << 20  # bytes of a file of puzzles


def main() -> None:
    """The command `tinyreason`: exit code 2 and one line for what the user can mend."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help") or "--help" in words or "-h" in words:
        say(__doc__.strip())
        return
    try:
        if words[0] != "solve":
            raise UserError(f"{words[0]}: {WHERE}")
        solve(options_of(words[1:]))
    except UserError as error:
        tell(f"error: {error}", sys.stderr)
        sys.exit(error.exit_code)


def options_of(words: list[str]) -> dict[str, str]:
    """key -> value. Raises UserError."""
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in KEYS:
            raise UserError(f"{word}: no option; there are {', '.join(f'{key}=' for key in KEYS)}")
        options[key] = value
    for key in ("run", "puzzle"):
        if key not in options:
            raise UserError(f"{key} is missing; see tinyreason --help")
    return options


def solve(options: dict[str, str]) -> None:
    """Answer what `puzzle=` asks."""
    from tinyreason.trained import load

    chosen = {k: options[k] for k in ("checkpoint", "weights", "device") if k in options}
    model = load(options["run"], **chosen)
    numbers = {key: number(key, options[key]) for key in ("segments", "batch") if key in options}
    halt = {"halt": options["halt"] == "true"} if "halt" in options else {}
    found = model.solve(puzzles_in(options["puzzle"], model), **numbers, **halt)
    if "json" not in options:
        say("\n\n".join(found.picture(i, sys.stdout.isatty()) for i in range(len(found))))
        return
    content = json.dumps(found.table(), indent=1) + "\n"
    Path(options["json"]).write_text(content, encoding="utf-8")
    say(f"wrote {options['json']}: {len(found)} answers")


def number(key: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise UserError(f"{key}={text} must be a whole number, 1 or more")
    return int(text)


def puzzles_in(puzzle: str, model: Any) -> Any:
    """A grid; the grids of a file or of standard input, one over all its lines or one a line."""
    path = Path(puzzle) if len(puzzle) < 1000 and "\n" not in puzzle else None
    if puzzle != "-" and (path is None or not path.is_file()):
        return puzzle
    if puzzle != "-" and path.stat().st_size > MOST:
        raise UserError(f"{puzzle}: larger than {MOST >> 20} MiB")
    text = sys.stdin.read(MOST) if puzzle == "-" else path.read_text(encoding="utf-8")
    try:
        model.rules.tokens(text)
    except UserError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise error from None
        return lines
    return text


if __name__ == "__main__":
    main()
