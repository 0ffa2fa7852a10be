"use strict";

// Tables: a click on the head of a column sorts by it, another one the other way round. What is missing goes last.
const words = new Intl.Collator(undefined, {numeric: true});

function sorted(rows, head) {
  const falling = head.ariaSort ? head.ariaSort === "ascending" : head.classList.contains("number");
  const sign = falling ? -1 : 1;
  const keyed = rows.map(row => {
    const cell = row.cells[head.cellIndex], key = cell.dataset.key;
    return {row, key: key === undefined ? cell.textContent : key === "" ? null : Number(key)};
  });
  keyed.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    return sign * (typeof a.key === "number" && typeof b.key === "number" ? a.key - b.key : words.compare(a.key, b.key));
  });
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.ariaSort = falling ? "descending" : "ascending";
  return keyed.map(one => one.row);
}

function sortable(table, rows, show) {
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("button")?.closest("th");
    if (head) show(rows = sorted(rows, head));
  });
}

const all = document.getElementById("all");
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  if (table !== all) sortable(table, Array.from(body.rows), rows => body.replaceChildren(...rows));
}

// All clips: those that the filter lets through, as many as there are at first until more are asked for.
const filter = document.querySelector(".filter"), more = document.querySelector(".more");
const system = filter.querySelector("select"), name = filter.querySelector("input");
let lines = Array.from(all.tBodies[0].rows), most = lines.length;
const rest = document.querySelector("#clips template");
if (rest) lines.push(...rest.content.children);

function show() {
  const wanted = system ? system.value : "", part = name.value.toLowerCase();
  const found = lines.filter(row => (!wanted || row.dataset.system === wanted) &&
    (!part || row.querySelector("th").textContent.toLowerCase().includes(part)));
  all.tBodies[0].replaceChildren(...found.slice(0, most));
  filter.querySelector("output").textContent = `${Math.min(found.length, most)} of ${found.length} shown`;
  more.hidden = found.length <= most;
}

sortable(all, lines, rows => { lines = rows; show(); });
filter.hidden = false;
filter.addEventListener("input", show);
filter.addEventListener("submit", event => event.preventDefault());
more.addEventListener("click", () => { most += 500; show(); });
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
