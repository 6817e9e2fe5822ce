// The line under the image: what is under the pointer, and lines of the server that can be dismissed.

import { get } from "./api.js";
import { find, later, make } from "./parts.js";
import { on, state } from "./state.js";

const NOTE_MS = 6000; // a note goes by itself, an error stays until it is dismissed

let asking = null;

export function buildStatus() {
  on("hover", hover);
  on("say", note);
  on("online", (online) => (online ? clear("offline") : note({ text: "The connection is lost. Trying again…", kind: "offline" })));
  on("pen", (down) => {
    find("under").textContent = down ? "Pen is down: arrows draw, Enter ends, Escape gives up." : "";
  });
}

function hover(point) {
  const inside = point && point.every((one, axis) => one >= -0.5 && one < state.image.shape[axis] - 0.5);
  find("place").textContent = inside ? `y ${Math.round(point[0])}  x ${Math.round(point[1])}` : "";
  asking?.abort();
  if (inside) look(state.image, point.map(Math.round));
  else find("under").textContent = "";
}

const look = later(async (image, [y, x]) => {
  asking?.abort();
  asking = new AbortController();
  try {
    const found = await get(`api/images/${image.id}/object?y=${y}&x=${x}`, { signal: asking.signal });
    if (image === state.image) find("under").replaceChildren(...inWords(found, image));
  } catch {
    // Another place is asked for by now, or the server is away, which is said elsewhere.
  }
}, 90);

function inWords({ values, annotated, predicted }, image) {
  const parts = [];
  const add = (kind, text) => parts.push(make("span", { class: kind, textContent: text }));
  if (annotated) {
    const name = state.session.task === "classes" ? className(annotated.number) : `object ${annotated.number}`;
    add("painted", [name, area(annotated), annotated.held ? "held back" : ""].filter(Boolean).join(" · "));
  }
  if (predicted) {
    const sure = [["probability", predicted.probability], ["confidence", predicted.confidence]];
    const words = sure.filter(([, value]) => value != null).map(([name, value]) => `${name} ${value.toFixed(2)}`);
    add("model", ["model", area(predicted), ...words].filter(Boolean).join(" · "));
  }
  const greys = values?.map((value) => (Number.isInteger(value) ? value : Number(value?.toPrecision(4))));
  if (greys) add("values", greys.length > 1 ? greys.map((value, at) => `${image.channels[at]?.name ?? at} ${value}`).join("  ") : `value ${greys[0]}`);
  return parts;
}

const className = (value) => state.session.classes.find((kind) => kind.value === value)?.name ?? `class ${value}`;

function area({ area_px: pixels, area_um2: um }) {
  if (pixels == null) return "";
  return um == null ? `${pixels.toLocaleString("en")} px` : `${pixels.toLocaleString("en")} px · ${Number(um.toPrecision(3))} µm²`;
}

function note({ text, kind }) {
  const box = find("notes");
  for (const old of [...box.children]) if (old.dataset.text === text) old.remove();
  const close = make("button", { class: "plain", textContent: "×", "aria-label": "Dismiss" });
  const line = make("p", { class: `note ${kind}`, "data-text": text }, make("span", { textContent: text }));
  if (kind !== "offline") line.append(close);
  close.addEventListener("click", () => line.remove());
  box.append(line);
  while (box.children.length > 4) box.firstChild.remove();
  if (kind === "note") setTimeout(() => line.remove(), NOTE_MS);
}

function clear(kind) {
  for (const line of find("notes").querySelectorAll(`.${kind}`)) line.remove();
}
