"use strict";
const later = () => setTimeout(async () => {
  const trouble = document.getElementById("trouble");
  try {
    const text = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
    const here = document.querySelector("[data-part]"), there = text.querySelector("[data-part]");
    if (here.innerHTML !== there.innerHTML) here.innerHTML = there.innerHTML;
    trouble.hidden = true;
  } catch (error) { trouble.hidden = false; }
  later();
}, 2000);
later();
