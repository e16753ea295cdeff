"use strict";
(() => {
  const table = document.getElementById("leaderboard");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];

  heads.forEach((head, column) => {
    if (head.classList.contains("number")) for (const row of rows) row.cells[column].classList.add("number");
  });

  const compare = (column, sign) => (a, b) => {
    const [x, y] = [a, b].map((row) => {
      const text = row.cells[column].textContent;
      return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
    });
    if (x === "" || y === "") return (x === "") - (y === "");
    if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
    return sign * (typeof x === "number" ? x - y : x.localeCompare(y));
  };

  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      body.append(...rows.sort(compare(column, descending ? -1 : 1)));
    });
  });

  document.getElementById("filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });

  const show = (box) => {
    heads.forEach((head, column) => {
      if (head.dataset.group !== box.dataset.group) return;
      head.hidden = !box.checked;
      for (const row of rows) row.cells[column].hidden = !box.checked;
    });
  };
  for (const box of document.querySelectorAll("input[data-group]")) {
    if (window.innerWidth < 600 && box.dataset.group !== "0") box.checked = box.dataset.group === "1";
    box.addEventListener("change", () => show(box));
    show(box);
  }
})();
