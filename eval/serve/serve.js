"use strict";
// Ask for a puzzle, and watch it being solved. Boards and traces are drawn by viewer.js.

const about = JSON.parse(document.getElementById("about").textContent);
const task = about.task;
const part = (id) => document.getElementById(id);
const GENTLE = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const LATER = 250; // milliseconds that the depth slider has to rest

let tokens = new Array(task.rows * task.columns).fill(emptyToken());
let cursor = 0, tool = null, viewer = null, asked = 0, last = null, pasted = null, timer = null;

function emptyToken() {
  if (task.rules === "maze") return 2;
  if (task.rules === "arc") return 0;
  return task.blank === null ? 1 : task.blank;
}

// ---- the puzzle

const WALLS = { "#": WALL, " ": 2, s: START, g: GOAL };
const NAMES = { 1: "wall", 2: "open", 3: "S", 4: "G" };

// [token, what its button says] of everything that may be put into a cell.
function choices() {
  if (task.rules === "arc") return [];
  if (task.rules === "maze") return Object.entries(NAMES).map(([t, name]) => [Number(t), name]);
  const found = [];
  for (let token = 1; token < task.tokens.length && token <= 40; token++) {
    found.push([token, token === task.blank ? "erase" : task.tokens[token]]);
  }
  return found;
}

function tokenOf(key) {
  if (task.rules === "maze") return WALLS[key.toLowerCase()];
  if (["Backspace", "Delete", " ", "."].includes(key) && task.blank !== null) return task.blank;
  const same = (one) => one.toLowerCase() === key.toLowerCase();
  const token = task.tokens.findIndex((one, i) => i && same(one));
  return token > 0 ? token : undefined;
}

function put(cell, token) {
  if (token === START || token === GOAL) {
    // a maze has one of each
    if (task.rules === "maze") tokens = tokens.map((t) => (t === token ? 2 : t));
  }
  tokens[cell] = token;
  part("paste").value = ""; // what is seen is what is asked
  changed();
  paint();
}

// The puzzle is another one now: an answer that is still to come is not to it.
function changed() {
  asked++;
  last = null;
}

function size() {
  return extent(task, [tokens]);
}

const editor = make("div", { class: "grid", tabindex: 0, role: "application" });
editor.setAttribute("aria-roledescription", "puzzle editor");
part("editor").append(editor);

function paint() {
  const shade = tokens.map(() => 1000);
  const look = { question: tokens, tokens, shade, cursor: choices().length ? cursor : null };
  editor.replaceChildren(board(task, size(), look));
  const row = Math.floor(cursor / task.columns) + 1, column = (cursor % task.columns) + 1;
  const here = task.rules === "maze" ? NAMES[tokens[cursor]] : task.tokens[tokens[cursor]];
  const content = tokens[cursor] === task.blank && task.rules !== "maze" ? "blank" : here;
  editor.setAttribute("aria-label", `puzzle, row ${row}, column ${column}: ${content}`);
}

function move(down, right) {
  const { rows, columns } = size();
  const row = Math.min(Math.max(Math.floor(cursor / task.columns) + down, 0), rows - 1);
  const column = Math.min(Math.max((cursor % task.columns) + right, 0), columns - 1);
  cursor = row * task.columns + column;
  paint();
}

editor.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !choices().length) return;
  if (event.key in ARROWS) move(...ARROWS[event.key]);
  else if (event.key === "Enter") solve(true);
  else {
    let token = tokenOf(event.key);
    if (token === undefined) return;
    if (task.rules === "maze" && event.key === " ") token = tokens[cursor] === WALL ? 2 : WALL;
    put(cursor, token);
  }
  event.preventDefault();
});

editor.addEventListener("click", (event) => {
  if (!choices().length) return;
  const { rows, columns } = size(), [row, column] = cellAt(editor, event, { rows, columns });
  cursor = Math.min(row, rows - 1) * task.columns + Math.min(column, columns - 1);
  if (task.rules === "maze") put(cursor, tool ?? (tokens[cursor] === WALL ? 2 : WALL));
  else if (tool !== null) put(cursor, tool);
  else paint();
});

for (const [token, name] of choices()) {
  const button = make("button", { type: "button", "aria-pressed": "false" }, name);
  button.addEventListener("click", () => {
    const chosen = tool === token ? null : token;
    if (task.rules === "maze") setTool(chosen);
    else put(cursor, token);
  });
  button.dataset.token = token;
  part("pad").append(button);
}

function setTool(chosen) {
  tool = chosen;
  for (const button of part("pad").children) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.token) === tool));
  }
}

// ---- asking

async function post(path, question) {
  const headers = { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method: "POST", headers, body: JSON.stringify(question) });
  } catch {
    throw new Error("the server does not answer; is it still running?");
  }
  const found = await response.json().catch(() => ({ error: `status ${response.status}` }));
  if (!response.ok) throw new Error(found.error);
  return found;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('this is no JSON; paste a task as {"train": [...], "test": [...]}, or rows');
  }
}

// What is asked: what was pasted, or else the cells of the editor.
function puzzle() {
  const text = part("paste").value;
  if (task.rules === "arc") {
    if (text.trim()) pasted = parsed(text);
    if (pasted === null) throw new Error("paste the JSON of an ARC task");
    return pasted;
  }
  if (text.trim()) return text;
  const { rows, columns } = size(), grid = [];
  for (let row = 0; row < rows; row++) {
    const first = row * task.columns;
    // a gap in the middle of a smaller puzzle is an empty cell
    const cells = tokens.slice(first, first + columns).map((token) => token || emptyToken());
    grid.push(cells.map((token) => token - task.first));
  }
  return grid;
}

async function solve(watch) {
  const mine = ++asked, text = part("paste").value;
  part("problem").textContent = "";
  part("notes").textContent = "";
  part("solve").disabled = true;
  try {
    if (watch) last = puzzle();
    const question = { puzzle: last, segments: Number(part("depth").value) };
    if (task.rules === "arc") {
      question.pair = Number(part("pair").value);
      if (about.names.length) question.name = part("name").value;
    }
    const trace = await post("/solve", question);
    if (mine !== asked) return; // a later question was asked since
    tokens = trace.question;
    if (task.rules !== "arc" && part("paste").value === text) part("paste").value = "";
    paint();
    if (viewer) viewer.stop();
    viewer = view(part("solved"), trace);
    if (watch && !GENTLE) {
      viewer.go(0);
      viewer.start();
    }
    if (watch) part("solved").scrollIntoView({ block: "nearest" });
    demonstrations(question.puzzle);
    part("notes").textContent = trace.notes.join("; ");
  } catch (error) {
    if (mine === asked) part("problem").textContent = error.message;
  } finally {
    part("solve").disabled = false;
  }
}

async function fresh() {
  const mine = ++asked;
  part("problem").textContent = "";
  part("paste").value = "";
  try {
    const found = await post("/new", {});
    if (mine !== asked || part("paste").value) return; // something else was done since
    if (task.rules === "arc") {
      part("paste").value = JSON.stringify(found.puzzle);
      part("name").value = found.name;
      part("pair").value = 0;
      load();
    } else {
      tokens = found.question;
    }
    forget();
  } catch (error) {
    if (mine === asked) part("problem").textContent = error.message;
  }
}

// What was pasted of ARC, into the editor, which only shows it.
function load() {
  try {
    pasted = JSON.parse(part("paste").value);
    const inside = Object.values(pasted)[0];
    const whole = pasted.test ? pasted : inside && inside.test ? inside : null;
    const grid = whole ? whole.test[Number(part("pair").value)].input : pasted;
    tokens = tokens.map(emptyToken);
    grid.forEach((row, r) => row.forEach((colour, c) => {
      if (c < task.columns) tokens[r * task.columns + c] = colour + BLACK;
    }));
    tokens.length = task.rows * task.columns;
    demonstrations(pasted);
    paint();
  } catch {
    // the server says what is wrong with it
  }
}

function forget() {
  part("notes").textContent = "";
  changed();
  if (viewer) viewer.stop();
  viewer = null;
  part("solved").replaceChildren();
  paint();
}

// The pairs that an ARC task shows, as it has them.
function demonstrations(puzzle) {
  if (task.rules !== "arc" || puzzle === null || typeof puzzle !== "object") return;
  const inside = Object.values(puzzle)[0];
  const pairs = puzzle.train || (inside && inside.train);
  if (!Array.isArray(pairs)) return;
  const valid = (grid) => Array.isArray(grid) && grid.length && grid.every(Array.isArray);
  if (!pairs.every((pair) => pair && valid(pair.input) && valid(pair.output))) return;
  const figures = pairs.slice(0, 10).map((pair, i) => {
    const both = [pair.input, pair.output].map((grid) => {
      const columns = grid[0].length, cells = grid.flat().map((colour) => colour + BLACK);
      const own = { ...task, rows: grid.length, columns };
      const shade = cells.map(() => 1000);
      return board(own, { rows: grid.length, columns }, { question: cells, tokens: cells, shade });
    });
    return make("figure", {}, make("figcaption", {}, `demonstration ${i + 1}`),
      make("div", { class: "both" }, ...both));
  });
  part("demonstrations").replaceChildren(...figures);
}

// ---- the page

const deep = about.trained;
const told = `${deep.segments} segments of ${deep.recursions} recursions`;
const how = {
  sudoku: "Type digits into the grid (arrow keys move), paste a puzzle, or take a new one.",
  maze: "Click cells to build walls (or arrow keys and space; s and g set start and goal), paste a "
    + "maze, or take a new one.",
  arc: "Paste the JSON of an ARC task. The model knows the tasks it was trained on by name alone.",
  grid: "Type into the grid (arrow keys move), or paste a puzzle.",
};
part("what").textContent = `${how[task.rules]} The model (${about.model}) was trained with ${told}; `
  + "drag the slider to let it think longer.";
const depth = part("depth");
depth.max = about.most;
depth.value = deep.segments;

function tellDepth() {
  const value = Number(depth.value), beyond = value > deep.segments ? " (deeper than trained)" : "";
  part("depth-told").textContent = `${value}${beyond}`;
}

depth.addEventListener("input", () => {
  tellDepth();
  clearTimeout(timer);
  if (last !== null) timer = setTimeout(() => solve(false), LATER);
});
part("solve").addEventListener("click", () => solve(true));
part("new").addEventListener("click", fresh);
part("clear").addEventListener("click", () => {
  tokens = tokens.map(emptyToken);
  part("paste").value = "";
  pasted = null;
  part("demonstrations").replaceChildren();
  part("problem").textContent = "";
  forget();
});
part("paste").addEventListener("input", changed);
part("paste").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) solve(true);
});
if (task.rules === "arc") {
  for (const id of ["paste", "pair"]) part(id).addEventListener("input", load);
  part("arc").hidden = false;
  part("paste-label").textContent = "the JSON of a task, or a grid of numbers";
  for (const name of about.names) part("name").append(make("option", { value: name }, name));
}
tellDepth();
paint();
fresh();
