"use strict";
// Step through the trace of one puzzle; its format is stated in eval/show/trace.py.
//
//   const viewer = view(element, trace)     fills the element; viewer.go(step) moves
// Grids are drawn by board.js, which comes first.

const PAUSE = [60, 450]; // milliseconds between steps, at least and at most
const PLAY = 9000; // milliseconds that all of them should take
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const percent = (share) => `${(100 * share).toFixed(1)}\u202f%`; // a space that does not break

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

// ---- in words

// What is known after a step.
function sentence(trace, step) {
  const parts = [`segment ${step.segment}, recursion ${step.recursion}`];
  if (step.segment > trace.trained.segments) parts[0] += " (deeper than trained)";
  if (step.halt !== null) parts.push(`halting head ${percent(step.halt)}`);
  if (step.finished) parts.push("says finished");
  for (const [name, kept] of Object.entries(step.checks)) parts.push(kept ? name : `not ${name}`);
  if (step.exact !== null) parts.push(step.exact ? "exact" : "not exact");
  return parts.join(", ");
}

function tokenName(task, token) {
  if (task.rules === "arc") return ["beside", "end"][token] || `colour ${token - BLACK}`;
  if (task.rules === "maze") return ["beside", "wall", "open", "S", "G", "path"][token];
  return task.tokens[token];
}

// The likeliest tokens of a cell.
function chancesOf(task, step, cell) {
  const row = Math.floor(cell / task.columns) + 1, column = (cell % task.columns) + 1;
  const pairs = [[step.answer[cell], step.sure[cell]], ...(step.others[cell] || [])];
  const told = pairs.map(([token, p]) => `${tokenName(task, token)} ${percent(p / 1000)}`);
  return `row ${row}, column ${column}: ${told.join(", ")}`;
}

function keysOf(trace) {
  const wrong = trace.truth ? ", red outlines are wrong" : "";
  const shares = trace.explained.map(percent).join(" and ");
  const cycle = trace.steps[0].recursion;
  const steps = cycle > 1 ? `A step is a cycle of ${cycle} recursions: what is read changes at its `
    + "end alone. " : "";
  return `${steps}Arrow keys move the slider, Page Up goes on by a segment, Page Down back. On the `
    + `grid they move the cursor, whose cell is explained below it. Amber corners have changed${wrong}; the bluer, `
    + "the surer. The latent's path begins at the ring and is seen on its two principal axes, which "
    + `have ${shares} of its variance.`;
}

// ---- everything together

function controls(count) {
  const range = { type: "range", min: 0, max: count - 1, value: 0, step: 1 };
  const button = (text, label) => make("button", { type: "button", ...label }, text);
  return {
    slider: make("input", { ...range, "aria-label": "recursion" }),
    play: button("Play", {}),
    back: button("‹", { "aria-label": "one recursion back" }),
    on: button("›", { "aria-label": "one recursion on" }),
  };
}

// Question, truth and the latent's path, small.
function stills(trace, size, path) {
  const task = trace.task;
  const still = (name, tokens) => {
    const shade = tokens.map((t) => (task.rules !== "maze" || t === PATH ? 1000 : 0));
    const drawn = board(task, size, { question: trace.question, tokens, shade });
    return make("figure", { class: "small" }, make("figcaption", {}, name), drawn);
  };
  const sides = [path.element, still("question", trace.question)];
  if (trace.truth) sides.push(still("truth", trace.truth));
  return make("div", { class: "stills" }, ...sides);
}

function view(root, trace) {
  const { task, steps } = trace;
  const shown = [trace.question, ...steps.map((step) => step.answer)];
  if (trace.truth) shown.push(trace.truth);
  const size = extent(task, task.rules === "arc" ? shown : [trace.question]);
  let now = 0, cursor = null, timer = null;

  const grid = make("div", { class: "grid", tabindex: 0, role: "group" });
  const told = make("p", { class: "told", role: "status" });
  const cell = make("p", { class: "cell", role: "status" });
  const { slider, play, back, on } = controls(steps.length);
  const path = pathPlot(trace), plots = curves(trace).map((one) => plot(trace, one, jump));
  const bar = make("div", { class: "controls" }, back, play, on, slider);
  root.replaceChildren(
    make("div", { class: "viewer" },
      make("div", { class: "left" }, grid, bar, told, cell),
      make("div", { class: "right" }, ...plots.map((one) => one.element),
        stills(trace, size, path))),
    make("p", { class: "soft" }, keysOf(trace)),
  );

  function go(step) {
    now = Math.min(Math.max(step, 0), steps.length - 1);
    const here = steps[now], before = now ? steps[now - 1].answer : null;
    const said = sentence(trace, here);
    slider.value = now;
    slider.setAttribute("aria-valuetext", said);
    told.textContent = said;
    const { truth, scored, question } = trace;
    const look = { question, tokens: here.answer, shade: here.shade, before, truth, scored, cursor };
    grid.replaceChildren(board(task, size, look));
    grid.setAttribute("aria-label", `answer, ${said}`);
    [...plots, path].forEach((one) => one.at(now));
    cell.textContent = cursor === null ? "" : chancesOf(task, here, cursor);
  }

  function jump(step) {
    stop();
    go(step);
  }

  function point(row, column) {
    const r = Math.min(Math.max(row, 0), size.rows - 1);
    const c = Math.min(Math.max(column, 0), size.columns - 1);
    cursor = r * task.columns + c;
    go(now);
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    told.setAttribute("aria-live", "polite");
  }

  function start() {
    if (now === steps.length - 1) go(0);
    play.textContent = "Pause";
    told.setAttribute("aria-live", "off"); // read aloud what is stepped to, not what passes by
    timer = setInterval(() => {
      if (now === steps.length - 1) stop();
      else go(now + 1);
    }, Math.min(Math.max(PLAY / steps.length, PAUSE[0]), PAUSE[1]));
  }

  function segment(direction) {
    const wanted = steps[now].segment + direction;
    const last = steps.findLastIndex((step) => step.segment === wanted);
    if (last >= 0) jump(last);
  }

  slider.addEventListener("input", () => jump(Number(slider.value)));
  slider.addEventListener("keydown", (event) => {
    const direction = { PageUp: 1, PageDown: -1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    segment(direction);
  });
  play.addEventListener("click", () => (timer ? stop() : start()));
  back.addEventListener("click", () => jump(now - 1));
  on.addEventListener("click", () => jump(now + 1));
  grid.addEventListener("keydown", (event) => {
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    const [down, right] = ARROWS[event.key];
    if (cursor === null) point(0, 0);
    else point(Math.floor(cursor / task.columns) + down, (cursor % task.columns) + right);
  });
  grid.addEventListener("click", (event) => point(...cellAt(grid, event, size)));
  go(steps.length - 1);
  return { go, start, stop };
}
