"use strict";
/* The page of a run: its table and the sections below. Words of the run become text nodes, never
   markup. reaction.js follows, in one script with this file. */

const by = (id) => document.getElementById(id);
const COLUMNS = [
  { key: "id", name: "Reaction", kind: "id" },
  { key: "formula", name: "Reactant → product", kind: "drawing", fixed: true },
  { key: "words", name: "Verdict", kind: "verdict" },
  { key: "barrier", name: "ΔE‡", digits: 1 },
  { key: "gibbs", name: "ΔG‡", digits: 1 },
  { key: "energy", name: "ΔE", digits: 1 },
  { key: "free", name: "ΔG", digits: 1 },
  { key: "frequency", name: "ν‡", digits: 0 },
  { key: "atoms", name: "Atoms", digits: 0 },
  { key: "gradients", name: "Gradients", digits: 0 },
  { key: "seconds", name: "s", digits: 0 },
];
const TONE = {
  intended: "good", "intended in steps": "good", found: "good", barrierless: "middle",
  "partly intended": "middle", ambiguous: "middle", unintended: "bad", failed: "bad",
};
const STEP = 50; // rows that are added at a time
const GRID = 1e-3; // Å, of packed positions

let run, packed, shown = [], drawn = 0, verdict = "", sorting = { key: "", down: false };

/* An element with properties, attributes (data-, aria-) and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const minus = (text) => text.replace("-", "−");
const number = (value, digits) => (value === null || value === undefined ? "" : minus(value.toFixed(digits)));

async function unpackText(base64) {
  const bytes = Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}
const unpack = async (base64) => JSON.parse(await unpackText(base64));

const details = new Map(); // the last ones that were unpacked
async function detailsOf(index) {
  if (!details.has(index)) {
    details.set(index, await unpack(packed[index]));
    if (details.size > 200) details.delete(details.keys().next().value);
  }
  return details.get(index);
}

/* ---- the table ---- */

function picture(svg, formula, end) {
  if (!svg) return make("span", { className: "formula" }, formula);
  const source = "data:image/svg+xml," + encodeURIComponent(svg);
  return make("img", { src: source, alt: `${end} ${formula}`, width: 230, height: 150 });
}

function pair(row, drawings) {
  const [first, last] = row.molecules.map((name) => name || row.formula);
  return make("div", { className: "pair" }, picture(drawings[0], first, "Reactant"),
    make("span", { className: "arrow", "aria-hidden": "true" }, "→"),
    picture(drawings[1], last, "Product"));
}

async function drawInto(cell, index) {
  const found = await detailsOf(index);
  cell.replaceChildren(pair(run.rows[index], found.drawings));
}

function cellOf(column, row, index) {
  if (column.kind === "id") {
    const electrons = [row.charge ? `charge ${minus(String(row.charge))}` : "",
      row.multiplicity > 1 ? `multiplicity ${row.multiplicity}` : "",
      row.solvent ? `in ${row.solvent}` : ""].filter(Boolean);
    const below = [row.formula, ...electrons].filter(Boolean).join(", ");
    return make("td", { className: "id" }, make("a", { href: address(index) }, row.id),
      make("span", {}, below));
  }
  if (column.kind === "drawing") {
    const cell = make("td", { className: "drawing" }, make("div", { className: "pair" }));
    drawInto(cell, index);
    return cell;
  }
  if (column.kind === "verdict") {
    const told = [row.reason, ...row.warnings.map((text) => "⚠ " + text)].filter(Boolean).join(" ");
    return make("td", { className: "verdict" },
      make("span", { className: `word ${TONE[row.verdict] || ""}` }, row.words),
      told ? make("span", { className: "reason clamp", title: told }, told) : null);
  }
  return make("td", { className: "number", "data-name": column.name },
    number(row[column.key], column.digits));
}

function addRows() {
  const body = by("table").tBodies[0];
  for (const index of shown.slice(drawn, drawn + STEP)) {
    const line = make("tr", {}, ...COLUMNS.map((column) => cellOf(column, run.rows[index], index)));
    line.addEventListener("click", (event) => {
      if (!event.target.closest("a")) location.hash = address(index);
    });
    body.append(line);
  }
  drawn = Math.min(drawn + STEP, shown.length);
  by("more").parentElement.hidden = drawn >= shown.length;
  by("more").textContent = `Show ${Math.min(STEP, shown.length - drawn)} more`;
}

function matches(row) {
  const words = by("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [row.id, row.formula, row.words, row.reason, row.missing, row.solvent, ...row.warnings,
    ...row.molecules].join(" ").toLowerCase();
  const [least, most] = ["least", "most"].map((id) => by(id).value);
  return (!verdict || row.verdict === verdict) && words.every((word) => text.includes(word))
    && (least === "" || (row.barrier !== null && row.barrier >= Number(least)))
    && (most === "" || (row.barrier !== null && row.barrier <= Number(most)))
    && (!by("warned").checked || row.warnings.length > 0);
}

/* Missing values last, whatever the direction. */
function compare(one, other) {
  const [a, b] = [run.rows[one][sorting.key], run.rows[other][sorting.key]];
  const [noA, noB] = [a, b].map((value) => value === null || value === "");
  if (noA || noB) return noA - noB;
  const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return (sorting.down ? -order : order) || one - other;
}

function update() {
  shown = [...run.rows.keys()].filter((index) => matches(run.rows[index]));
  if (sorting.key) shown.sort(compare);
  const few = shown.length === run.rows.length ? `${shown.length} reactions`
    : `${shown.length} of ${run.rows.length} reactions`;
  by("found").textContent = few;
  drawn = 0;
  by("table").tBodies[0].replaceChildren();
  addRows();
  for (const head of by("table").tHead.querySelectorAll("th")) {
    const own = head.dataset.key === sorting.key;
    head.setAttribute("aria-sort", own ? (sorting.down ? "descending" : "ascending") : "none");
    const arrow = head.querySelector("i");
    if (arrow) arrow.textContent = own ? (sorting.down ? " ▼" : " ▲") : "";
  }
  for (const button of by("verdicts").children) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
  }
}

function sortBy(key) {
  sorting = { key, down: sorting.key === key ? !sorting.down : false };
  by("order").value = sorting.key;
  update();
}

function head() {
  const line = make("tr");
  const choices = [make("option", { value: "" }, "input")];
  for (const column of COLUMNS) {
    const cell = make("th", { scope: "col" });
    if (column.digits !== undefined) cell.className = "number";
    if (column.fixed) {
      cell.append(make("span", {}, column.name));
    } else {
      cell.dataset.key = column.key;
      const button = make("button", { type: "button" }, column.name, make("i", { "aria-hidden": "true" }));
      button.addEventListener("click", () => sortBy(column.key));
      cell.append(button);
      choices.push(make("option", { value: column.key }, column.name));
    }
    line.append(cell);
  }
  by("table").tHead.append(line);
  by("order").append(...choices);
  by("order").addEventListener("change", (event) => {
    sorting = { key: event.target.value, down: false };
    update();
  });
}

function filters() {
  const all = [["", run.rows.length], ...run.verdicts];
  by("verdicts").append(...all.map(([label, count]) => {
    const button = make("button", { type: "button", className: TONE[label] || "" }, `${label || "all"} ${count}`);
    button.dataset.verdict = label;
    button.addEventListener("click", () => { verdict = label; update(); });
    return button;
  }));
  by("filters").addEventListener("input", update);
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("filters").addEventListener("reset", () => {
    verdict = "";
    sorting = { key: "", down: false };
    setTimeout(update);
  });
  by("more").addEventListener("click", addRows);
}

/* ---- the other sections ---- */

function plainTable(names, lines) {
  return make("table", { className: "plain" },
    make("thead", {}, make("tr", {}, ...names.map((name, i) => make("th", { scope: "col", className: i ? "number" : "" }, name)))),
    make("tbody", {}, ...lines.map((line) => make("tr", {}, ...line.map((value, i) =>
      make("td", { className: i ? "number" : "" }, String(value)))))));
}

function failures() {
  const place = by("failures").querySelector("div");
  if (!run.failures.length) place.append("No search failed.");
  for (const one of run.failures) {
    place.append(make("h3", {}, `${one.stage}: ${one.count}`), make("ul", {},
      ...one.reasons.map(([text, count]) => make("li", {}, count > 1 ? `${count} × ${text}` : text)),
      one.kinds > one.reasons.length ? make("li", {}, `and ${one.kinds - one.reasons.length} more reasons`) : null));
  }
}

function methods() {
  const text = run.methods.map(([words, numbers]) => words + (numbers.length ? ` [${numbers.join(", ")}]` : "") + ".").join(" ");
  by("paragraph").textContent = text;
  by("references").append(...run.references.map(([words, place]) =>
    make("li", {}, words + ". ", make("a", { href: place, rel: "noreferrer" }, place))));
  by("copy").addEventListener("click", async () => {
    const list = run.references.map(([words, place], i) => `[${i + 1}] ${words}. ${place}`);
    try {
      await navigator.clipboard.writeText([text, "", ...list].join("\n"));
      by("copied").textContent = "copied";
    } catch {
      by("copied").textContent = "the browser does not allow it: please select the text";
    }
  });
}

function provenance() {
  by("made").textContent = `Report made by horm-tssearch ${run.version}, ${run.made}.`;
  for (const [name, value] of run.provenance) {
    by("versions").append(make("dt", {}, name), make("dd", {}, value));
  }
  by("record").textContent = run.record;
}
