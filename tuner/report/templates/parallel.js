"use strict";
// Parallel coordinates: a row for each hyperparameter, a line for each trial; dragging along a row chooses trials.

const BEST = 5, LINES = 1200, ROW = 46;

class ParallelChart extends Surface {
  constructor(host, spec) { super(host); this.spec = spec; this.brushes = new Map(); }

  update(spec) { this.spec = spec; this.redraw(); }

  tall() { return 20 + ROW * this.spec.rows.length; }

  paint(width) {
    const { rows } = this.spec, names = d3.max(rows, (row) => textWidth(row.name));
    const left = Math.min(0.34 * width, 16 + names);
    this.x = d3.scaleLinear([0, 1], [left + 10, width - 22]);
    this.rows = rows.map((row, i) => ({ ...row, y: 16 + ROW * i }));
    if (!this.svg.selectAll(".row").size() || this.painted !== width + rows.map((r) => r.name).join()) this.axes(left, width);
    this.lines();
  }

  axes(left, width) {
    this.painted = width + this.spec.rows.map((r) => r.name).join();
    this.svg.selectAll("*").remove();
    for (const row of this.rows) {
      const group = this.svg.append("g").attr("class", "axis row").attr("transform", `translate(0,${row.y})`);
      const names = new Map(row.ticks);
      const kept = AxesChart.prototype.apart.call(this, row.ticks, this.x);
      group.append("path").attr("class", "frame").attr("d", `M${this.x(0)},0H${this.x(1)}`);
      const brush = d3.brushX().extent([[this.x(0) - 8, -11], [this.x(1) + 8, 11]]).on("brush end", (event) => this.brushed(row, event));
      const place = group.append("g").attr("class", "brush").call(brush);
      const chosen = page.brushes.get(row.column);
      if (chosen) place.call(brush.move, chosen.map(this.x));
      this.brushes.set(row.column, () => place.call(brush.move, null));
      group.append("g").attr("transform", "translate(0,5)").call(d3.axisBottom(this.x).tickValues(kept.map((t) => t[0])).tickFormat((at) => names.get(at)).tickSize(0)).select(".domain").remove();
      const title = group.append("text").attr("class", "label end").attr("x", left).attr("y", 4).text(row.name);
      for (let name = row.name; name.length > 3 && textWidth(name) > left - 6;) { name = name.slice(0, -1); title.text(`${name}…`); }
    }
    // Where no brush is begun, points are found below the rows.
    this.svg.style("pointer-events", "none").selectAll(".brush").style("pointer-events", "all");
  }

  brushed(row, event) {
    if (!event.sourceEvent) return;
    page.brush(row.column, event.selection ? event.selection.map(this.x.invert) : null, this);
  }

  clear() { for (const clear of this.brushes.values()) clear(); }

  lines() {
    const { context } = this, { points, visible, filtered } = page;
    const columns = this.rows.map((row) => points.values[row.column] || []);
    const place = (i) => columns.map((column) => (column[i] == null ? null : this.x(column[i])));
    const ranked = this.spec.ranked.map((number) => page.index.get(number)).filter((i) => i != null);
    const best = new Set(ranked.slice(0, BEST));
    const others = ranked.filter((i) => !best.has(i));
    for (let i = 0; i < page.numbers.length; i += 1) if (page.cells[i] && !ranked.length) others.push(i);
    const some = (list) => { const step = Math.max(1, Math.ceil(list.length / LINES)); return list.filter((_, n) => n % step === 0); };
    const stroke = (i) => {
      const xs = place(i);
      context.beginPath();
      d3.line((x) => x, (_, n) => this.rows[n].y).defined((x) => x != null).context(context)(xs);
      context.stroke();
      xs.forEach((x, n) => { if (x != null && visible[i]) this.hits.push({ x, y: this.rows[n].y, trial: page.numbers[i], line: true }); });
    };
    const draw = (list, colour, width, alpha) => {
      context.strokeStyle = colourOf(colour);
      context.lineWidth = width;
      context.globalAlpha = alpha;
      list.forEach(stroke);
    };
    const hidden = some(others.filter((i) => !visible[i])), shown = some(others.filter((i) => visible[i]));
    draw(hidden, "#8A8F98", 0.6, 0.1);
    draw(shown, filtered ? "#56B4E9" : "#8A8F98", 0.8, filtered ? 0.6 : Math.max(0.12, Math.min(0.4, 40 / shown.length)));
    for (const i of [...best].reverse()) draw([i], i === ranked[0] ? "#E69F00" : "#0072B2", i === ranked[0] ? 2.4 : 1.5, visible[i] ? 1 : 0.15);
    const marked = [...page.selected, this.over].map((number) => page.index.get(number)).filter((i) => i != null);
    draw(marked, INK, 2, 1);
    context.globalAlpha = 1;
  }

  pointed(trial) {
    if (trial === (this.over ?? null)) return;
    this.over = trial;
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.hits = [];
    this.tree = null;
    this.lines();
  }
}
