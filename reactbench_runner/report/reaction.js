/* One reaction in a dialog: profile, structure in space, levels, numbers. Goes with overview.js. */

const address = (index) => "#r=" + encodeURIComponent(run.rows[index].id);
let current = -1, data = null, film = null, frames = [], frame = 0, timer = 0, viewer = null, chart = null, opened = 0;

const LIBRARIES = {}; // by the id of their element, once each
function library(id) {
  LIBRARIES[id] ??= unpackText(by(id).textContent).then((code) => {
    document.head.append(make("script", { textContent: code }));
  });
  return LIBRARIES[id];
}

function fromAddress() {
  const found = /^#r=(.*)$/.exec(location.hash);
  let name = null;
  try { name = found && decodeURIComponent(found[1]); } catch { /* no id */ }
  const index = name === null ? -1 : run.rows.findIndex((row) => row.id === name);
  if (index >= 0) open(index);
  else if (by("detail").open) by("detail").close();
}

async function open(index) {
  const row = run.rows[index], turn = ++opened;
  stop();
  current = index;
  by("title").textContent = [row.id, row.formula, row.solvent && `in ${row.solvent}`].filter(Boolean).join(" · ");
  by("verdict").replaceChildren(make("span", { className: `word ${TONE[row.verdict] || ""}` }, row.words),
    row.reason ? ` – ${row.reason}` : "");
  by("warnings").replaceChildren(...row.warnings.map((text) => make("p", { className: "note" }, "⚠ " + text)));
  const at = shown.indexOf(index);
  by("previous").disabled = at <= 0;
  by("next").disabled = at < 0 || at + 1 >= shown.length;
  if (!by("detail").open) by("detail").showModal();
  by("detail").scrollTop = 0;
  const found = await detailsOf(index);
  await Promise.all([library("uplot"), library("library")]);
  if (turn !== opened) return; // another one has been opened meanwhile
  data = found;
  by("pictures").replaceChildren(pair(row, data.drawings));
  by("further").replaceChildren(...data.further.map((text) => make("p", {}, text)));
  by("absent").replaceChildren(...data.missing.map((text) => make("p", { className: "quiet" }, text)),
    row.missing ? make("p", { className: "quiet" }, "not computed: " + row.missing) : "");
  by("cells").replaceChildren(...Object.entries(data.cells).map(([name, value]) =>
    make("tr", {}, make("td", {}, name), make("td", {}, String(value)))));
  frequencies();
  ladder();
  const names = data.films.map((one) => one.name);
  if (data.mode) names.push("Imaginary mode");
  by("films").replaceChildren(...names.map((name) => {
    const button = make("button", { type: "button" }, name);
    button.addEventListener("click", () => choose(name));
    return button;
  }));
  by("player").hidden = !names.length;
  by("viewer").hidden = !names.length;
  if (!names.length) {
    film = null;
    frames = [];
    by("profile").replaceChildren(make("p", { className: "quiet" }, "No structures are stored."));
    return;
  }
  choose(names[0]);
}

function framesOf(one) {
  const sum = one.frames[0].map(() => 0);
  return one.frames.map((difference) => difference.map((value, i) => (sum[i] += value) * GRID));
}

const IMAGES = 24, AMPLITUDE = 0.3; // of a vibration; Å of the atom that moves most
function vibration() {
  return Array.from({ length: IMAGES }, (_, k) => data.saddle.map((value, i) =>
    GRID * (value + AMPLITUDE * Math.sin(2 * Math.PI * k / IMAGES) * data.mode[i])));
}

function choose(name) {
  stop();
  const vibrates = name === "Imaginary mode";
  film = vibrates ? { name, vibrates, top: 0 } : data.films.find((one) => one.name === name);
  frames = vibrates ? vibration() : framesOf(film);
  for (const button of by("films").children) {
    button.setAttribute("aria-pressed", String(button.textContent === name));
  }
  by("frame").max = frames.length - 1;
  const reference = vibrates ? data.films[0] : film;
  if (reference) profile(reference);
  else by("profile").replaceChildren();
  show(film.top, true);
  if (vibrates && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
}

function show(next, fresh = false) {
  frame = next;
  by("frame").value = frame;
  const lowest = run.rows[current].frequency;
  by("place").textContent = film.vibrates ? (lowest === null ? "" : `${number(lowest, 0)} cm⁻¹`)
    : `${frame + 1} of ${frames.length}: ${number(film.e[frame], 1)} kcal/mol`
      + (frame === film.top && film.name !== "Path" ? " (transition state)" : "");
  by("frame").setAttribute("aria-valuetext", by("place").textContent);
  structure(fresh);
  if (chart) chart.redraw(false);
}

function play() {
  by("play").textContent = "❚❚";
  by("play").setAttribute("aria-label", "Pause");
  if (!film.vibrates && frame + 1 >= frames.length) show(0);
  timer = setInterval(() => {
    if (frame + 1 < frames.length) show(frame + 1);
    else if (film.vibrates) show(0);
    else stop();
  }, film.vibrates ? 40 : 80);
}

function stop() {
  clearInterval(timer);
  timer = 0;
  by("play").textContent = "▶";
  by("play").setAttribute("aria-label", "Play");
}

/* Single bonds as the verdict counts them; those that form or break are dashed. */
function bondsOf(places) {
  const bonds = [], n = data.symbols.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const length = Math.hypot(...[0, 1, 2].map((k) => places[3 * i + k] - places[3 * j + k]));
      const ratio = length / (run.radii[data.symbols[i]] + run.radii[data.symbols[j]]);
      const both = data.symbols[i] === "H" && data.symbols[j] === "H";
      if (ratio < run.factor) bonds.push([i, j, true]);
      else if (ratio < 1.5 && !both && crossed(i, j)) bonds.push([i, j, false]);
    }
  }
  return bonds;
}

const crossed = (i, j) => data.changing.some(([a, b]) => a === i && b === j);

function structure(fresh) {
  if (!viewer) {
    try {
      viewer = $3Dmol.createViewer(by("viewer"), { antialias: true, disableFog: true });
    } catch { viewer = null; }
    if (!viewer) {
      by("viewer").textContent = "Structures in space need WebGL, which this browser does not offer.";
      return;
    }
  }
  const paper = getComputedStyle(document.body).backgroundColor;
  const places = frames[frame];
  const atoms = data.symbols.map((elem, i) => ({
    elem, serial: i, x: places[3 * i], y: places[3 * i + 1], z: places[3 * i + 2], bonds: [], bondOrder: [],
  }));
  viewer.removeAllModels();
  viewer.removeAllShapes();
  const found = bondsOf(places);
  for (const [i, j, whole] of found) {
    if (whole) {
      for (const [a, b] of [[i, j], [j, i]]) { atoms[a].bonds.push(b); atoms[a].bondOrder.push(1); }
    } else {
      viewer.addCylinder({ start: atoms[i], end: atoms[j], radius: 0.06, dashed: true, color: "#808890",
        dashLength: 0.15, gapLength: 0.12, fromCap: 1, toCap: 1 });
    }
  }
  viewer.addModel().addAtoms(atoms);
  viewer.setStyle({}, { stick: { radius: 0.13, colorscheme: "Jmol" }, sphere: { scale: 0.27, colorscheme: "Jmol" } });
  viewer.setBackgroundColor(paper);
  if (fresh) { viewer.resize(); viewer.zoomTo(); viewer.zoom(1.15); }
  viewer.render();
}

function profile(one) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const unit = one.name === "Stationary points" ? "reactant, transition state, product" : "distance along the path, amu½ Å";
  const circle = (u, at, fill, size) => {
    const [x, y] = [u.valToPos(one.x[at], "x", true), u.valToPos(one.e[at], "y", true)];
    u.ctx.beginPath();
    u.ctx.arc(x, y, size * devicePixelRatio, 0, 2 * Math.PI);
    u.ctx.fillStyle = fill;
    u.ctx.fill();
  };
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") },
    font: "12px system-ui, sans-serif", labelFont: "13px system-ui, sans-serif" };
  by("profile").replaceChildren();
  const width = by("profile").clientWidth || 480;
  if (chart) chart.destroy();
  chart = new uPlot({
    width, height: 260, legend: { show: false }, cursor: { drag: { x: false, y: false }, points: { size: 8 } },
    scales: { x: { time: false, range: padded }, y: { range: padded } },
    axes: [{ ...axis, label: unit }, { ...axis, label: "energy, kcal/mol", size: 56 }],
    series: [{}, { stroke: colour("--accent"), width: 2, points: { show: true, size: 4 } }],
    hooks: { draw: [(u) => {
      circle(u, one.top, colour("--second"), 5.5);
      u.ctx.fillStyle = colour("--ink");
      u.ctx.font = `${13 * devicePixelRatio}px system-ui, sans-serif`;
      u.ctx.textAlign = "center";
      const mark = one.name === "Path" ? "highest" : "TS";
      u.ctx.fillText(mark, u.valToPos(one.x[one.top], "x", true), u.valToPos(one.e[one.top], "y", true) - 10 * devicePixelRatio);
      if (film === one) circle(u, frame, colour("--bad"), 5);
    }] },
  }, [one.x, one.e], by("profile"));
  chart.over.addEventListener("click", (event) => {
    const left = event.clientX - chart.over.getBoundingClientRect().left;
    if (film !== one) choose(one.name);
    stop();
    show(nearest(one.x, chart.posToVal(left, "x")));
  });
}

function padded(u, low, high) {
  const room = 0.1 * ((high - low) || 1);
  return [low - room, high + room];
}

function nearest(values, value) {
  return values.reduce((best, one, i) => (Math.abs(one - value) < Math.abs(values[best] - value) ? i : best), 0);
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* Levels of reactant, transition states and product: ΔE and, where they are known, ΔG. */
function ladder() {
  const place = by("ladder"), levels = data.ladder;
  place.replaceChildren();
  if (!levels.length) return;
  const free = levels.some((level) => level.g !== undefined);
  place.append(make("h3", {}, free ? "ΔE (blue) and ΔG (orange), kcal/mol" : "ΔE, kcal/mol"));
  const values = levels.flatMap((level) => [level.e, level.g]).filter((value) => value !== undefined);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const width = Math.min(560, place.clientWidth || 560), height = 220, room = 34;
  const y = (value) => height - room - 8 - (height - 2 * room - 8) * (value - low) / ((high - low) || 1);
  const step = width / levels.length, half = Math.min(34, step * 0.3);
  const x = (i) => step * (i + 0.5);
  const words = levels.map((level) => `${level.name}: ΔE ${number(level.e, 1)}`
    + (level.g === undefined ? "" : `, ΔG ${number(level.g, 1)}`)).join("; ");
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
  for (const kind of free ? ["g", "e"] : ["e"]) {
    let before = null;
    levels.forEach((level, i) => {
      if (level[kind] === undefined) return;
      const at = y(level[kind]), other = level[kind === "e" ? "g" : "e"];
      if (before) drawing.append(svg("line", { x1: before[0] + half, y1: before[1], x2: x(i) - half, y2: at, class: kind, "stroke-dasharray": "4 4" }));
      drawing.append(svg("line", { x1: x(i) - half, y1: at, x2: x(i) + half, y2: at, class: kind, "stroke-width": 3 }));
      const above = other === undefined || level[kind] > other || (level[kind] === other && kind === "e");
      if (!(kind === "g" && level[kind] === other)) {
        drawing.append(svg("text", { x: x(i), y: at + (above ? -7 : 17), "text-anchor": "middle", class: kind }, number(level[kind], 1)));
      }
      before = [x(i), at];
    });
  }
  levels.forEach((level, i) => drawing.append(svg("text", { x: x(i), y: height - 3, "text-anchor": "middle" }, level.name)));
  place.append(drawing);
}

function frequencies() {
  const place = by("frequencies");
  place.replaceChildren();
  for (const [role, values] of Object.entries(data.frequencies)) {
    const line = make("div", { className: "values" });
    values.forEach((value, i) => line.append(i ? ", " : "", value < 0 ? make("b", {}, number(value, 1)) : number(value, 1)));
    place.append(make("details", {}, make("summary", {}, `Frequencies of the ${role.replace("_", " ")}, cm⁻¹`), line));
  }
}

function saveFrame() {
  const row = run.rows[current], places = frames[frame];
  const lines = data.symbols.map((symbol, i) => [symbol, ...[0, 1, 2].map((k) => places[3 * i + k].toFixed(3))].join(" "));
  const comment = `${row.id.replace(/\s+/g, " ")}, ${film.name}, frame ${frame + 1}, ${row.level}`;
  const file = new Blob([[data.symbols.length, comment, ...lines, ""].join("\n")], { type: "text/plain" });
  const link = make("a", { href: URL.createObjectURL(file), download: `${row.id.replace(/[^\w.-]+/g, "_")}.xyz` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function dialog() {
  const move = (steps) => { location.hash = address(shown[shown.indexOf(current) + steps]); };
  by("previous").addEventListener("click", () => move(-1));
  by("next").addEventListener("click", () => move(1));
  by("close").addEventListener("click", () => by("detail").close());
  by("detail").addEventListener("close", () => {
    stop();
    if (location.hash.startsWith("#r=")) history.replaceState(null, "", "#");
  });
  by("play").addEventListener("click", () => (timer ? stop() : play()));
  by("frame").addEventListener("input", (event) => { stop(); show(Number(event.target.value)); });
  by("saddle").addEventListener("click", () => { stop(); show(film.top); });
  by("save").addEventListener("click", saveFrame);
  addEventListener("hashchange", fromAddress);
  addEventListener("resize", () => {
    if (chart) chart.setSize({ width: by("profile").clientWidth || 480, height: 260 });
    if (viewer) viewer.resize();
  });
}

async function main() {
  if (!("DecompressionStream" in window)) {
    by("trouble").textContent = "This browser is too old for this page: it cannot unpack gzip. Firefox 113, Chrome 80, Safari 16.4 and newer can.";
    by("trouble").hidden = false;
    return;
  }
  run = await unpack(by("summary").textContent);
  packed = by("details").textContent.split("\n");
  by("name").textContent = run.name;
  by("about").textContent = `${run.level} · ${run.counts}`;
  by("notes").append(...run.notes.map((text) => make("p", { className: "note" }, text)));
  head();
  filters();
  update();
  failures();
  by("cost").querySelector("div").append(plainTable(["stage", "gradients", "Hessians", "seconds"], run.costs));
  methods();
  provenance();
  dialog();
  fromAddress();
  document.documentElement.dataset.ready = "yes";
}

main();
