"""Puzzles and answers as pictures, with Pillow (the viz extra).

Sudokus with their boxes, mazes with the path as a line, ARC in its own colours, any other grid as
text. What a model filled in is blue and the bluer the surer it is, what has changed has an amber
corner, and what is wrong a red outline, where the truth is known.

S cells of a puzzle, row-major.
"""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eval.page import text
from tinyreason.errors import UserError
from tinyreason.rules import Rules
from tinyreason.rules.maze import GOAL, PATH, START, WALL

try:
    from PIL import Image, ImageDraw, ImageFont
except ImportError:  # said in one line by `need_pillow`
    Image = None

SHARP = 3  # drawn so many times larger: edges come out smooth
MOST = 640  # pixels of a side
CELL = 52  # pixels, at most
GAP = 18  # pixels around and between grids
INK, SOFT, LINE, GROUND = "#1b1d21", "#565b64", "#c9c5bd", "#ffffff"
FILLED, SURE, AMBER, RED = "#134a8e", "#b9d6f7", "#e8a200", "#d01f2e"
STONE, GREEN = "#3a3e46", "#1a7431"
# the ten of ARC, as its own pages show them
ARC = ("#000000", "#0074d9", "#ff4136", "#2ecc40", "#ffdc00")
ARC += ("#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25")
BLACK = 2  # the token of ARC's colour 0
SHRINK = 0.35  # of a cell, at each side of an ARC colour that is not sure at all


@dataclass
class Grid:
    """What is to be drawn of a puzzle; arrays are (S,)."""

    rules: Rules
    question: np.ndarray  # tokens
    tokens: np.ndarray  # those that are shown
    shade: np.ndarray  # from 0 to 1, see `sure`
    changed: np.ndarray  # bool
    wrong: np.ndarray  # bool

    @property
    def filled(self) -> np.ndarray:
        """(S,) bool: what is not as in the question."""
        return self.tokens != self.question


def need_pillow() -> None:
    """Raises UserError without Pillow."""
    if Image is None:
        raise UserError("for pictures, pip install -e '.[viz]'")


def picture(
    rules: Rules,
    question: np.ndarray,
    tokens: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    before: np.ndarray | None = None,
    shade: np.ndarray | None = None,
    ignored: int | None = 0,
    shown: list[np.ndarray] | None = None,
) -> "Image.Image":
    """One grid of `tokens` (S,), an answer to `question` (S,) or the question itself.

    `truth` (S,) outlines what is wrong, less cells that are `ignored` there; `before` (S,) marks
    what has changed; `shade` (S,) from 0 to 1 says how sure each cell is; the grid is as large as
    it takes to draw this, or all of `shown`. Raises UserError without Pillow.
    """
    need_pillow()
    nothing = np.zeros(len(tokens), bool)
    wrong = nothing if truth is None else (tokens != truth) & (truth != ignored)
    changed = nothing if before is None else tokens != before
    shade = sure(rules, tokens) if shade is None else shade
    grid = Grid(rules, question, tokens, shade, changed, wrong)
    if shown is None:
        shown = [question, tokens] if truth is None else [question, tokens, truth]
    rows, columns = extent(rules, shown)
    paper = Paper(rows, columns, rules.columns)
    DRAWN.get(rules.notation.rules, text_cells)(paper, grid)
    marks(paper, grid)
    return paper.image()


def sure(rules: Rules, tokens: np.ndarray) -> np.ndarray:
    """(S,) the shade of what is known: of a maze the path alone has any."""
    return (tokens == PATH) * 1.0 if rules.notation.rules == "maze" else np.ones(len(tokens))


def extent(rules: Rules, shown: list[np.ndarray]) -> tuple[int, int]:
    """Rows and columns that hold all that is shown."""
    if rules.notation.rules != "arc":
        return rules.extent(shown[0])
    inside = np.any([one >= BLACK for one in shown], axis=0).reshape(rules.facts.grid)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return (int(rows[-1]) + 1, int(columns[-1]) + 1) if len(rows) else (1, 1)


class Paper:
    """A sheet with a grid of cells, and brushes that take rows and columns."""

    def __init__(self, rows: int, columns: int, stride: int):
        self.rows, self.columns, self.stride = rows, columns, stride
        self.cell = SHARP * min(CELL, MOST // max(rows, columns))
        edge = 2 * SHARP  # half of the thickest line
        self.edge = edge
        size = (columns * self.cell + 2 * edge + 1, rows * self.cell + 2 * edge + 1)
        self.sheet = Image.new("RGB", size, GROUND)
        self.brush = ImageDraw.Draw(self.sheet)

    def cells(self):
        """(row, column, place in an array) of each."""
        for row in range(self.rows):
            for column in range(self.columns):
                yield row, column, row * self.stride + column

    def at(self, row: float, column: float) -> tuple[float, float]:
        """The point, in pixels."""
        return self.edge + column * self.cell, self.edge + row * self.cell

    def fill(self, row: int, column: int, colour: str, inset: float = 0.0) -> None:
        near = self.at(row + inset, column + inset)
        far = self.at(row + 1 - inset, column + 1 - inset)
        self.brush.rectangle((near, far), fill=colour)

    def outline(self, row: int, column: int, colour: str) -> None:
        inset = 0.07
        box = (self.at(row + inset, column + inset), self.at(row + 1 - inset, column + 1 - inset))
        self.brush.rounded_rectangle(box, self.cell * 0.12, outline=colour, width=self.thick(0.07))

    def corner(self, row: int, column: int, colour: str) -> None:
        """A triangle at the top right."""
        points = (
            self.at(row, column + 0.7),
            self.at(row, column + 1),
            self.at(row + 0.3, column + 1),
        )
        self.brush.polygon(points, fill=colour)

    def letter(self, row: int, column: int, text: str, colour: str, size: float = 0.62) -> None:
        font = ImageFont.load_default(max(self.cell * size, 1))
        middle = self.at(row + 0.5, column + 0.5)
        self.brush.text(middle, text, fill=colour, font=font, anchor="mm")

    def line(self, start: tuple, end: tuple, colour: str, width: float) -> None:
        """`width` in cells."""
        self.brush.line((self.at(*start), self.at(*end)), fill=colour, width=self.thick(width))

    def dot(self, row: int, column: int, colour: str, radius: float) -> None:
        box = (self.at(row + 0.5 - radius, column + 0.5 - radius),)
        box += (self.at(row + 0.5 + radius, column + 0.5 + radius),)
        self.brush.ellipse(box, fill=colour)

    def rule(self, high: int, wide: int, colour: str, width: float) -> None:
        """Lines around every `high` rows and `wide` columns."""
        for row in range(0, self.rows + 1, high):
            self.line((row, 0), (row, self.columns), colour, width)
        for column in range(0, self.columns + 1, wide):
            self.line((0, column), (self.rows, column), colour, width)

    def thick(self, width: float) -> int:
        return max(round(self.cell * width), SHARP)

    def image(self) -> "Image.Image":
        """In its true size."""
        size = (self.sheet.width // SHARP, self.sheet.height // SHARP)
        return self.sheet.resize(size, Image.Resampling.LANCZOS)


def mixed(share: float, colour: str, ground: str = GROUND) -> str:
    """`share` of a colour on a ground."""
    pairs = zip(channels(colour), channels(ground), strict=True)
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


def channels(colour: str) -> list[int]:
    """Red, green and blue."""
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


# ---- kinds of puzzles


def text_cells(paper: Paper, grid: Grid) -> None:
    """Characters in cells, with lines between boxes where there are boxes."""
    filled = grid.filled
    for row, column, i in paper.cells():
        if filled[i]:
            paper.fill(row, column, mixed(float(grid.shade[i]), SURE))
    paper.rule(1, 1, LINE, 0.02)
    if grid.rules.facts.box:
        paper.rule(*grid.rules.facts.box, INK, 0.055)
    else:
        paper.rule(paper.rows, paper.columns, INK, 0.04)
    for row, column, i in paper.cells():
        token = int(grid.tokens[i])
        if token and (token != grid.rules.blank or grid.rules.blank is None):
            character = grid.rules.character(token)
            paper.letter(row, column, character, FILLED if filled[i] else INK)


def maze_cells(paper: Paper, grid: Grid) -> None:
    """Walls, and the path as a line from cell to cell; how likely each cell is on it, as shade."""
    for row, column, i in paper.cells():
        wall = grid.question[i] == WALL
        tint = mixed(float(grid.shade[i]), SURE) if grid.filled.any() else GROUND
        paper.fill(row, column, STONE if wall else tint)
    paper.rule(1, 1, LINE, 0.02)
    paper.rule(paper.rows, paper.columns, INK, 0.05)
    on = {
        (row, column) for row, column, i in paper.cells() if grid.tokens[i] in (START, GOAL, PATH)
    }
    drawn = {(row, column) for row, column, i in paper.cells() if grid.tokens[i] == PATH}
    for row, column in on:
        for other in ((row + 1, column), (row, column + 1)):
            if other in on and ((row, column) in drawn or other in drawn):
                ends = [(r + 0.5, c + 0.5) for r, c in ((row, column), other)]
                paper.line(*ends, FILLED, 0.2)
    for row, column in drawn:
        paper.dot(row, column, FILLED, 0.1)
    for row, column, i in paper.cells():
        for token, colour, letter in ((START, GREEN, "S"), (GOAL, RED, "G")):
            if grid.question[i] == token:
                paper.dot(row, column, colour, 0.38)
                paper.letter(row, column, letter, GROUND, 0.5)


def arc_cells(paper: Paper, grid: Grid) -> None:
    """Colours, smaller where the model is less sure; cells beside the grid are empty."""
    for row, column, i in paper.cells():
        token = int(grid.tokens[i])
        if BLACK <= token < BLACK + len(ARC):
            inset = SHRINK * (1 - float(grid.shade[i]))
            paper.fill(row, column, ARC[token - BLACK], inset)
    paper.rule(1, 1, SOFT, 0.03)


DRAWN: dict[str, Callable[[Paper, Grid], None]] = {"maze": maze_cells, "arc": arc_cells}


def marks(paper: Paper, grid: Grid) -> None:
    """What has changed, and what is wrong."""
    for row, column, i in paper.cells():
        if grid.changed[i]:
            paper.corner(row, column, AMBER)
        if grid.wrong[i]:
            paper.outline(row, column, RED)


# ---- sheets


def beside(titled: list[tuple[str, "Image.Image"]], below: str = "") -> "Image.Image":
    """Pictures in a row, each under its title, and a line below."""
    font = ImageFont.load_default(17)
    head, foot = 28, 30 if below else 0
    width = sum(image.width for _, image in titled) + GAP * (len(titled) + 1)
    height = max(image.height for _, image in titled) + head + foot + 2 * GAP
    sheet = Image.new("RGB", (width, height), GROUND)
    brush, x = ImageDraw.Draw(sheet), GAP
    for title, image in titled:
        brush.text((x, GAP), title, fill=INK, font=font)
        sheet.paste(image, (x, GAP + head))
        x += image.width + GAP
    if below:
        brush.text((GAP, height - GAP - 16), below, fill=SOFT, font=ImageFont.load_default(15))
    return sheet


def few_colours(image: "Image.Image") -> "Image.Image":
    """A third of the bytes; rare colours, which mark what matters, stay as they are."""
    return image.quantize(192, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def as_png(image: "Image.Image") -> bytes:
    """The bytes of a file."""
    content = io.BytesIO()
    few_colours(image).save(content, "PNG", optimize=True)
    return content.getvalue()


def as_img(image: "Image.Image", alt: str) -> str:
    """For a page."""
    content = base64.b64encode(as_png(image)).decode()
    size = f'width="{image.width}" height="{image.height}"'
    return f'<img {size} alt="{text(alt)}" src="data:image/png;base64,{content}">'
