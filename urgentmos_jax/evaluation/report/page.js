"use strict";

// Tables: a click on the head of a column sorts by it, another one the other way round. What is missing goes last.
const words = new Intl.Collator(undefined, {numeric: true});

function sortBy(table, head) {
  const falling = head.ariaSort ? head.ariaSort === "ascending" : head.classList.contains("number");
  const sign = falling ? -1 : 1;
  const column = head.cellIndex, body = table.tBodies[0];
  const rows = Array.from(body.rows, row => {
    const cell = row.cells[column], key = cell.dataset.key;
    return {row, key: key === undefined ? cell.textContent : key === "" ? null : Number(key)};
  });
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    return sign * (typeof a.key === "number" && typeof b.key === "number" ? a.key - b.key : words.compare(a.key, b.key));
  });
  body.append(...rows.map(one => one.row));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.ariaSort = falling ? "descending" : "ascending";
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", event => {
    if (!event.target.closest("button")) return;
    sortBy(table, event.target.closest("th"));
    if (table.id === "all") show();
  });
}

// All clips: those that the filter lets through, a hundred until more are asked for.
const all = document.getElementById("all"), filter = document.querySelector(".filter");
const more = document.querySelector(".more"), system = filter.querySelector("select");
const name = filter.querySelector("input");
let most = 100;

function show() {
  const wanted = system ? system.value : "", part = name.value.toLowerCase();
  let found = 0;
  for (const row of all.tBodies[0].rows) {
    const fits = (!wanted || row.dataset.system === wanted) &&
      (!part || row.querySelector("th").textContent.toLowerCase().includes(part));
    row.hidden = !fits || ++found > most;
  }
  filter.querySelector("output").textContent = `${Math.min(found, most)} of ${found} shown`;
  more.hidden = found <= most;
}

filter.hidden = false;
filter.addEventListener("input", show);
filter.addEventListener("submit", event => event.preventDefault());
more.addEventListener("click", () => { most = Infinity; show(); });
show();

// Sound: one recording at a time, and a line on the waveform where it is.
const player = document.getElementById("player"), own = player.querySelector("audio");

all.addEventListener("click", event => {
  const play = event.target.closest(".play");
  if (!play) return;
  event.preventDefault();
  const card = play.dataset.card && document.getElementById(play.dataset.card).querySelector("audio");
  own.src = card ? card.src : play.dataset.source || play.href;
  player.querySelector("span").textContent = play.closest("tr").querySelector("th").textContent;
  player.hidden = false;
  own.play().catch(() => {});
});

document.addEventListener("play", event => {
  for (const audio of document.querySelectorAll("audio")) if (audio !== event.target) audio.pause();
}, true);

for (const card of document.querySelectorAll(".card")) {
  const wave = card.querySelector(".wave"), audio = card.querySelector("audio");
  if (!wave || !audio) continue;
  const head = wave.querySelector(".head");
  const follow = () => {
    head.style.left = `${100 * audio.currentTime / audio.duration}%`;
    head.hidden = !audio.currentTime;
    if (!audio.paused) requestAnimationFrame(follow);
  };
  audio.addEventListener("play", follow);
  audio.addEventListener("seeked", follow);
  wave.addEventListener("click", event => {
    if (!audio.duration) return;
    const box = wave.getBoundingClientRect();
    audio.currentTime = audio.duration * (event.clientX - box.left) / box.width;
    audio.play().catch(() => {});
  });
}
