"use strict";
// Figures of two axes, drawn by d3: scales, axes and the search for the nearest point are its own, marks go to a canvas.

const INK = "#010203";
const SHAPES = { o: d3.symbolCircle, s: d3.symbolSquare, D: d3.symbolDiamond, "^": d3.symbolTriangle, v: d3.symbolTriangle,
  P: d3.symbolCross, "*": d3.symbolStar, x: d3.symbolTimes, X: d3.symbolTimes };
const STROKED = new Set(["x", "X"]);
const MANY = 1500;
const REACH = 16;
const measure = document.createElement("canvas").getContext("2d");
const textWidth = (text) => { measure.font = "11px system-ui, sans-serif"; return measure.measureText(text).width; };
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const onPaper = matchMedia("print");
const onDark = () => matchMedia("(prefers-color-scheme: dark)").matches && !onPaper.matches;

// The figures' ink is the page's; their blue is lighter on dark.
function colourOf(colour) {
  if (colour === INK) return onPaper.matches ? "#000" : css("--ink");
  return onDark() && colour === "#0072B2" ? "#4ba3db" : colour;
}

function symbolPath(shape, area) {
  const path = new Path2D(d3.symbol(SHAPES[shape] || d3.symbolCircle, area)());
  if (shape !== "v") return path;
  const turned = new Path2D();
  turned.addPath(path, new DOMMatrix([1, 0, 0, -1, 0, 0]));
  return turned;
}

const tickFormats = { integer: d3.format(",d"), percent: d3.format(".0%") };
const plain = (value) => String(Number(value.toPrecision(4)));

// A canvas with an SVG above it, as wide as its place; it is drawn when it is near the window.
class Surface {
  constructor(host) {
    this.host = host;
    this.canvas = host.appendChild(document.createElement("canvas"));
    this.svg = d3.select(host).append("svg").attr("aria-hidden", "true");
    this.hits = [];
    this.width = 0;
    this.near = false;
    this.stale = true;
    this.drawn = null;
    new ResizeObserver(() => this.resized()).observe(host);
    nearby.observe(host);
    nearby.charts.set(host, this);
    host.addEventListener("pointermove", (event) => this.hover(event));
    host.addEventListener("pointerleave", () => this.leave());
    host.addEventListener("click", (event) => { const hit = this.nearest(event); if (hit?.trial != null) page.select(hit.trial, event); });
  }

  resized() {
    const width = Math.floor(this.host.clientWidth);
    if (width && width !== this.width) { this.width = width; this.redraw(); }
  }

  redraw() { this.stale = true; if (this.near) this.draw(); }

  draw() {
    if (!this.width) this.width = Math.floor(this.host.clientWidth);
    if (!this.width) return;
    this.stale = false;
    const width = Math.min(this.width, 560), height = Math.round(this.tall(width));
    const ratio = Math.max(window.devicePixelRatio || 1, onPaper.matches ? 2 : 1);
    this.host.style.height = `${height}px`;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    this.svg.attr("width", width).attr("height", height);
    this.context = this.canvas.getContext("2d");
    this.context.scale(ratio, ratio);
    this.hits = [];
    this.tree = null;
    this.paint(width, height);
  }

  nearest(event) {
    const [x, y] = d3.pointer(event, this.canvas);
    const inside = this.at?.(x, y);
    if (inside) return inside;
    this.tree ??= d3.quadtree(this.hits, (hit) => hit.x, (hit) => hit.y);
    return this.tree.find(x, y, REACH);
  }

  hover(event) {
    const hit = this.nearest(event);
    this.host.style.cursor = hit?.trial != null ? "pointer" : "";
    tooltip.show(hit, event);
    this.pointed?.(hit?.trial ?? null);
  }

  leave() { tooltip.hide(); this.pointed?.(null); }
}

const nearby = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const chart = nearby.charts.get(entry.target);
    if (!chart) continue;
    chart.near = entry.isIntersecting;
    if (chart.near && chart.stale) chart.draw();
  }
}, { rootMargin: "300px" });
nearby.charts = new Map();

class AxesChart extends Surface {
  constructor(host, spec) { super(host); this.spec = spec; }

  update(spec) { this.spec = spec; this.redraw(); }

  tall(width) { return (this.spec.height / 4.4) * Math.min(Math.max(width, 320), 460); }

  scale(axis, range) {
    const scale = axis.scale === "linear" ? d3.scaleLinear() : d3.scaleLog().base(axis.scale === "log2" ? 2 : 10);
    return scale.domain(axis.limits).range(range);
  }

  paint(width, height) {
    const { x, y } = this.spec;
    const steep = x.ticks && x.ticks.length > 10 && d3.max(x.ticks, (t) => t[1].length) > 3;
    const labels = y.ticks ? y.ticks.map((t) => t[1]) : this.scale(y, [height, 0]).ticks(5).map((v) => this.format(y)(v));
    const left = Math.min(0.42 * width, 14 + (y.label ? 16 : 0) + d3.max(labels, textWidth));
    const bottom = (x.label ? 34 : 20) + (steep ? 8 + 0.8 * d3.max(x.ticks, (t) => textWidth(t[1])) : 0);
    this.box = { left, top: 8, right: width - 14, bottom: height - bottom };
    this.x = this.scale(x, [this.box.left, this.box.right]);
    this.y = this.scale(y, [this.box.bottom, this.box.top]);
    this.axes(steep, height);
    this.context.lineJoin = "round";
    for (const mark of this.spec.marks) this[mark.kind](mark);
    this.context.globalAlpha = 1;
    this.rings();
  }

  format(axis) {
    return tickFormats[axis.form] || (axis.scale === "linear" ? this.scale(axis, [0, 1]).tickFormat(5) : plain);
  }

  axes(steep, height) {
    const { x, y } = this.spec, { left, right, top, bottom } = this.box;
    this.svg.selectAll("*").remove();
    const many = Math.max(2, Math.floor((right - left) / 70));
    const rows = Math.max(2, Math.floor((bottom - top) / 42));
    const dress = (group, axis, scale, generator, count, grid) => {
      if (axis.ticks) {
        const names = new Map(axis.ticks);
        const kept = axis === x && !steep ? this.apart(axis.ticks, scale) : axis.ticks;
        generator.tickValues(kept.map((t) => t[0])).tickFormat((at) => names.get(at));
      } else {
        let ticks = scale.ticks(count);
        if (axis.form === "integer") ticks = ticks.filter(Number.isInteger);
        if (axis.scale !== "linear" && ticks.length > count) ticks = this.apart(ticks.map((t) => [t, plain(t)]), scale, axis === y).map((t) => t[0]);
        generator.tickValues(ticks).tickFormat(this.format(axis));
      }
      generator.tickSizeOuter(0).tickSizeInner(axis.grid ? -grid : 0).tickPadding(6);
      group.call(generator).select(".domain").remove();
    };
    const below = this.svg.append("g").attr("class", "axis").attr("transform", `translate(0,${bottom})`);
    dress(below, x, this.x, d3.axisBottom(this.x), many, bottom - top);
    if (steep) below.selectAll("text").attr("transform", "rotate(-55)").attr("text-anchor", "end").attr("dx", "-0.4em").attr("dy", "0.2em");
    const beside = this.svg.append("g").attr("class", "axis").attr("transform", `translate(${left},0)`);
    dress(beside, y, this.y, d3.axisLeft(this.y), rows, right - left);
    const most = left - 12 - (y.label ? 16 : 0);
    beside.selectAll("text").each(function cut() {
      let text = this.textContent;
      while (text.length > 3 && textWidth(text) > most) text = text.slice(0, -1);
      if (text !== this.textContent) this.textContent = `${text}…`;
    });
    this.svg.append("path").attr("class", "frame").attr("d", `M${left},${top}V${bottom}H${right}`);
    if (x.label) this.svg.append("text").attr("class", "label").attr("x", (left + right) / 2).attr("y", height - 5).text(x.label);
    if (y.label) this.svg.append("text").attr("class", "label").attr("transform", `translate(11,${(top + bottom) / 2}) rotate(-90)`).text(y.label);
  }

  // Those ticks whose labels do not touch.
  apart(ticks, scale, upright = false) {
    let last = -Infinity;
    return [...ticks].sort((a, b) => (upright ? scale(b[0]) - scale(a[0]) : scale(a[0]) - scale(b[0]))).filter(([at, name]) => {
      const half = upright ? 8 : textWidth(name) / 2 + 4, place = upright ? -scale(at) : scale(at);
      if (place - half < last) return false;
      last = place + half;
      return true;
    });
  }

  inside(axis, scale, value) {
    const [low, high] = axis.limits, pad = axis.scale === "linear" && axis.grid ? 0.015 * (high - low) : 0;
    return scale(Math.min(high - pad, Math.max(low + pad, value)));
  }

  px(value) { return this.inside(this.spec.x, this.x, value); }
  py(value) { return this.inside(this.spec.y, this.y, value); }

  trials(mark) {
    const { points, visible, filtered } = page, xs = points.values[mark.x], ys = points.values[mark.y];
    if (!xs || !ys) return;
    const context = this.context, many = xs.length > MANY, half = many ? 1.5 : 2.2;
    const groups = points.tiers.map(() => []);
    const faint = [];
    for (let i = 0; i < xs.length; i += 1) {
      if (xs[i] == null || ys[i] == null) continue;
      const hit = { x: this.px(xs[i]), y: this.py(ys[i]), trial: page.numbers[i] };
      if (visible[i]) { groups[points.tier[i]].push(hit); this.hits.push(hit); } else faint.push(hit);
    }
    context.fillStyle = "#8A8F98";
    context.globalAlpha = 0.18;
    for (const { x, y } of faint) context.fillRect(x - half, y - half, 2 * half, 2 * half);
    context.globalAlpha = many && !filtered ? 0.6 : 0.8;
    groups.forEach((group, tier) => {
      context.fillStyle = colourOf(points.tiers[tier].colour);
      if (many) { for (const { x, y } of group) context.fillRect(x - half, y - half, 2 * half, 2 * half); return; }
      const path = symbolPath(points.tiers[tier].shape, page.numbers.length > 200 ? 14 : 24);
      context.strokeStyle = context.fillStyle;
      const put = STROKED.has(points.tiers[tier].shape) ? () => context.stroke(path) : () => context.fill(path);
      for (const { x, y } of group) { context.translate(x, y); put(); context.translate(-x, -y); }
    });
  }

  // A ring around those that are selected.
  rings() {
    if (!page.selected.length) return;
    for (const hit of this.hits) {
      const place = page.selected.indexOf(hit.trial);
      if (place < 0 || hit.line) continue;
      this.context.strokeStyle = css("--ink");
      this.context.lineWidth = 1.6;
      this.context.beginPath();
      this.context.arc(hit.x, hit.y, 6, 0, 2 * Math.PI);
      this.context.stroke();
    }
  }

  points(mark) {
    const context = this.context;
    context.globalAlpha = mark.alpha;
    context.fillStyle = context.strokeStyle = colourOf(mark.colour);
    context.lineWidth = 1.5;
    for (let i = 0; i < mark.x.length; i += 1) {
      if (mark.x[i] == null || mark.y[i] == null) continue;
      const trial = mark.trials[i] ?? null, x = this.px(mark.x[i]), y = this.py(mark.y[i]);
      const size = 1.2 * (mark.sizes.length ? mark.sizes[i] : mark.sizes);
      const path = symbolPath(mark.shape, (mark.shape === "x" ? 1.6 : 0.785) * size * size);
      context.globalAlpha = mark.alpha * (trial == null || page.shows(trial) ? 1 : 0.2);
      context.translate(x, y);
      if (mark.hollow || STROKED.has(mark.shape)) context.stroke(path); else context.fill(path);
      context.translate(-x, -y);
      if (trial != null || mark.tips[i]) this.hits.push({ x, y, trial, tip: mark.tips[i] });
    }
  }

  line(mark) {
    const context = this.context;
    const curve = { post: d3.curveStepAfter, pre: d3.curveStepBefore }[mark.step] || d3.curveLinear;
    const { left, right, top, bottom } = this.box;
    context.save();
    context.beginPath();
    context.rect(left, top - 2, right - left, bottom - top + 4);
    context.clip();
    context.beginPath();
    const known = (_, i) => mark.x[i] != null && mark.y[i] != null;
    d3.line((_, i) => this.x(mark.x[i]), (_, i) => this.y(mark.y[i])).defined(known).curve(curve).context(context)(mark.x);
    context.globalAlpha = mark.trial == null || page.shows(mark.trial) ? 1 : 0.25;
    context.strokeStyle = colourOf(mark.colour);
    context.lineWidth = mark.width;
    context.setLineDash(mark.dashed ? [4, 3] : []);
    context.stroke();
    context.restore();
    if (mark.trial == null) return;
    mark.x.forEach((at, i) => {
      if (at == null || mark.y[i] == null) return;
      const said = `${mark.part} ${plain(mark.y[i])}, ${this.spec.x.label} ${at}`;
      this.hits.push({ x: this.px(at), y: this.py(mark.y[i]), trial: mark.trial, tip: said, line: true });
    });
  }

  band(mark) {
    const context = this.context;
    context.beginPath();
    d3.area((_, i) => this.px(mark.x[i]), (_, i) => this.py(mark.low[i]), (_, i) => this.py(mark.high[i])).context(context)(mark.x);
    context.globalAlpha = 0.2;
    context.fillStyle = colourOf(mark.colour);
    context.fill();
    context.globalAlpha = 1;
  }

  segments(mark) {
    const context = this.context;
    context.strokeStyle = colourOf(mark.colour);
    context.lineWidth = mark.width;
    for (let i = 0; i < mark.x0.length; i += 1) {
      const trial = mark.trials[i] ?? null;
      const [x0, x1, y0, y1] = [this.px(mark.x0[i]), this.px(mark.x1[i]), this.py(mark.y0[i]), this.py(mark.y1[i])];
      context.globalAlpha = trial == null || page.shows(trial) ? 1 : 0.2;
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      context.stroke();
      if (mark.tips[i]) this.hits.push({ x: (x0 + x1) / 2, y: (y0 + y1) / 2, trial, tip: mark.tips[i], line: true });
    }
  }

  bars(mark) {
    const half = Math.abs(this.y(1) - this.y(0)) * mark.height / 2;
    this.context.fillStyle = colourOf(mark.colour);
    const boxes = mark.rows.map((row, i) => ({
      x0: this.x(mark.left[i]), x1: Math.min(this.box.right, this.x(mark.right[i])), y0: this.py(row) - half, y1: this.py(row) + half,
      trial: mark.trials[i] ?? null, tip: mark.tips[i],
    }));
    for (const { x0, x1, y0, y1, trial } of boxes) {
      this.context.globalAlpha = mark.alpha * (trial == null || page.shows(trial) ? 1 : 0.25);
      this.context.fillRect(x0, y0, x1 - x0, y1 - y0);
    }
    const before = this.at;
    this.at = (x, y) => boxes.find((b) => x >= b.x0 && x <= b.x1 && y >= b.y0 && y <= b.y1) || (before && mark !== this.spec.marks[0] ? before(x, y) : null);
  }

  cells(mark) {
    const context = this.context, blue = d3.scaleLinear([0, 1], onDark() ? ["#1d2126", "#4ba3db"] : ["#f7fbff", "#08519c"]).clamp(true);
    const across = Math.abs(this.x(1) - this.x(0)), down = Math.abs(this.y(1) - this.y(0));
    context.font = "10px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    mark.shares.forEach((shares, row) => shares.forEach((share, column) => {
      const x = this.x(column), y = this.y(-row);
      context.fillStyle = blue(share);
      context.fillRect(x - across / 2, y - down / 2, across + 0.5, down + 0.5);
      context.fillStyle = d3.lab(blue(share)).l > 55 ? "#222" : "#fff";
      if (mark.texts[row][column]) context.fillText(mark.texts[row][column], x, y);
    }));
    this.at = (x, y) => {
      const row = Math.round(-this.y.invert(y)), column = Math.round(this.x.invert(x));
      const tip = mark.tips[row]?.[column];
      return tip ? { trial: null, tip } : null;
    };
  }
}

// What each colour and sign of a figure stands for.
function legendOf(spec) {
  const entries = [];
  for (const mark of spec.marks) {
    if (mark.kind === "trials") entries.push(...page.points.tiers.map((t) => ({ label: t.name || "trials", colour: t.colour, shape: t.shape })));
    else if (mark.label) entries.push({ label: mark.label, colour: mark.colour, shape: { points: mark.shape, bars: "s", band: "s" }[mark.kind], ...mark });
  }
  const list = document.createElement("p");
  list.className = "legend";
  for (const { label, colour, shape, dashed, hollow, kind } of entries) {
    const item = list.appendChild(document.createElement("span"));
    const svg = d3.select(item).append("svg").attr("width", 16).attr("height", 10).attr("aria-hidden", "true");
    const stroke = colour === INK ? "currentColor" : colourOf(colour);
    const sign = svg.append("path").attr("opacity", kind === "band" ? 0.3 : 1);
    if (shape) {
      const turn = shape === "v" ? " scale(1,-1)" : "";
      sign.attr("d", d3.symbol(SHAPES[shape] || d3.symbolCircle, 44)()).attr("transform", `translate(8,5)${turn}`);
      if (hollow || STROKED.has(shape)) sign.attr("fill", "none").attr("stroke", stroke).attr("stroke-width", 1.5); else sign.attr("fill", stroke);
    } else sign.attr("d", "M0,5H16").attr("stroke", stroke).attr("stroke-width", 2).attr("stroke-dasharray", dashed ? "4,3" : null);
    item.append(label);
  }
  return entries.length ? list : null;
}
