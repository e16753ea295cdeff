"use strict";
// The live page asks its server what has changed, which answers as soon as something has. A page of its own has no
// server, and asks nobody.

const PATIENCE_SECONDS = 2, PAUSE_MILLISECONDS = 50;

const live = {
  version: null, failures: 0, took: 0,

  start(data) {
    this.version = data.version;
    this.now(data.now);
    this.later();
  },

  // Never busy for more than a third of the time, and patient with a server that is gone.
  later() { setTimeout(() => this.ask(), Math.max(PAUSE_MILLISECONDS, 2 * this.took, 1000 * Math.min(10, this.failures))); },

  async ask() {
    if (document.hidden) {
      document.addEventListener("visibilitychange", () => this.ask(), { once: true });
      return;
    }
    try {
      const answer = await fetch(`changes?since=${this.version}&patience=${PATIENCE_SECONDS}`);
      if (!answer.ok) throw new Error(await answer.text());
      const data = await answer.json();
      const began = performance.now();
      this.version = data.version;
      page.take(data);
      this.now(data.now);
      this.took = performance.now() - began;
      if (data.sections) await this.refresh();
      this.failures = 0;
    } catch (error) {
      this.failures += 1;
      if (this.failures > 1) this.trouble("The server does not answer: what is shown here was so when it did last.");
    }
    this.later();
  },

  // Put those parts of the text into the page that read otherwise now.
  async refresh() {
    const answer = await fetch("sections");
    const text = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of text.querySelectorAll("[data-part]")) {
      const here = document.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!here) continue;
      if (here.innerHTML !== part.innerHTML) here.innerHTML = part.innerHTML;
    }
    page.hideEmpty();
  },

  trouble(text) {
    const place = document.getElementById("trouble");
    place.textContent = text;
    place.hidden = !text;
  },

  now(now) {
    this.trouble(now.trouble);
    document.title = `${now.tiles[1].value} · ${document.querySelector("h1").textContent}`;
    const tiles = now.tiles.map(({ name, value, note }) => {
      const tile = document.createElement("div");
      for (const [kind, text] of [["dt", name], ["dd", value], ["dd", note]]) tile.appendChild(document.createElement(kind)).textContent = text;
      tile.lastChild.className = "note";
      return tile;
    });
    document.getElementById("now-tiles").replaceChildren(...tiles);
    const running = document.getElementById("running");
    running.hidden = !now.running.length;
    running.tBodies[0].replaceChildren(...now.running.map((trial) => {
      const row = document.createElement("tr");
      for (const text of [trial.name, trial.tier, `${trial.epoch} of ${trial.to_epoch}`, trial.value]) row.insertCell().textContent = text;
      row.lastChild.className = "number";
      return row;
    }));
    const more = document.getElementById("more-running");
    more.hidden = !now.more;
    more.textContent = `and ${now.more} more`;
    const log = document.getElementById("log"), text = now.log.join("\n");
    if (log.textContent !== text) { log.textContent = text; log.scrollTop = log.scrollHeight; }
  },

  async fetchCurves(numbers) {
    if (this.version === null) return;
    try {
      const answer = await fetch(`curves?trials=${numbers.join(",")}`);
      if (answer.ok) Object.assign(page.curves, await answer.json());
    } catch (error) { /* what is known of them is shown */ }
  },
};
