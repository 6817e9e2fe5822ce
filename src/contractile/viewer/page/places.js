// Where to annotate next: places where the model is least sure, as a list and a key.

import { get } from "./api.js";
import { find, later, make } from "./parts.js";
import { emit, on, say, state } from "./state.js";

const FRESH_MS = 15000; // the model is another one by then
const MOST = 10;

let places = [];
let askedAt = -Infinity;
const visited = new Set(); // places where the user was sent

const name = (place) => `${place.image}: ${place.region}`;

export function buildPlaces() {
  const box = find("places-box");
  const refresh = later(async () => {
    if (box.open) await ask().catch(() => {}); // the page says by itself when the server is away
  }, 300);
  box.addEventListener("toggle", refresh);
  on("places", () => {
    askedAt = -Infinity;
    refresh();
  });
}

/** Each press goes to the best place, on any image, where the user was not sent yet. */
export async function suggest() {
  try {
    if (performance.now() - askedAt > FRESH_MS) await ask();
  } catch (problem) {
    return say(problem.message);
  }
  if (!places.length) return say("Nothing to suggest yet: paint first, then the model shows where it is unsure.", "note");
  if (places.every((place) => visited.has(name(place)))) visited.clear();
  return go(places.find((place) => !visited.has(name(place))));
}

function go(place) {
  visited.add(name(place));
  emit("suggested", place);
  show();
}

async function ask() {
  places = (await get(`api/suggestions?most=${MOST}`)).suggestions;
  if (places.length) askedAt = performance.now();
  show();
}

function show() {
  find("places").replaceChildren(...places.map((place) => {
    const image = state.session.images.find((one) => one.id === place.image);
    const words = make("span", { textContent: place.why ?? "look here" });
    const where = make("span", { class: "dim", textContent: image?.name ?? "" });
    const button = make("button", { class: visited.has(name(place)) ? "place seen" : "place", onclick: () => go(place) }, words, where);
    return make("li", {}, button);
  }));
  if (!places.length) find("places").replaceChildren(make("li", { class: "dim", textContent: "nothing yet" }));
}
