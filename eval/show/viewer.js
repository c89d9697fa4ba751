"use strict";
// Step through the trace of one puzzle; its format is stated in eval/show/trace.py.
//
//   const viewer = view(element, trace)     fills the element; viewer.go(step) moves

const SVG = "http://www.w3.org/2000/svg";
const ARC = ["#000000", "#0074d9", "#ff4136", "#2ecc40", "#ffdc00",
  "#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25"];
const WALL = 1, START = 3, GOAL = 4, PATH = 5; // tokens of a maze
const BLACK = 2; // the token of ARC's colour 0
const CELL = 10; // units of a drawing
const LEAST = 0.15; // of an ARC colour that is not sure at all
const PAUSE = [60, 450]; // milliseconds between steps, at least and at most
const PLAY = 9000; // milliseconds that all of them should take

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

const percent = (share) => `${(100 * share).toFixed(1)}\u202f%`; // a space that does not break

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
    const mark = square(row, column, "colour");
    mark.style.fill = colour;
    mark.style.opacity = LEAST + (1 - LEAST) * (look.shade[i] / 1000);
    return mark;
  });
  lines(svg, size, 1, 1, "thin");
}

// ---- curves over the steps

function curve(name, values, low, high, told) {
  return { name, values, low, high, told };
}

function curves(trace) {
  const steps = trace.steps, found = [];
  if (steps.some((step) => step.halt !== null)) {
    const halts = steps.map((step) => step.halt);
    found.push(curve("halting head", halts, 0, 1, percent));
  }
  const logs = steps.map((step) => Math.log10(Math.max(step.residual ?? 1, 1e-6)));
  const low = Math.min(-1, ...logs), told = (log) => (10 ** log).toPrecision(2);
  found.push(curve("relative residual (log)", logs, low, Math.max(0, ...logs), told));
  if (trace.truth) {
    const count = trace.scored.reduce((sum, one) => sum + one, 0);
    const right = steps.map((step) => {
      const wrong = step.answer.filter((t, i) => trace.scored[i] && t !== trace.truth[i]).length;
      return 1 - wrong / count;
    });
    found.push(curve("cells right", right, Math.min(...right, 0.5), 1, percent));
  }
  return found;
}

const WIDE = 240, HIGH = 44;

function plot(trace, one, go) {
  const count = trace.steps.length;
  const x = (i) => 4 + (i * (WIDE - 8)) / Math.max(count - 1, 1);
  const y = (v) => HIGH - 5 - ((v - one.low) * (HIGH - 10)) / (one.high - one.low || 1);
  const svg = draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "plot", "aria-hidden": "true" });
  const trained = trace.steps.findIndex((step) => step.segment > trace.trained.segments);
  if (trained > 0) {
    const at = (x(trained - 1) + x(trained)) / 2;
    svg.append(draw("path", { d: `M${at} 0v${HIGH}`, class: "trained" }));
  }
  const d = one.values.map((v, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`);
  svg.append(draw("path", { d: d.join(""), class: "line" }));
  const dot = draw("circle", { r: 3.2, class: "now" });
  svg.append(dot);
  svg.addEventListener("click", (event) => {
    const frame = svg.getBoundingClientRect();
    const share = ((event.clientX - frame.left) / frame.width * WIDE - 4) / (WIDE - 8);
    go(Math.round(share * (count - 1)));
  });
  const value = make("output", { class: "value" });
  const title = make("span", {}, `${one.name} `, value);
  return {
    element: make("div", { class: "curve" }, title, svg),
    at(i) {
      dot.setAttribute("cx", x(i));
      dot.setAttribute("cy", y(one.values[i]));
      value.textContent = one.told(one.values[i]);
    },
  };
}

// The latent's path on its two principal axes.
function pathPlot(trace) {
  const points = [trace.start, ...trace.steps.map((step) => step.at)];
  const across = points.map((p) => p[0]), up = points.map((p) => p[1]);
  const middle = (values) => (Math.min(...values) + Math.max(...values)) / 2;
  const reach = (values) => Math.max(...values) - Math.min(...values);
  const scale = 86 / (Math.max(reach(across), reach(up)) || 1);
  const place = ([x, y]) => [50 + scale * (x - middle(across)), 50 - scale * (y - middle(up))];
  const svg = draw("svg", { viewBox: "0 0 100 100", class: "latent", "aria-hidden": "true" });
  const d = points.map((p, i) => (i ? "L" : "M") + place(p).map((v) => v.toFixed(2)).join(" "));
  svg.append(draw("path", { d: d.join(""), class: "line" }));
  points.forEach((point, i) => {
    const [cx, cy] = place(point);
    svg.append(draw("circle", { cx, cy, r: i ? 1 : 2, class: i ? "stop" : "begin" }));
  });
  const dot = draw("circle", { r: 3, class: "now" });
  svg.append(dot);
  return {
    element: make("figure", { class: "small" }, make("figcaption", {}, "latent path"), svg),
    at(i) {
      const [cx, cy] = place(trace.steps[i].at);
      filled(dot, { cx, cy }, []);
    },
  };
}

// ---- everything together

function view(root, trace) {
  const task = trace.task, steps = trace.steps;
  const shown = [trace.question, ...steps.map((step) => step.answer)];
  if (trace.truth) shown.push(trace.truth);
  const size = extent(task, task.rules === "arc" ? shown : [trace.question]);
  let now = 0, cursor = null, timer = null;

  const grid = make("div", { class: "grid", tabindex: 0, role: "group" });
  const told = make("p", { class: "told", role: "status" });
  const cell = make("p", { class: "cell", role: "status" });
  const range = { type: "range", min: 0, max: steps.length - 1, value: 0, step: 1 };
  const slider = make("input", { ...range, "aria-label": "recursion" });
  const play = make("button", { type: "button" }, "Play");
  const back = make("button", { type: "button", "aria-label": "one recursion back" }, "‹");
  const on = make("button", { type: "button", "aria-label": "one recursion on" }, "›");
  const path = pathPlot(trace);
  const plots = curves(trace).map((one) => plot(trace, one, go));
  const question = make("figure", { class: "small" });
  question.append(make("figcaption", {}, "question"), still(trace.question));
  const sides = [path.element, question];
  if (trace.truth) {
    const truth = make("figure", { class: "small" });
    truth.append(make("figcaption", {}, "truth"), still(trace.truth));
    sides.push(truth);
  }
  const keys = "Arrow keys move the slider, Page Up and Page Down by a segment. On the grid they "
    + "move the cursor, whose cell is explained below it. Amber corners have changed"
    + (trace.truth ? ", red outlines are wrong" : "") + "; the bluer, the surer. "
    + "The latent's path begins at the ring and is seen on its two principal axes, which have "
    + `${trace.explained.map(percent).join(" and ")} of its variance.`;
  root.replaceChildren(
    make("div", { class: "viewer" },
      make("div", { class: "left" }, grid, make("div", { class: "controls" },
        back, play, on, slider), told, cell),
      make("div", { class: "right" }, ...plots.map((one) => one.element),
        make("div", { class: "stills" }, ...sides))),
    make("p", { class: "soft" }, keys),
  );

  function still(tokens) {
    const solved = task.rules === "maze" ? (t) => (t === PATH ? 1000 : 0) : () => 1000;
    return board(task, size, { question: trace.question, tokens, shade: tokens.map(solved) });
  }

  function go(step) {
    now = Math.min(Math.max(step, 0), steps.length - 1);
    const here = steps[now], before = now ? steps[now - 1].answer : null;
    slider.value = now;
    const said = sentence(here);
    slider.setAttribute("aria-valuetext", said);
    told.textContent = said;
    const { truth, scored, question } = trace;
    const look = { question, tokens: here.answer, shade: here.shade, before, truth, scored, cursor };
    grid.replaceChildren(board(task, size, look));
    grid.setAttribute("aria-label", `answer, ${said}`);
    [...plots, path].forEach((one) => one.at(now));
    explain();
  }

  function sentence(here) {
    const parts = [`segment ${here.segment}, recursion ${here.recursion}`];
    if (here.segment > trace.trained.segments) parts[0] += " (deeper than trained)";
    if (here.halt !== null) parts.push(`halting head ${percent(here.halt)}`);
    if (here.finished) parts.push("says finished");
    for (const [name, kept] of Object.entries(here.checks)) parts.push(kept ? name : `not ${name}`);
    if (here.exact !== null) parts.push(here.exact ? "exact" : "not exact");
    return parts.join(", ");
  }

  function explain() {
    if (cursor === null) {
      cell.textContent = "";
      return;
    }
    const here = steps[now], name = (token) => {
      if (task.rules === "arc") return token < BLACK ? ["beside", "end"][token] : `colour ${token - BLACK}`;
      if (task.rules === "maze") return ["beside", "wall", "open", "S", "G", "path"][token];
      return task.tokens[token];
    };
    const row = Math.floor(cursor / task.columns) + 1, column = (cursor % task.columns) + 1;
    const pairs = [[here.answer[cursor], here.sure[cursor]], ...(here.others[cursor] || [])];
    const chances = pairs.map(([token, chance]) => `${name(token)} ${percent(chance / 1000)}`);
    cell.textContent = `row ${row}, column ${column}: ${chances.join(", ")}`;
  }

  function point(row, column) {
    const r = Math.min(Math.max(row, 0), size.rows - 1);
    const c = Math.min(Math.max(column, 0), size.columns - 1);
    cursor = r * task.columns + c;
    go(now);
  }

  // read aloud what is stepped to, not what passes by
  function speak(on) {
    told.setAttribute("aria-live", on ? "polite" : "off");
  }

  function stop() {
    speak(true);
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function start() {
    if (now === steps.length - 1) go(0);
    play.textContent = "Pause";
    speak(false);
    timer = setInterval(() => {
      if (now === steps.length - 1) stop();
      else go(now + 1);
    }, Math.min(Math.max(PLAY / steps.length, PAUSE[0]), PAUSE[1]));
  }

  function segment(direction) {
    const wanted = steps[now].segment + direction;
    const last = steps.findLastIndex((step) => step.segment === wanted);
    if (last >= 0) go(last);
  }

  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
  slider.addEventListener("keydown", (event) => {
    const direction = { PageUp: 1, PageDown: -1 }[event.key];
    if (direction) {
      event.preventDefault();
      segment(direction);
    }
  });
  play.addEventListener("click", () => (timer ? stop() : start()));
  back.addEventListener("click", () => { stop(); go(now - 1); });
  on.addEventListener("click", () => { stop(); go(now + 1); });
  grid.addEventListener("keydown", (event) => {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!(event.key in move)) return;
    event.preventDefault();
    const [down, right] = move[event.key], place = cursor === null ? 0 : cursor;
    if (cursor === null) point(0, 0);
    else point(Math.floor(place / task.columns) + down, (place % task.columns) + right);
  });
  grid.addEventListener("click", (event) => {
    const frame = grid.firstChild.getBoundingClientRect();
    const row = ((event.clientY - frame.top) / frame.height) * size.rows;
    const column = ((event.clientX - frame.left) / frame.width) * size.columns;
    point(Math.floor(row), Math.floor(column));
  });
  go(steps.length - 1);
  return { go, start, stop, get length() { return steps.length; } };
}
