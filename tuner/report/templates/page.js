"use strict";
// What the page knows: its trials, which of them are chosen, and its figures. Table, figures and filters meet here.

const MOST_SELECTED = 5;
const SERIES = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"];

const page = {
  columns: [], groups: [], numbers: [], cells: [], index: new Map(), order: [], ranked: 0, ties: new Set(), rankOf: new Map(),
  points: { tiers: [], tier: [], state: [], values: {} }, curves: {}, figures: new Map(), charts: new Map(),
  brushes: new Map(), words: [], selected: [], visible: new Uint8Array(0), filtered: false,

  // Take in all of the data, or what has changed in them.
  take(data) {
    const all = data.trials || data.order || data.figures || data.ties;
    if (data.whole) Object.assign(this, { numbers: [], cells: [], index: new Map(), points: { tiers: [], tier: [], state: [], values: {} } });
    for (const name of ["columns", "groups", "order", "ranked", "metric"]) if (name in data) this[name] = data[name];
    if (data.ties) this.ties = new Set(data.ties);
    this.rankOf = new Map(this.order.map((number, place) => [number, place < this.ranked ? place + 1 : ""]));
    Object.assign(this.curves, data.curves);
    const { trials } = data;
    if (trials) {
      const tiers = this.tiersOf(trials.tiers);
      trials.numbers.forEach((number, n) => {
        let i = this.index.get(number);
        if (i === undefined) { i = this.numbers.length; this.numbers.push(number); this.index.set(number, i); }
        this.cells[i] = trials.cells[n];
        this.points.tier[i] = tiers[trials.tier[n]];
        this.points.state[i] = trials.state[n];
        for (const [name, values] of Object.entries(trials.values)) (this.points.values[name] ??= [])[i] = values[n];
      });
    }
    const now = data.now?.figures || [], rest = data.figures || [...this.figures.values()].filter((figure) => figure.section !== "now");
    this.figures = new Map([...now, ...rest].map((figure) => [figure.name, figure]));
    if (all) this.choose();
    this.mount();
    if (all) { table.build(); this.drawAll(); }
    this.detail();
  },

  // Where each tier of new data stands among those that are known.
  tiersOf(found) {
    return found.map((tier) => {
      const place = this.points.tiers.findIndex((known) => known.name === tier.name);
      return place >= 0 ? place : this.points.tiers.push(tier) - 1;
    });
  },

  // Work out which trials the filters leave.
  choose() {
    const columns = [...this.brushes].map(([name, range]) => [this.points.values[name] || [], range]);
    this.visible = new Uint8Array(this.numbers.length);
    let count = 0;
    for (let i = 0; i < this.numbers.length; i += 1) {
      const within = columns.every(([values, [low, high]]) => values[i] != null && values[i] >= low && values[i] <= high);
      if (!within || !table.matches(i, this.words)) continue;
      this.visible[i] = 1;
      count += 1;
    }
    this.filtered = this.brushes.size > 0 || this.words.length > 0;
    const chip = document.getElementById("chosen");
    chip.hidden = !this.filtered;
    chip.firstElementChild.textContent = `${count.toLocaleString("en")} of ${this.numbers.length.toLocaleString("en")} trials`;
  },

  filter() { this.choose(); table.fill(true); this.drawAll(); },

  brush(column, range, from) {
    if (range) this.brushes.set(column, range); else this.brushes.delete(column);
    this.soon ??= requestAnimationFrame(() => { this.soon = null; this.choose(); table.fill(true); this.drawAll(from); });
  },

  clear() {
    document.getElementById("filter").value = "";
    this.words = [];
    this.brushes.clear();
    for (const chart of this.charts.values()) chart.clear?.();
    this.filter();
  },

  shows(number) {
    const i = this.index.get(number);
    return i === undefined || this.visible[i] === 1;
  },

  drawAll() { for (const chart of this.charts.values()) chart.redraw?.(); },

  // Give every figure its place, and take those away that are no more.
  mount() {
    for (const place of document.querySelectorAll("[data-plots]")) {
      const wanted = [...this.figures.values()].filter((figure) => figure.section === place.dataset.plots);
      for (const shown of [...place.children]) {
        if (wanted.some((figure) => figure.name === shown.dataset.name)) continue;
        this.charts.delete(shown.dataset.name);
        shown.remove();
      }
      wanted.forEach((figure, n) => {
        let shown = [...place.children].find((child) => child.dataset.name === figure.name);
        if (!shown) {
          shown = document.createElement("figure");
          shown.dataset.name = figure.name;
          const caption = shown.appendChild(document.createElement("figcaption"));
          caption.appendChild(document.createElement("b")).textContent = figure.title;
          caption.append(` ${figure.caption}`);
        }
        if (place.children[n] !== shown) place.insertBefore(shown, place.children[n] || null);
        this.show(figure, shown);
      });
    }
    this.hideEmpty();
  },

  // A section that has nothing but its title is not shown, nor is a link to it.
  hideEmpty() {
    for (const section of document.querySelectorAll("main > section:not(#now, #trials)")) {
      const rest = section.textContent.replace(section.querySelector("h2").textContent, "");
      section.hidden = !rest.trim() && !section.querySelector("figure");
    }
    for (const link of document.querySelectorAll('nav a[href^="#"]')) link.hidden = document.querySelector(link.hash)?.hidden ?? true;
  },

  show(figure, shown) {
    const { drawing } = figure, known = this.charts.get(figure.name);
    const text = JSON.stringify(drawing);
    if (known && known.text === text && drawing.kind !== "pictures") return;
    shown.querySelector(".legend")?.remove();
    if (drawing.kind === "chart") { const legend = legendOf(drawing); if (legend) shown.querySelector("figcaption").after(legend); }
    if (known?.update) known.update(drawing);
    else if (drawing.kind !== "pictures") {
      const host = shown.appendChild(document.createElement("div"));
      host.className = "chart";
      host.setAttribute("role", "img");
      host.setAttribute("aria-label", `${figure.title}. ${figure.caption}`);
      this.charts.set(figure.name, drawing.kind === "parallel" ? new ParallelChart(host, drawing) : new AxesChart(host, drawing));
    } else if (known?.text !== text) {
      shown.querySelector(".pictures")?.remove();
      shown.appendChild(pictures(drawing));
      this.charts.set(figure.name, {});
    }
    this.charts.get(figure.name).text = text;
  },

  // Show a trial in the panel; with Ctrl, Shift or Cmd beside those that are shown.
  select(number, event) {
    const more = event && (event.ctrlKey || event.shiftKey || event.metaKey);
    const was = this.selected.includes(number);
    if (more) this.selected = was ? this.selected.filter((n) => n !== number) : [...this.selected, number].slice(-MOST_SELECTED);
    else this.selected = was && this.selected.length === 1 ? [] : [number];
    this.detail();
    table.mark();
    this.drawAll();
  },

  async detail() {
    const panel = document.getElementById("detail");
    this.selected = this.selected.filter((number) => this.index.has(number));
    panel.hidden = !this.selected.length;
    if (panel.hidden) return;
    const shown = this.selected;
    await live.fetchCurves(shown);
    if (shown !== this.selected) return;
    panel.querySelector("h2").textContent = `Trial${shown.length > 1 ? "s" : ""} ${shown.join(", ")}`;
    const curves = panel.querySelector(".curves");
    for (const of of ["metric", "loss"]) {
      const spec = curveSpec(shown, of), name = `detail ${of}`;
      let host = curves.querySelector(`[data-of="${of}"]`);
      if (!spec) { host?.remove(); this.charts.delete(name); continue; }
      if (!host) {
        host = curves.appendChild(document.createElement("div"));
        host.className = "chart";
        host.dataset.of = of;
        this.charts.set(name, new AxesChart(host, spec));
      } else this.charts.get(name).update(spec);
    }
    panel.querySelector(".none").hidden = curves.childElementCount > 0;
    panel.querySelector(".values").replaceChildren(table.compared(shown));
  },
};

function pictures(drawing) {
  const place = document.createElement("div");
  place.className = "pictures";
  drawing.sources.forEach((source, n) => {
    const figure = place.appendChild(document.createElement("figure"));
    const image = figure.appendChild(document.createElement("img"));
    image.src = source;
    image.alt = drawing.titles[n];
    figure.appendChild(document.createElement("figcaption")).textContent = drawing.titles[n];
  });
  return place;
}

// The curves of some trials as a figure: dev solid, train dashed.
function curveSpec(numbers, of) {
  const marks = [], late = [];
  let last = 1;
  numbers.forEach((number, n) => {
    const curve = page.curves[number];
    if (!curve) return;
    const epochs = curve.epochs || curve.dev.map((_, i) => i + 1);
    const [dev, train] = of === "metric" ? [curve.dev, curve.train] : [curve.dev_loss, curve.train_loss];
    const common = { kind: "line", x: epochs, step: "", trial: number, colour: SERIES[n % SERIES.length] };
    if (dev) marks.push({ ...common, y: dev, dashed: false, width: 1.6, part: "dev", label: `trial ${number}` });
    if (train) marks.push({ ...common, y: train, dashed: true, width: 1.1, part: "train", label: "" });
    for (const values of [dev, train]) late.push(...(values || []).filter((v) => v != null));
    last = Math.max(last, epochs[epochs.length - 1]);
  });
  if (!late.length) return null;
  let [low, high] = d3.extent(late);
  const far = of === "loss" && low > 0 && high / low > 20;
  const pad = 0.06 * (high - low) || 0.01 * Math.abs(high) || 0.01;
  [low, high] = far ? [low / 1.1, high * 1.1] : [low - pad, high + pad];
  return {
    height: 2.3, marks,
    x: { label: "epoch", limits: [1 - 0.03 * last, last + 0.03 * last], scale: "linear", ticks: null, form: "integer", grid: true },
    y: { label: of === "metric" ? page.metric : "loss", limits: [low, high], scale: far ? "log" : "linear", ticks: null, form: "", grid: true },
  };
}

const tooltip = {
  show(hit, event) {
    const box = document.getElementById("tooltip");
    box.hidden = !hit;
    if (!hit) return;
    box.replaceChildren();
    if (hit.trial != null) box.appendChild(document.createElement("b")).textContent = table.title(hit.trial);
    if (hit.tip) box.appendChild(document.createElement("div")).textContent = hit.tip;
    if (hit.trial != null) box.append(table.brief(hit.trial));
    const { innerWidth: width, innerHeight: height } = window, { offsetWidth, offsetHeight } = box;
    const right = event.clientX + 14 + offsetWidth < width;
    box.style.left = `${Math.max(4, right ? event.clientX + 14 : event.clientX - 14 - offsetWidth)}px`;
    box.style.top = `${Math.max(4, Math.min(event.clientY + 14, height - offsetHeight - 6))}px`;
  },
  hide() { document.getElementById("tooltip").hidden = true; },
};

function start() {
  document.getElementById("chosen").querySelector("button").addEventListener("click", () => page.clear());
  document.getElementById("detail").querySelector("button").addEventListener("click", () => { page.selected = []; page.detail(); table.mark(); page.drawAll(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && page.selected.length) { page.selected = []; page.detail(); table.mark(); page.drawAll(); } });
  table.start();
  const data = JSON.parse(document.getElementById("data").textContent);
  page.take(data);
  if (data.live) live.start(data);
  for (const query of [onPaper, matchMedia("(prefers-color-scheme: dark)")]) query.addEventListener("change", () => page.drawAll());
  addEventListener("beforeprint", () => { table.showAll(); for (const chart of page.charts.values()) chart.draw?.(); });
}
