// Scores of recordings by model.onnx, which `urgentmos export --format onnx` wrote, in this page alone.
"use strict";

const element = id => document.getElementById(id);
const say = text => { element("state").textContent = text; };

ort.env.wasm.wasmPaths = new URL("node_modules/onnxruntime-web/dist/", document.baseURI).href;
ort.env.wasm.numThreads = 1;  // Several need headers that a plain server of files does not send.

async function load() {
  const response = await fetch("model.onnx.meta.json");
  if (!response.ok) throw new Error("model.onnx is not here: urgentmos export M --format onnx --output model.onnx");
  const about = await response.json();
  const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  for (const name of about.outputs) {
    const cell = document.createElement("th");
    cell.scope = "col";
    const [first, ...rest] = name.split("_");
    cell.append(first, ...rest.flatMap(part => [document.createElement("wbr"), `_${part}`]));
    element("head").append(cell);
  }
  return { about, session };
}

// Mono at the model's rate: the browser resamples, channels are averaged.
async function decode(file, rate) {
  const buffer = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
  const mono = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += samples[i] / buffer.numberOfChannels;
  }
  return mono;
}

// Longer recordings are cut into windows, whose scores are averaged by length; a last one that is too short is left out.
async function score({ about, session }, samples) {
  if (samples.length < about.min_samples) throw new Error("too short");
  if (!samples.every(Number.isFinite)) throw new Error("holds values that are not numbers");
  const sums = new Map(about.outputs.map(name => [name, 0]));
  let heard = 0;
  for (let start = 0; start < samples.length; start += about.max_samples) {
    const part = samples.slice(start, start + about.max_samples);
    if (part.length < about.min_samples) break;
    const fixed = about.inputs.waveform.match(/\[b, (\d+)\]/);
    const row = new Float32Array(fixed ? Number(fixed[1]) : part.length);
    row.set(part);
    const found = await session.run({
      waveform: new ort.Tensor("float32", row, [1, row.length]),
      lengths: new ort.Tensor("int32", Int32Array.of(part.length), [1]),
    });
    for (const name of about.outputs) sums.set(name, sums.get(name) + found[name].data[0] * part.length);
    heard += part.length;
  }
  return about.outputs.map(name => sums.get(name) / heard);
}

function cell(row, content, kind = "") {
  const one = row.insertCell();
  one.className = kind;
  one.append(content);
  return one;
}

async function add(model, file) {
  const row = element("rows").insertRow();
  document.querySelector("table").hidden = false;
  cell(row, file.name);
  const player = document.createElement("audio");
  player.controls = true;
  player.src = URL.createObjectURL(file);
  cell(row, player);
  try {
    const samples = await decode(file, model.about.sample_rate_hz);
    cell(row, (samples.length / model.about.sample_rate_hz).toFixed(2), "number");
    for (const value of await score(model, samples)) cell(row, value.toFixed(4), "number");
  } catch (error) {
    const left = 3 + model.about.outputs.length - row.cells.length;
    cell(row, `cannot be scored: ${error.message}`, "error").colSpan = left;
  }
}

const ready = load();
let work = ready.then(
  () => say("Ready."),
  error => say(`The model cannot be loaded: ${error.message}`),
);

function take(files) {
  for (const file of files) {
    work = work.then(async () => {
      const model = await ready;
      say(`${file.name} …`);
      const start = performance.now();
      await add(model, file);
      say(`Ready. ${file.name}: ${((performance.now() - start) / 1000).toFixed(1)} s.`);
    }).catch(error => say(`The model cannot be loaded: ${error.message}`));
  }
  return work;
}

element("files").addEventListener("change", event => take(event.target.files));
const drop = element("drop");
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
