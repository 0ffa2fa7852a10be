"use strict";

const WIDTH = 300, HEIGHT = 100;
const find = id => document.getElementById(id);
const metric = find("metric"), token = find("token"), state = find("state");
const sides = ["A", "B"].map(makeSide);
let about = {metrics: [], comparative_metrics: []}, comparison = null, comparing = 0;

// A place for a recording: its file, its row, and what shows them.
function makeSide(name) {
  const card = find("side").content.cloneNode(true).firstElementChild;
  const side = {name, card, file: null, row: null, asked: 0};
  card.querySelector("h4").textContent = name;
  card.querySelector("input").addEventListener("change", event => take(side, event.target.files[0]));
  card.addEventListener("dragover", event => { event.preventDefault(); card.classList.add("over"); });
  card.addEventListener("dragleave", () => card.classList.remove("over"));
  card.addEventListener("drop", event => {
    event.preventDefault();
    card.classList.remove("over");
    take(side, event.dataTransfer.files[0]);
  });
  const audio = card.querySelector("audio"), wave = card.querySelector(".wave"), head = wave.querySelector(".head");
  const follow = () => {
    head.style.left = `${100 * audio.currentTime / audio.duration}%`;
    head.hidden = !audio.currentTime;
    if (!audio.paused) requestAnimationFrame(follow);
  };
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    follow();
  });
  audio.addEventListener("seeked", follow);
  wave.addEventListener("click", event => {
    if (!audio.duration) return;
    const box = wave.getBoundingClientRect();
    audio.currentTime = audio.duration * (event.clientX - box.left) / box.width;
    audio.play().catch(() => {});
  });
  find("sides").append(card);
  return side;
}

async function take(side, file) {
  if (!file) return;
  const {card} = side, audio = card.querySelector("audio");
  side.file = file;
  side.row = comparison = null;
  URL.revokeObjectURL(audio.src);
  audio.src = URL.createObjectURL(file);
  audio.hidden = false;
  card.querySelector("h4").textContent = `${side.name}: ${file.name}`;
  card.querySelector(".wave").hidden = true;
  fault(side, "");
  show();
  await Promise.all([draw(side, file), score(side), compare()]);
}

// Requests. An answer that comes after the next recording was dropped is left alone.
async function post(path, files) {
  const form = new FormData();
  for (const file of files) form.append("files", file);
  const headers = token.value ? {Authorization: `Bearer ${token.value}`} : {};
  const answer = await fetch(path, {method: "POST", body: form, headers});
  const content = await answer.json();
  if (answer.status === 401) find("asking").hidden = false;
  if (!answer.ok) throw new Error(content.error.message);
  return content.rows[0];
}

async function score(side) {
  const number = ++side.asked;
  state.textContent = "computing";
  try {
    const row = await post("score?frames=true", [side.file]);
    if (number !== side.asked) return;
    side.row = row;
    fault(side, row.error ? row.error.message : "");
  } catch (error) {
    if (number === side.asked) fault(side, error.message);
  }
  show();
}

async function compare() {
  const number = ++comparing;
  if (!about.comparative_metrics.length || sides.some(side => !side.file)) return;
  try {
    const row = await post("compare", sides.map(side => side.file));
    if (number === comparing) comparison = row.comparison;
  } catch {
    return;  // What is wrong stands beside the recording.
  }
  show();
}

// What is shown.
function fault(side, text) {
  const line = side.card.querySelector(".fault");
  line.textContent = text;
  line.hidden = !text;
}

async function draw(side, file) {
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(await file.arrayBuffer());
  } catch {
    return;  // A browser does not read all that the service reads.
  }
  if (side.file !== file) return;
  const samples = sound.getChannelData(0), columns = Math.min(WIDTH, samples.length), high = [], low = [];
  let peak = 1e-9;
  for (let column = 0; column < columns; column++) {
    let most = -1e9, least = 1e9;
    const end = Math.floor((column + 1) * samples.length / columns);
    for (let i = Math.floor(column * samples.length / columns); i < end; i++) {
      if (samples[i] > most) most = samples[i];
      if (samples[i] < least) least = samples[i];
    }
    high.push(most);
    low.push(least);
    peak = Math.max(peak, most, -least);
  }
  const point = (value, i) => `${(i * WIDTH / columns).toFixed(1)},${(HEIGHT / 2 * (1 - value / peak)).toFixed(1)}`;
  const path = [...high.map(point), ...low.map(point).reverse()].join(" ");
  side.card.querySelector(".outline").setAttribute("d", `M${path}Z`);
  side.card.querySelector(".wave").hidden = false;
}

function curveOf(side) {
  return side.row?.frames?.[metric.value]?.scores;
}

function drawCurves() {
  const all = sides.flatMap(side => curveOf(side) || []);
  const low = all.reduce((a, b) => Math.min(a, b), Infinity), high = all.reduce((a, b) => Math.max(a, b), -Infinity);
  const margin = 0.04 * (high - low) || 0.5, bottom = low - margin, top = high + margin;
  const at = value => (value - bottom) / (top - bottom);
  const marks = all.length ? ticks(bottom, top) : [];
  for (const {card, ...side} of sides) {
    const scores = curveOf(side) || [], wave = card.querySelector(".wave");
    const points = scores.map((y, i) => `${((i + 0.5) / scores.length * WIDTH).toFixed(2)},${(HEIGHT * (1 - at(y))).toFixed(2)}`);
    wave.querySelector(".curve").setAttribute("points", points.join(" "));
    const lines = scores.length ? marks.map(y => `M0 ${(HEIGHT * (1 - at(y))).toFixed(1)}H${WIDTH}`) : [];
    wave.querySelector(".grid").setAttribute("d", lines.join(""));
    for (const old of wave.querySelectorAll(".tick")) old.remove();
    for (const y of scores.length ? marks : []) {
      const tick = document.createElement("i");
      tick.className = "tick";
      tick.textContent = String(Number(y.toPrecision(6)));
      tick.style.bottom = `${100 * at(y)}%`;
      wave.append(tick);
    }
    wave.querySelector("svg").setAttribute("aria-label", `Waveform of ${side.name}, with ${metric.value} of each frame`);
  }
}

function ticks(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low) / 5));
  const step = [1, 2, 5, 10, 20].map(k => k * power).find(size => (high - low) / size < 5);
  const found = [];
  for (let k = Math.ceil(low / step); k <= Math.floor(high / step); k++) found.push(k * step);
  return found;
}

function line(cells, kind) {
  const row = document.createElement("tr");
  cells.forEach((text, i) => {
    const cell = document.createElement(i ? kind : "th");
    if (i) cell.className = "number";
    else cell.scope = kind === "th" ? "col" : "row";
    cell.textContent = text;
    row.append(cell);
  });
  return row;
}

function number(value) {
  return typeof value === "number" ? value.toFixed(2) : "\u2013";
}

function show() {
  for (const {card, row} of sides) {
    const [left, right] = card.querySelector(".about").children;
    left.textContent = row?.scores ? [`${row.duration_s.toFixed(2)} s`, ...row.flags].join(", ") : "";
    right.textContent = row?.scores ? `${metric.value} ${number(row.scores[metric.value])}` : "";
  }
  drawCurves();
  const any = sides.some(side => side.row?.scores), table = find("results").querySelector("table");
  find("results").hidden = !any;
  const heads = comparison ? ["CMOS of A over B", "A better", "B better", "tie"] : [];
  table.tHead.replaceChildren(line(["Metric", "A", "B", ...heads], "th"));
  table.tBodies[0].replaceChildren(...about.metrics.map(name => {
    const found = comparison?.[name];
    const shares = found ? [found.p_a, found.p_b, found.p_tie].map(p => `${Math.round(100 * p)} %`) : ["", "", ""];
    const more = comparison ? [found ? number(found.cmos) : "", ...shares] : [];
    return line([name, ...sides.map(side => number(side.row?.scores?.[name])), ...more], "td");
  }));
  state.textContent = sides.some(side => side.file && !side.row && side.card.querySelector(".fault").hidden) ? "computing" : "";
}

async function begin() {
  about = await (await fetch("health")).json();
  metric.replaceChildren(...about.metrics.map(name => new Option(name)));
  if (about.metrics.includes("mos_overall")) metric.value = "mos_overall";
}

find("choice").addEventListener("submit", event => event.preventDefault());
metric.addEventListener("change", show);
token.addEventListener("change", () => {
  for (const side of sides) if (side.file) take(side, side.file);
});
document.addEventListener("dragover", event => event.preventDefault());
document.addEventListener("drop", event => event.preventDefault());
begin();
