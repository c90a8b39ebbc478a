/**
 * The page of `caesura explain --html`: a treemap of the code, what is known of one function, and tables.
 *
 * Functions are columns of numbers, as in `html.py`; a function is its place in them. The map is drawn on a canvas, one
 * level of prefixes of names at a time, and only what is large enough to be seen: 24,000 elements would take seconds.
 * Names are only ever written as text.
 */

"use strict";

/**
 * @typedef {object} Data
 * @property {string} title
 * @property {number | null} chosen
 * @property {Record<string, number>} module
 * @property {[string, string, string, number, number, number][]} causes
 * @property {[string, number, number][]} whatIf
 * @property {string[]} names
 * @property {number[]} index
 * @property {number[]} before
 * @property {number[]} after
 * @property {number[]} sites
 * @property {number[]} saved
 * @property {number[]} merges
 * @property {number[]} freesFunctions
 * @property {number[]} freesBytes
 * @property {(number | null)[]} next
 * @property {(number | null)[]} via
 * @property {(number | null)[]} above
 * @property {number[]} why
 * @property {string[]} reasons
 * @property {{ by_list: boolean, listed_and_recorded: number, never_recorded: number, not_listed: number, unmatched: string[] } | null} coverage
 * @property {boolean[]} listed
 * @property {(number | null)[]} recorded
 * @property {number[][]} callers Of each function those that call it by name, each by how far it is behind the one before.
 * @property {number[][]} targets Of each cause that is calls, what these can reach, in the same way.
 * @property {number[][]} makers And who makes them.
 * @property {string[]} others Names behind the last function: of imports, and of functions that were added.
 * @property {number[]} unlike Functions that are instrumented and may not suspend, or the other way round.
 */

/** @typedef {{ x: number, y: number, width: number, height: number }} Rectangle */

/**
 * Functions whose names begin alike, or one function.
 * @typedef {{ label: string, functions: number[], size: number, before: number, added: number, instrumented: number }} Group
 */

/** @typedef {{ label: string, numeric: boolean, value: (one: number) => string | number, choose?: (one: number) => void }} Column */

/** How many words of a name a prefix can have; below that there are only functions. */
const DEEPEST = 4;
/** Rows that a table begins with, and gets with each press of its button. */
const ROWS = 200;
/** Pixels below which an area is not drawn by itself. */
const SMALLEST = 4;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {(string | Node)[]} content
 */
function make(tag, ...content) {
  const made = document.createElement(tag);
  made.append(...content);
  return made;
}

/** @param {string} text @param {() => void} press */
function makeButton(text, press) {
  const button = make("button", make("bdi", text));
  button.type = "button";
  button.addEventListener("click", press);
  return button;
}

/** Return a name as it is shown: without what is not to be seen. @param {string} name */
function visible(name) {
  return name.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, "\ufffd");
}

/** @type {Data} */
const data = JSON.parse(element("data", HTMLScriptElement).textContent ?? "");
const count = data.names.length;
const numbers = new Intl.NumberFormat("en");
const names = data.names.map(visible);

/** @param {number} one */
const added = (one) => data.after[one] - data.before[one];
/** @param {number} one */
const isInstrumented = (one) => data.why[one] < 0;
/** @param {number} one */
const titleOf = (one) => (names[one] === String(data.index[one]) ? names[one] : `${names[one]} (${data.index[one]})`);
/** @param {number} number @param {string} what */
const counted = (number, what) => `${numbers.format(number)} ${what}${number === 1 ? "" : "s"}`;

function showFigures() {
  element("title", HTMLElement).textContent = data.title;
  document.title = `Instrumentation of ${data.title}`;
  const { functions, instrumented, sites, code_before: before, code_after: after } = data.module;
  const growth = before ? ` (+${(((after - before) / before) * 100).toFixed(1)}%)` : "";
  /** @type {[string, string][]} */
  const figures = [
    ["instrumented", `${numbers.format(instrumented)} of ${counted(functions, "function")}`],
    ["call sites", numbers.format(sites)],
    ["code before", counted(before, "byte")],
    ["code after", counted(after, "byte") + growth],
  ];
  for (const [label, value] of figures) {
    element("figures", HTMLElement).append(make("div", make("dt", label), make("dd", value)));
  }
  const whatIf = data.whatIf.map(([change, freed, bytes]) => `${change}: ${counted(freed, "function")}, ${counted(bytes, "byte")} less`);
  element("what-if", HTMLElement).textContent = whatIf.join("; ");
}

// Tables.

/** A table that can be sorted by its columns, of things that are numbers. */
class SortedTable {
  /**
   * @param {HTMLTableElement} table
   * @param {HTMLButtonElement} more
   * @param {string} caption
   * @param {Column[]} columns
   * @param {number} sortedBy
   */
  constructor(table, more, caption, columns, sortedBy) {
    this.columns = columns;
    this.sortedBy = sortedBy;
    this.isDescending = columns[sortedBy].numeric;
    /** @type {number[]} */
    this.rows = [];
    this.shown = ROWS;
    this.more = more;
    this.heads = columns.map((column, place) => {
      const head = make("th", makeButton(column.label, () => this.sortBy(place)));
      head.scope = "col";
      return head;
    });
    this.body = make("tbody");
    table.replaceChildren(make("caption", caption), make("thead", make("tr", ...this.heads)), this.body);
    more.addEventListener("click", () => {
      this.shown += ROWS;
      this.draw();
    });
  }

  /** @param {number[]} rows */
  show(rows) {
    this.rows = rows;
    this.shown = ROWS;
    this.sort();
  }

  /** @param {number} place */
  sortBy(place) {
    this.isDescending = this.sortedBy === place ? !this.isDescending : this.columns[place].numeric;
    this.sortedBy = place;
    this.sort();
  }

  sort() {
    const { value } = this.columns[this.sortedBy];
    const sign = this.isDescending ? -1 : 1;
    const keys = new Map(this.rows.map((one) => [one, value(one)]));
    this.rows.sort((first, second) => {
      const [a, b] = [keys.get(first) ?? 0, keys.get(second) ?? 0];
      return a < b ? -sign : a > b ? sign : first - second;
    });
    this.heads.forEach((head, place) => {
      if (place === this.sortedBy) head.setAttribute("aria-sort", this.isDescending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.draw();
  }

  draw() {
    this.body.replaceChildren(...this.rows.slice(0, this.shown).map((one) => this.row(one)));
    this.more.hidden = this.rows.length <= this.shown;
  }

  /** @param {number} one */
  row(one) {
    const cells = this.columns.map((column, place) => {
      const value = column.value(one);
      const text = typeof value === "number" ? numbers.format(value) : value;
      const { choose } = column;
      const content = choose ? makeButton(text, () => choose(one)) : place ? text : make("bdi", text);
      const cell = make(place ? "td" : "th", content);
      if (cell.tagName === "TH") cell.setAttribute("scope", "row");
      return cell;
    });
    return make("tr", ...cells);
  }
}

const functionTable = new SortedTable(
  element("functions", HTMLTableElement),
  element("more", HTMLButtonElement),
  "Bytes of code before, bytes added, and what would be freed by the function on the remove-list",
  [
    { label: "Function", numeric: false, value: titleOf, choose: (one) => choose(one, true) },
    { label: "Before", numeric: true, value: (one) => data.before[one] },
    { label: "Added", numeric: true, value: added },
    { label: "Call sites", numeric: true, value: (one) => data.sites[one] },
    { label: "Saved values", numeric: true, value: (one) => data.saved[one] },
    { label: "Merges", numeric: true, value: (one) => data.merges[one] },
    { label: "Functions freed", numeric: true, value: (one) => data.freesFunctions[one] },
    { label: "Bytes freed", numeric: true, value: (one) => data.freesBytes[one] },
  ],
  2,
);

const causeTable = new SortedTable(
  element("causes", HTMLTableElement),
  element("more-causes", HTMLButtonElement),
  "What suspensions start in, and what would be freed if it were not there",
  [
    { label: "Cause", numeric: false, value: (one) => data.causes[one][1] },
    { label: "Kind", numeric: false, value: (one) => data.causes[one][0] },
    { label: "Functions freed", numeric: true, value: (one) => data.causes[one][3] },
    { label: "Bytes freed", numeric: true, value: (one) => data.causes[one][4] },
    { label: "Functions with it", numeric: true, value: (one) => data.causes[one][5] },
  ],
  3,
);

function filterFunctions() {
  const wanted = element("wanted", HTMLInputElement).value.trim().toLowerCase();
  const onlyInstrumented = element("only", HTMLInputElement).checked;
  /** @type {number[]} */
  const rows = [];
  for (let one = 0; one < count; one++) {
    if (onlyInstrumented && !isInstrumented(one)) continue;
    if (!wanted || names[one].toLowerCase().includes(wanted) || String(data.index[one]) === wanted) rows.push(one);
  }
  element("count", HTMLElement).textContent = counted(rows.length, "function");
  functionTable.show(rows);
}

// Recordings: what they say of the list, or, without one, of what is instrumented.

const listedWord = data.coverage?.by_list === false ? "instrumented" : "listed";

/** @param {number} one */
function stateOf(one) {
  if (!data.listed[one]) return `recorded, not ${listedWord}`;
  return data.recorded[one] === null ? `${listedWord}, never recorded` : `${listedWord} and recorded`;
}

const coverageTable = new SortedTable(
  element("coverage-table", HTMLTableElement),
  element("more-coverage", HTMLButtonElement),
  "Functions on the list, and those that were on a stack when a call was suspended",
  [
    { label: "Function", numeric: false, value: titleOf, choose: (one) => choose(one, true) },
    { label: "Recorded", numeric: true, value: (one) => data.recorded[one] ?? 0 },
    { label: "Bytes added", numeric: true, value: added },
    { label: "State", numeric: false, value: stateOf },
  ],
  3,
);

function showCoverage() {
  if (!data.coverage) return;
  const all = element("coverage-filter", HTMLElement).querySelector("input[value=all]");
  const isAll = all instanceof HTMLInputElement && all.checked;
  /** @type {number[]} */
  const rows = [];
  for (let one = 0; one < count; one++) {
    const isRecorded = data.recorded[one] !== null;
    if ((data.listed[one] || isRecorded) && (isAll || data.listed[one] !== isRecorded)) rows.push(one);
  }
  coverageTable.show(rows);
}

function startCoverage() {
  if (!data.coverage) return;
  const { listed_and_recorded: both, never_recorded: never, not_listed: missing, unmatched } = data.coverage;
  element("coverage", HTMLElement).hidden = false;
  element("covered", HTMLElement).textContent =
    `Of ${counted(both + never, "function")} that ${both + never === 1 ? "is" : "are"} ${listedWord}, ${numbers.format(both)} ` +
    `${both === 1 ? "was" : "were"} recorded. ${counted(missing, "other function")} ${missing === 1 ? "was" : "were"} recorded, too.`;
  element("coverage-filter", HTMLElement).addEventListener("change", showCoverage);
  if (unmatched.length) {
    element("unmatched-details", HTMLElement).hidden = false;
    element("unmatched-summary", HTMLElement).textContent = `Recorded, and no function of this module: ${numbers.format(unmatched.length)}`;
    element("unmatched", HTMLElement).append(...unmatched.slice(0, ROWS).map((entry) => make("li", make("bdi", visible(entry)))));
  }
  showCoverage();
}

// One function.

/** @param {number} place */
const stepButton = (place) => makeButton(titleOf(place), () => choose(place, true));

/** Show a function; `moves` puts the focus there. @param {number} one @param {boolean} moves */
function choose(one, moves) {
  const shown = element("chosen", HTMLElement);
  const title = make("p", make("bdi", titleOf(one)));
  title.className = "name";
  /** @type {Node[]} */
  const parts = [title];
  if (isInstrumented(one)) {
    parts.push(...describe(one));
  } else {
    parts.push(make("p", "Not instrumented: ", make("bdi", data.reasons[data.why[one]]), "."));
  }
  shown.replaceChildren(...parts, ...callsOf(one), ...callersOf(one));
  if (moves) element("chosen-heading", HTMLElement).focus();
}

/** @param {number} one */
function describe(one) {
  /** @type {[string, number][]} */
  const costs = [
    ["bytes before", data.before[one]],
    ["bytes added", added(one)],
    ["call sites", data.sites[one]],
    ["saved values", data.saved[one]],
    ["merges", data.merges[one]],
  ];
  const list = make("dl", ...costs.flatMap(([label, value]) => [make("dt", label), make("dd", numbers.format(value))]));
  return [list, make("h3", "Shortest path to what suspends"), pathOf(one), make("h3", "Each of these alone would free it"), changesOf(one)];
}

/** @param {number} one */
function pathOf(one) {
  const list = make("ol");
  /** @type {number | null} */
  let step = one;
  for (let length = 0; step !== null && length < 60; length++) {
    if (step < 0) {
      list.append(make("li", make("bdi", data.causes[-1 - step][1])));
      return list;
    }
    const via = data.via[step];
    list.append(make("li", stepButton(step), ...(via === null ? [] : [" by ", make("bdi", data.causes[via][1])])));
    step = data.next[step];
  }
  if (step !== null) list.append(make("li", "…"));
  return list;
}

/** @param {number} one */
function changesOf(one) {
  const list = make("ul");
  const others = (/** @type {number} */ freed, /** @type {number} */ bytes) =>
    `: ${counted(freed - 1, "other function")}, ${counted(bytes, "byte")}`;
  /** @type {number | null} */
  let above = one;
  for (let length = 0; above !== null && length < 60; length++) {
    if (above < 0) {
      const [, , change, freed, bytes] = data.causes[-1 - above];
      list.prepend(make("li", make("bdi", change), others(freed, bytes)));
      return list;
    }
    // One that another list names cannot be on the remove-list, and frees nothing.
    if (data.freesFunctions[above]) list.prepend(make("li", stepButton(above), " on the remove-list", others(data.freesFunctions[above], data.freesBytes[above])));
    above = data.above[above];
  }
  if (above === null) list.append(make("li", "no import, type of call or entry of a list alone: there are several causes"));
  return list;
}

// Calls.

/** Return places that are told by how far each is behind the one before. @param {number[]} differences */
function placesOf(differences) {
  let place = 0;
  return differences.map((difference) => (place += difference));
}

/** The functions that the calls of each cause can reach, and who makes them. */
const targets = data.targets.map((places) => new Set(placesOf(places)));
const makers = data.makers.map((places) => new Set(placesOf(places)));
const unlike = new Set(data.unlike);

/** @param {number} one */
const maySuspend = (one) => one < count && isInstrumented(one) !== unlike.has(one);

/** A function that can be chosen, or the name of an import or of what was added. @param {number} place */
const calledButton = (place) => (place < count ? stepButton(place) : make("bdi", visible(data.others[place - count])));

/**
 * Functions that are shown when somebody wants to see them, as many as are wanted.
 * @param {string} label @param {number[]} functions @param {(one: number) => string} note
 */
function foldedList(label, functions, note) {
  if (!functions.length) return make("p", `${label}: none`);
  const list = make("ul");
  let shown = 0;
  const more = makeButton("Show more", () => {
    const next = functions.slice(shown, shown + ROWS);
    shown += next.length;
    list.append(...next.map((one) => make("li", calledButton(one), note(one))));
    more.hidden = shown === functions.length;
  });
  const details = make("details", make("summary", `${label}: ${counted(functions.length, "function")}`), list, more);
  details.addEventListener("toggle", () => shown || more.click(), { once: true });
  return details;
}

/** The calls through tables and references in a function, with what they can reach. @param {number} one */
function callsOf(one) {
  const calls = [...data.causes.keys()].filter((place) => makers[place].has(one));
  if (!calls.length) return [];
  const parts = calls.map((place) => {
    const reached = [...targets[place]];
    const suspending = reached.filter(maySuspend).length;
    const name = make("p", make("bdi", data.causes[place][1]), reached.length ? ` (${numbers.format(suspending)} of these may suspend)` : "");
    return make("div", name, foldedList("Can reach", reached, (target) => (maySuspend(target) ? ", may suspend" : "")));
  });
  return [make("h3", "Calls through tables and references"), ...parts];
}

/** Who calls a function. @param {number} one */
function callersOf(one) {
  const direct = placesOf(data.callers[one]);
  const through = [...data.causes.keys()].filter((place) => targets[place].has(one));
  const byName = foldedList("By name", direct, (caller) => (caller < count && !isInstrumented(caller) ? ", not instrumented" : ""));
  const parts = through.map((place) => {
    const label = make("p", make("bdi", data.causes[place][1]));
    return make("div", label, foldedList("Made by", [...makers[place]], () => ""));
  });
  return [make("h3", "Callers"), byName, ...parts];
}

// The map.

/** The words of each name, made when they are first asked for. @type {(string[] | undefined)[]} */
const words = [];

/** @param {number} one */
function wordsOf(one) {
  words[one] ??= names[one].match(/_*(?:[A-Z]+[a-z0-9]*|[a-z0-9]+)|[^A-Za-z0-9]+/g) ?? [names[one]];
  return /** @type {string[]} */ (words[one]);
}

const canvas = element("map", HTMLCanvasElement);
const tip = element("tip", HTMLElement);
const scheme = matchMedia("(prefers-color-scheme: dark)");

/** What the map shows: all functions, and then those whose names begin with more and more words. @type {Group[]} */
const trail = [];
/** @type {{ group: Group, box: Rectangle }[]} */
let areas = [];
let current = 0;

function measure() {
  const checked = document.querySelector("input[name=measure]:checked");
  return checked instanceof HTMLInputElement ? checked.value : "after";
}

/** @param {number} one @param {string} by */
function sizeOf(one, by) {
  return by === "before" ? data.before[one] : Math.max(0, by === "added" ? added(one) : data.after[one]);
}

/** @param {string} label @param {number[]} functions @returns {Group} */
function makeGroup(label, functions) {
  const by = measure();
  const group = { label, functions, size: 0, before: 0, added: 0, instrumented: 0 };
  for (const one of functions) {
    group.size += sizeOf(one, by);
    group.before += data.before[one];
    group.added += added(one);
    group.instrumented += +isInstrumented(one);
  }
  return group;
}

/** Divide functions by the beginnings of their names; the largest first. @param {number[]} functions @param {number} depth */
function divide(functions, depth) {
  /** @type {Map<string, number[]>} */
  const byPrefix = new Map();
  for (const one of functions) {
    const key = depth > DEEPEST ? names[one] : wordsOf(one).slice(0, depth).join("");
    const members = byPrefix.get(key);
    if (members) members.push(one);
    else byPrefix.set(key, [one]);
  }
  const groups = [...byPrefix].map(([key, members]) => makeGroup(members.length === 1 ? titleOf(members[0]) : `${key}…`, members));
  return groups.filter((group) => group.size > 0).sort((first, second) => second.size - first.size);
}

/** @returns {Group[]} */
function level() {
  const { functions } = trail[trail.length - 1];
  // Where all names go on alike, so does the map.
  for (let depth = trail.length; depth <= DEEPEST; depth++) {
    const groups = divide(functions, depth);
    if (groups.length > 1) return groups;
  }
  return functions.map((one) => makeGroup(titleOf(one), [one])).filter((group) => group.size > 0).sort((first, second) => second.size - first.size);
}

/**
 * Fill a rectangle with areas as nearly square as can be; sizes descend. What would be too small is left out.
 * @param {number[]} sizes @param {Rectangle} box @returns {Rectangle[]}
 */
function squarify(sizes, box) {
  let { x, y, width, height } = box;
  let rest = sizes.reduce((sum, size) => sum + size, 0);
  /** @type {Rectangle[]} */
  const boxes = [];
  let start = 0;
  while (start < sizes.length && width > 0.5 && height > 0.5) {
    const scale = (width * height) / rest;
    if (sizes[start] * scale < SMALLEST) break;
    const side = Math.min(width, height);
    let end = start;
    let sum = 0;
    let worst = Infinity;
    while (end < sizes.length) {
      const next = sum + sizes[end];
      const thickness = (next * scale) / side;
      const ratio = Math.max((sizes[start] * scale) / thickness ** 2, thickness ** 2 / (sizes[end] * scale));
      if (ratio > worst) break;
      worst = ratio;
      sum = next;
      end++;
    }
    const thickness = (sum * scale) / side;
    let along = 0;
    for (let place = start; place < end; place++) {
      const length = (sizes[place] * scale) / thickness;
      boxes.push(width < height ? { x: x + along, y, width: length, height: thickness } : { x, y: y + along, width: thickness, height: length });
      along += length;
    }
    if (width < height) {
      y += thickness;
      height -= thickness;
    } else {
      x += thickness;
      width -= thickness;
    }
    rest -= sum;
    start = end;
  }
  return boxes;
}

function layOut() {
  const groups = level();
  const box = { x: 0, y: 0, width: canvas.clientWidth, height: canvas.clientHeight };
  const boxes = squarify(groups.map((group) => group.size), box);
  areas = boxes.map((one, place) => ({ group: groups[place], box: one }));
  current = Math.min(current, Math.max(0, areas.length - 1));
  showTrail();
  showMapTable(groups);
  draw();
}

function draw() {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  if (!context) return;
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  const colours = { before: colour("before"), added: colour("added"), plain: colour("plain"), card: colour("card"), ink: colour("ink"), accent: colour("accent") };
  context.scale(ratio, ratio);
  const by = measure();
  for (const { group, box } of areas) {
    drawFunctions(context, colours, group, box, by);
    drawLabel(context, colours, group, box);
  }
  if (document.activeElement === canvas && areas[current]) {
    const { box } = areas[current];
    context.strokeStyle = colours.accent;
    context.lineWidth = 3;
    context.strokeRect(box.x + 1.5, box.y + 1.5, Math.max(0, box.width - 3), Math.max(0, box.height - 3));
  }
}

/**
 * @param {CanvasRenderingContext2D} context @param {Record<string, string>} colours @param {Group} group
 * @param {Rectangle} box @param {string} by
 */
function drawFunctions(context, colours, group, box, by) {
  const inside = { x: box.x + 1, y: box.y + 1, width: Math.max(0, box.width - 2), height: Math.max(0, box.height - 2) };
  drawArea(context, colours, inside, group.before, group.added, group.instrumented > 0, by);
  if (group.functions.length < 2) return;
  const members = group.functions.map((one) => ({ one, size: sizeOf(one, by) })).filter(({ size }) => size > 0);
  members.sort((first, second) => second.size - first.size);
  squarify(members.map(({ size }) => size), inside).forEach((tile, place) => {
    const { one } = members[place];
    const edge = tile.width > 4 && tile.height > 4 ? 0.5 : 0;
    const inner = { x: tile.x, y: tile.y, width: tile.width - edge, height: tile.height - edge };
    context.fillStyle = colours.card;
    context.fillRect(tile.x, tile.y, tile.width, tile.height);
    drawArea(context, colours, inner, data.before[one], added(one), isInstrumented(one), by);
  });
}

/**
 * Draw one area: code before above, added code below, as much of it as there is. A function that is not instrumented looks so, also
 * where the guard has added something to it.
 * @param {CanvasRenderingContext2D} context @param {Record<string, string>} colours @param {Rectangle} box
 * @param {number} before @param {number} more @param {boolean} instrumented @param {string} by
 */
function drawArea(context, colours, box, before, more, instrumented, by) {
  const share = by === "added" ? 1 : by === "before" || before + more <= 0 ? 0 : Math.max(0, more / (before + more));
  context.fillStyle = instrumented ? colours.before : colours.plain;
  context.fillRect(box.x, box.y, box.width, box.height);
  if (instrumented && share) {
    context.fillStyle = colours.added;
    context.fillRect(box.x, box.y + box.height * (1 - share), box.width, box.height * share);
  }
}

/** @param {CanvasRenderingContext2D} context @param {Record<string, string>} colours @param {Group} group @param {Rectangle} box */
function drawLabel(context, colours, group, box) {
  if (box.width < 46 || box.height < 18) return;
  context.save();
  context.beginPath();
  context.rect(box.x, box.y, box.width - 2, box.height);
  context.clip();
  context.font = "600 12px system-ui, sans-serif";
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = colours.card;
  context.strokeText(group.label.slice(0, 60), box.x + 5, box.y + 15);
  context.fillStyle = colours.ink;
  context.fillText(group.label.slice(0, 60), box.x + 5, box.y + 15);
  context.restore();
}

/** @param {Group} group */
function summaryOf(group) {
  const { length } = group.functions;
  const many = length > 1 ? `${counted(length, "function")} (${numbers.format(group.instrumented)} instrumented), ` : "";
  const not = length === 1 && !group.instrumented ? ", not instrumented" : "";
  return `${group.label}: ${many}${counted(group.before, "byte")} before, ${numbers.format(group.added)} added${not}`;
}

function showTrail() {
  const buttons = trail.map((group, depth) => {
    const button = makeButton(group.label, () => goTo(depth + 1));
    if (depth === trail.length - 1) button.setAttribute("aria-current", "true");
    return button;
  });
  element("trail", HTMLElement).replaceChildren(...buttons.flatMap((button) => [button, " "]));
  canvas.setAttribute("aria-label", `Map of ${summaryOf(trail[trail.length - 1])}`);
}

/** @param {Group[]} groups */
function showMapTable(groups) {
  if (!element("map-details", HTMLDetailsElement).open) return;
  const head = make("tr", ...["Area", "Functions", "Instrumented", "Before", "Added"].map((label) => {
    const cell = make("th", label);
    cell.scope = "col";
    return cell;
  }));
  const rows = groups.slice(0, ROWS).map((group) => {
    const title = make("th", makeButton(group.label, () => open(group)));
    title.scope = "row";
    return make("tr", title, ...[group.functions.length, group.instrumented, group.before, group.added].map((value) => make("td", numbers.format(value))));
  });
  element("map-table", HTMLTableElement).replaceChildren(make("thead", head), make("tbody", ...rows));
}

/** @param {number} depth */
function goTo(depth) {
  trail.length = Math.max(1, depth);
  current = 0;
  layOut();
}

/** @param {Group} group */
function open(group) {
  if (group.functions.length === 1) {
    choose(group.functions[0], false);
    speak(`${summaryOf(group)}. Shown beside the map.`);
    return;
  }
  trail.push(group);
  current = 0;
  layOut();
  speakCurrent();
}

/** @param {string} text */
function speak(text) {
  element("spoken", HTMLElement).textContent = text;
}

function speakCurrent() {
  if (areas[current]) speak(summaryOf(areas[current].group));
}

/** Return the nearest area in a direction. @param {number} right @param {number} down */
function neighbour(right, down) {
  const from = areas[current].box;
  const [x, y] = [from.x + from.width / 2, from.y + from.height / 2];
  let best = current;
  let least = Infinity;
  areas.forEach(({ box }, place) => {
    const [dx, dy] = [box.x + box.width / 2 - x, box.y + box.height / 2 - y];
    const ahead = dx * right + dy * down;
    const aside = Math.abs(dx * down) + Math.abs(dy * right);
    if (place !== current && ahead > 0.5 && ahead + 2 * aside < least) {
      least = ahead + 2 * aside;
      best = place;
    }
  });
  return best;
}

/** @type {Record<string, [number, number]>} */
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @param {KeyboardEvent} event */
function press(event) {
  if (!areas.length || event.ctrlKey || event.altKey || event.metaKey) return;
  const direction = DIRECTIONS[event.key];
  if (direction) {
    current = neighbour(...direction);
    draw();
    speakCurrent();
  } else if (event.key === "Enter" || event.key === " ") {
    open(areas[current].group);
  } else if (event.key === "Escape" || event.key === "Backspace") {
    goTo(trail.length - 1);
    speakCurrent();
  } else {
    return;
  }
  event.preventDefault();
}

/** @param {MouseEvent} event */
function areaAt(event) {
  const { offsetX: x, offsetY: y } = event;
  return areas.findIndex(({ box }) => x >= box.x && y >= box.y && x < box.x + box.width && y < box.y + box.height);
}

/** @param {MouseEvent} event */
function hover(event) {
  const place = areaAt(event);
  tip.hidden = place < 0;
  if (place < 0) return;
  tip.textContent = summaryOf(areas[place].group);
  const left = Math.min(event.offsetX + 14, canvas.clientWidth - tip.offsetWidth);
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${Math.min(event.offsetY + 14, canvas.clientHeight - tip.offsetHeight)}px`;
}

function start() {
  showFigures();
  const everything = [...Array(count).keys()];
  const all = () => makeGroup("all", everything);
  trail.push(all());
  causeTable.show([...data.causes.keys()]);
  filterFunctions();
  startCoverage();
  const given = data.chosen === null ? -1 : data.index.indexOf(data.chosen);
  const largest = functionTable.rows[0] ?? 0;
  if (count) choose(given < 0 ? largest : given, false);
  layOut();
  element("measure", HTMLElement).addEventListener("change", () => {
    trail.splice(0, trail.length, ...trail.map((group) => makeGroup(group.label, group.functions)));
    layOut();
  });
  element("map-details", HTMLElement).addEventListener("toggle", layOut);
  element("filter", HTMLElement).addEventListener("submit", (event) => event.preventDefault());
  element("filter", HTMLElement).addEventListener("input", filterFunctions);
  canvas.addEventListener("keydown", press);
  canvas.addEventListener("focus", () => {
    draw();
    speakCurrent();
  });
  canvas.addEventListener("blur", draw);
  canvas.addEventListener("mousemove", hover);
  canvas.addEventListener("mouseleave", () => (tip.hidden = true));
  canvas.addEventListener("click", (event) => {
    const place = areaAt(event);
    if (place < 0) return;
    current = place;
    open(areas[place].group);
  });
  scheme.addEventListener("change", draw);
  addEventListener("resize", layOut);
}

start();
