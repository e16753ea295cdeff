"use strict";
// The table of trials: sorted, filtered, its rows made as they are scrolled to.

const CHUNK = 150, ON_PAPER = 350;

const table = {
  rows: [], shown: 0, sorted: null, descending: false, hidden: new Set(), built: "", texts: [],

  start() {
    this.table = document.getElementById("leaderboard");
    this.body = this.table.tBodies[0];
    this.scroll = this.table.parentElement;
    this.scroll.addEventListener("scroll", () => {
      if (this.scroll.scrollTop + this.scroll.clientHeight > this.scroll.scrollHeight - 600) this.more(CHUNK);
    });
    document.getElementById("filter").addEventListener("input", (event) => {
      page.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      page.filter();
    });
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row && !String(getSelection())) page.select(Number(row.dataset.trial), event);
    });
    this.body.addEventListener("keydown", (event) => {
      if (event.key === "Enter") page.select(Number(event.target.closest("tr").dataset.trial), event);
    });
  },

  // The head, if the columns are others than before, and the rows.
  build() {
    const kind = JSON.stringify([page.columns, page.groups]);
    this.texts = [];
    if (kind !== this.built) { this.built = kind; this.head(); }
    this.fill(false);
    const tools = document.getElementById("tools");
    tools.hidden = this.scroll.hidden = !page.numbers.length;
    document.getElementById("no-trials").hidden = page.numbers.length > 0;
  },

  head() {
    const heads = this.table.tHead.rows[0];
    heads.replaceChildren();
    page.columns.forEach((column, place) => {
      const head = heads.appendChild(document.createElement("th"));
      head.scope = "col";
      head.classList.toggle("number", column.numeric);
      const button = head.appendChild(document.createElement("button"));
      button.type = "button";
      column.name.split("_").forEach((part, n, all) => {
        button.append(part + (n < all.length - 1 ? "_" : ""));
        if (n < all.length - 1) button.append(document.createElement("wbr"));
      });
      button.addEventListener("click", () => this.sort(place));
    });
    const boxes = document.getElementById("groups");
    const small = window.innerWidth < 600;
    boxes.querySelectorAll("label").forEach((label) => label.remove());
    this.hidden.clear();
    page.groups.forEach((group, number) => {
      const label = boxes.appendChild(document.createElement("label")), box = label.appendChild(document.createElement("input"));
      box.type = "checkbox";
      box.checked = small ? number === 0 || number === 1 : group.shown;
      label.append(group.name);
      const show = () => { if (box.checked) this.hidden.delete(number); else this.hidden.add(number); this.hide(); };
      box.addEventListener("change", () => { show(); this.fill(true); });
      show();
    });
  },

  hide() {
    [...this.table.tHead.rows[0].cells].forEach((head, place) => { head.hidden = this.hidden.has(page.columns[place].group); });
  },

  sort(place) {
    this.descending = this.sorted === place && !this.descending;
    this.sorted = place;
    [...this.table.tHead.rows[0].cells].forEach((head, n) => {
      if (n === place) head.setAttribute("aria-sort", this.descending ? "descending" : "ascending"); else head.removeAttribute("aria-sort");
    });
    this.fill(true);
  },

  // A trial's cells, its rank first.
  cellsOf(i) { return [String(page.rankOf.get(page.numbers[i]) ?? ""), ...page.cells[i]]; },

  matches(i, words) {
    if (!words.length) return true;
    const text = (this.texts[i] ??= page.cells[i].join(" ").toLowerCase());
    return words.every((word) => text.includes(word));
  },

  compare(column, sign) {
    const values = new Map(page.numbers.map((_, i) => {
      const text = this.cellsOf(i)[column];
      return [i, text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text];
    }));
    return (a, b) => {
      const x = values.get(a), y = values.get(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
      return sign * (typeof x === "number" ? x - y : x.localeCompare(y));
    };
  },

  // Choose and order the rows, and make as many as were shown, or with `anew` the first ones.
  fill(anew) {
    this.rows = page.order.map((number) => page.index.get(number)).filter((i) => i !== undefined && page.visible[i]);
    if (this.sorted !== null && page.columns[this.sorted]) this.rows.sort(this.compare(this.sorted, this.descending ? -1 : 1));
    const count = anew ? CHUNK : Math.max(CHUNK, this.shown);
    if (anew) this.scroll.scrollTop = 0;
    this.shown = 0;
    this.body.replaceChildren();
    this.more(count);
  },

  more(count) {
    const rows = this.rows.slice(this.shown, this.shown + count);
    this.shown += rows.length;
    this.body.append(...rows.map((i) => this.row(i)));
  },

  row(i) {
    const row = document.createElement("tr"), number = page.numbers[i], rank = page.rankOf.get(number);
    row.dataset.trial = number;
    row.tabIndex = 0;
    const kinds = { best: rank === 1, tie: rank !== 1 && page.ties.has(number), apart: rank === "", selected: page.selected.includes(number) };
    row.className = Object.keys(kinds).filter((kind) => kinds[kind]).join(" ");
    this.cellsOf(i).forEach((text, place) => {
      if (this.hidden.has(page.columns[place].group)) return;
      const cell = row.appendChild(document.createElement("td"));
      if (page.columns[place].numeric) cell.className = "number";
      cell.textContent = text;
    });
    return row;
  },

  mark() { for (const row of this.body.rows) row.classList.toggle("selected", page.selected.includes(Number(row.dataset.trial))); },

  showAll() { this.more(ON_PAPER); },

  title(number) {
    const i = page.index.get(number);
    if (i === undefined) return `trial ${number}`;
    const rank = page.rankOf.get(number);
    return [`trial ${number}`, rank ? `rank ${rank}` : page.points.state[i], page.points.tiers[page.points.tier[i]]?.name].filter(Boolean).join(" · ");
  },

  // What the figures say of a trial where the pointer rests on it: its result and its hyperparameters.
  brief(number) {
    const list = document.createElement("dl"), i = page.index.get(number);
    if (i === undefined) return list;
    const cells = this.cellsOf(i);
    page.columns.forEach((column, place) => {
      if (column.brief && cells[place] !== "") list.append(...this.pair(column.name, [cells[place]]));
    });
    return list;
  },

  // All that the table says of some trials, a line for each column.
  compared(numbers) {
    const list = document.createElement("table"), all = numbers.map((number) => this.cellsOf(page.index.get(number)));
    page.columns.forEach((column, place) => {
      if (all.every((cells) => cells[place] === "")) return;
      const row = list.insertRow();
      row.appendChild(document.createElement("th")).textContent = column.name;
      for (const cells of all) row.insertCell().textContent = cells[place];
    });
    return list;
  },

  pair(name, texts) {
    const term = document.createElement("dt"), value = document.createElement("dd");
    term.textContent = name;
    value.textContent = texts.join(", ");
    return [term, value];
  },
};
