"use strict";
// A grid of tokens as a drawing: Sudokus, mazes, ARC, and any other as text. As eval/picture.py draws them.

const SVG = "http://www.w3.org/2000/svg";
const ARC = ["#000000", "#0074d9", "#ff4136", "#2ecc40", "#ffdc00",
  "#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25"];
const WALL = 1, START = 3, GOAL = 4, PATH = 5; // tokens of a maze
const BLACK = 2; // the token of ARC's colour 0
const CELL = 10; // units of a drawing
const SHRINK = 0.35; // of a cell, at each side of an ARC colour that is not sure at all

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  return filled(element, attributes, children);
}

function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  return filled(element, attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}


// ---- the grid

// The cells that are shown: a smaller puzzle stands at the top left of its grid.
function extent(task, grids) {
  let rows = 1, columns = 1;
  const least = task.rules === "arc" ? BLACK : 1;
  for (const tokens of grids) {
    tokens.forEach((token, i) => {
      if (token < least) return;
      rows = Math.max(rows, Math.floor(i / task.columns) + 1);
      columns = Math.max(columns, (i % task.columns) + 1);
    });
  }
  return { rows, columns };
}

// An SVG of tokens. look: {question, tokens, shade (per thousand), before, truth, scored, cursor}
function board(task, size, look) {
  const { rows, columns } = size;
  const box = `-0.6 -0.6 ${columns * CELL + 1.2} ${rows * CELL + 1.2}`;
  const svg = draw("svg", { viewBox: box, class: `board ${task.rules}`, "aria-hidden": "true" });
  const each = (paint) => {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const mark = paint(row, column, row * task.columns + column);
        if (mark) svg.append(mark);
      }
    }
  };
  const square = (row, column, kind, inset = 0) => draw("rect", {
    x: column * CELL + inset, y: row * CELL + inset, class: kind,
    width: CELL - 2 * inset, height: CELL - 2 * inset,
  });
  const isFilled = (i) => look.tokens[i] !== look.question[i];
  const kinds = { maze: mazeCells, arc: arcCells };
  (kinds[task.rules] || textCells)({ svg, task, size, look, each, square, isFilled });
  each((row, column, i) => {
    if (!look.before || look.before[i] === look.tokens[i]) return null;
    const x = (column + 1) * CELL, y = row * CELL;
    return draw("path", { d: `M${x - 3} ${y}h3v3z`, class: "changed" });
  });
  each((row, column, i) => {
    if (!look.truth || !look.scored[i] || look.truth[i] === look.tokens[i]) return null;
    const mark = square(row, column, "wrong", 0.7);
    mark.setAttribute("rx", 1.2);
    return mark;
  });
  if (look.cursor !== undefined && look.cursor !== null) {
    const row = Math.floor(look.cursor / task.columns), column = look.cursor % task.columns;
    svg.append(square(row, column, "cursor", 0.3));
  }
  return svg;
}

// [row, column] of the cell of a board that was clicked on.
function cellAt(grid, event, size) {
  const frame = grid.firstChild.getBoundingClientRect();
  const row = ((event.clientY - frame.top) / frame.height) * size.rows;
  const column = ((event.clientX - frame.left) / frame.width) * size.columns;
  return [Math.floor(row), Math.floor(column)];
}

function lines(svg, size, high, wide, kind) {
  for (let row = 0; row <= size.rows; row += high) {
    svg.append(draw("path", { d: `M0 ${row * CELL}h${size.columns * CELL}`, class: kind }));
  }
  for (let column = 0; column <= size.columns; column += wide) {
    svg.append(draw("path", { d: `M${column * CELL} 0v${size.rows * CELL}`, class: kind }));
  }
}

function letter(row, column, text, kind) {
  const at = { x: (column + 0.5) * CELL, y: (row + 0.5) * CELL, class: kind };
  return draw("text", { ...at, "text-anchor": "middle", "dominant-baseline": "central" }, text);
}

function textCells({ svg, task, size, look, each, square, isFilled }) {
  each((row, column, i) => {
    if (!isFilled(i)) return null;
    const mark = square(row, column, "sure");
    mark.style.opacity = look.shade[i] / 1000;
    return mark;
  });
  lines(svg, size, 1, 1, "thin");
  const [high, wide] = task.box || [size.rows, size.columns];
  lines(svg, size, high, wide, "thick");
  each((row, column, i) => {
    const token = look.tokens[i];
    if (!token || token === task.blank) return null;
    return letter(row, column, task.tokens[token], isFilled(i) ? "filled" : "given");
  });
}

function mazeCells({ svg, task, size, look, each, square, isFilled }) {
  const solving = look.tokens.some((token) => token === PATH);
  each((row, column, i) => {
    if (look.question[i] === WALL) return square(row, column, "wall");
    if (!solving) return null;
    const mark = square(row, column, "sure");
    mark.style.opacity = look.shade[i] / 1000;
    return mark;
  });
  lines(svg, size, 1, 1, "thin");
  lines(svg, size, size.rows, size.columns, "thick");
  const on = (row, column) => {
    if (row >= size.rows || column >= size.columns) return 0;
    const token = look.tokens[row * task.columns + column];
    return token === PATH ? 2 : token === START || token === GOAL ? 1 : 0;
  };
  each((row, column) => {
    let d = "";
    for (const [down, right] of [[1, 0], [0, 1]]) {
      const here = on(row, column), there = on(row + down, column + right);
      if (here && there && here + there > 2) {
        const x = (column + 0.5) * CELL, y = (row + 0.5) * CELL;
        d += `M${x} ${y}l${right * CELL} ${down * CELL}`;
      }
    }
    if (on(row, column) === 2) d += `M${(column + 0.5) * CELL} ${(row + 0.5) * CELL}h0`;
    return d ? draw("path", { d, class: "way" }) : null;
  });
  each((row, column, i) => {
    const end = { [START]: "S", [GOAL]: "G" }[look.question[i]];
    if (!end) return null;
    const at = { cx: (column + 0.5) * CELL, cy: (row + 0.5) * CELL, r: 3.9 };
    return draw("g", { class: `end ${end}` }, draw("circle", at), letter(row, column, end, ""));
  });
}

function arcCells({ svg, size, look, each, square }) {
  each((row, column, i) => {
    const colour = ARC[look.tokens[i] - BLACK];
    if (!colour) return null;
    const mark = square(row, column, "colour", (1 - look.shade[i] / 1000) * SHRINK * CELL);
    mark.style.fill = colour;
    return mark;
  });
  lines(svg, size, 1, 1, "thin");
}
