// The list of keys, export, training, and the jobs that run beside the page.

import { get, tryPost } from "./api.js";
import { BACKGROUND, MODEL, OBJECTS } from "./colours.js";
import { help } from "./keys.js";
import { find, make, swatch, time } from "./parts.js";
import { isObjects, state } from "./state.js";

const PRODUCTS = [
  ["labels", "labels: an image with a number for each object", true],
  ["overlay", "overlays: the image with outlines", true],
  ["objects", "a table of all objects", true],
  ["probabilities", "probabilities", false],
  ["geojson", "outlines for QuPath (GeoJSON)", false],
  ["rois", "outlines for ImageJ and Fiji (ROIs)", false],
  ["coco", "masks for annotation tools (COCO)", false],
];
const ONLY_OBJECTS = ["objects"];

export function buildDialogs() {
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  for (const [value, words, checked] of PRODUCTS) {
    if (!isObjects() && ONLY_OBJECTS.includes(value)) continue;
    find("save").append(make("label", {}, make("input", { type: "checkbox", value, checked }), ` ${words}`));
  }
  find("keys").replaceChildren(help(isObjects()));
  find("legend").replaceChildren(...legend());
  find("export").addEventListener("close", exported);
  find("train").addEventListener("close", trained);
  void listJobs();
}

function legend() {
  const entry = (mark, words) => make("p", {}, mark, make("span", { textContent: words }));
  const kinds = isObjects()
    ? [entry(swatch(OBJECTS[0]), "an object that you painted")]
    : state.session.classes.filter((kind) => kind.value > 0).map((kind) => entry(swatch(kind.colour), kind.name));
  return [
    ...kinds,
    entry(swatch(BACKGROUND, "dots"), "background that you painted"),
    entry(swatch(OBJECTS[0], "stripes"), "held back: measures the score, is never learned from"),
    entry(swatch(isObjects() ? MODEL : "#ffffff", "ring"), "what the model believes"),
    entry(swatch("transparent", "ring"), "no colour: unknown, nothing is learned from it"),
  ];
}

export function open(name) {
  const dialog = find(name);
  dialog.returnValue = "";
  dialog.showModal();
}

async function exported() {
  if (find("export").returnValue !== "go") return;
  const save = [...find("save").querySelectorAll("input:checked")].map((box) => box.value);
  const all = document.querySelector("input[name=which]:checked").value === "all";
  if (await tryPost("api/export", { save, images: all ? "all" : [state.image.id] })) await listJobs();
}

async function trained() {
  if (find("train").returnValue !== "go") return;
  if (await tryPost("api/train", { minutes: Number(find("minutes").value) })) await listJobs();
}

const jobs = new Map();

async function listJobs() {
  try {
    for (const job of (await get("api/jobs")).jobs) jobs.set(job.id, job);
  } catch {
    return; // asked again with the next job
  }
  showJobs();
}

export function jobChanged(job) {
  jobs.set(job.id, job);
  showJobs();
}

function showJobs() {
  find("jobs-box").hidden = !jobs.size;
  find("jobs").replaceChildren(...[...jobs.values()].reverse().slice(0, 5).map(row));
}

const TITLES = { export: "Export", train: "Training" };
const STATES = { running: "runs", done: "done", failed: "failed", stopped: "stopped" };

function row(job) {
  const head = make("p", {}, make("b", { textContent: TITLES[job.kind] ?? job.kind }));
  head.append(make("span", { class: `job-${job.state}`, textContent: STATES[job.state] ?? job.state }));
  if (job.seconds) head.append(make("span", { class: "dim", textContent: time(job.seconds) }));
  const parts = [head];
  if (job.state === "running") parts.push(progress(job));
  if (job.message) parts.push(make("p", { class: "dim", textContent: job.message }));
  if (job.state === "done" && job.out) parts.push(make("p", { class: "path", textContent: job.out }));
  return make("div", { class: "job" }, ...parts);
}

function progress({ done, total }) {
  const bar = make("progress", { "aria-label": "progress" });
  if (total) Object.assign(bar, { max: total, value: done });
  return bar;
}
