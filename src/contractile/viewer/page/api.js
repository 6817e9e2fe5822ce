// Requests to the server. Strokes go one after another, in the order they were made, and wait while the server is away.

import { emit, say, state } from "./state.js";

const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array };

/** A request that the server refused: its own words. */
export class Refused extends Error {}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch (problem) {
    if (problem.name !== "AbortError") online(false);
    throw problem;
  }
  online(true);
  if (!answer.ok) throw new Refused(await words(answer));
  return answer;
}

async function words(answer) {
  try {
    return (await answer.json()).error ?? `the server answered ${answer.status}`;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

function online(now) {
  if (state.online === now) return;
  state.online = now;
  emit("online", now);
}

export async function get(path, options) {
  return (await ask(path, options)).json();
}

export async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json", "X-Contractile": "1" };
  const answer = await ask(path, { method: "POST", headers, body: JSON.stringify(body) });
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

/** A request whose failure is only said, never thrown. Gives null then. */
export async function tryPost(path, body) {
  try {
    return await post(path, body);
  } catch (problem) {
    if (problem instanceof Refused) say(problem.message);
    else say("The server does not answer. Nothing was changed.");
    return null;
  }
}

/** The numbers of one region of a layer: {data, shape}, or null where there is nothing yet. */
export async function region(image, layer, level, box, signal) {
  const [y0, y1, x0, x1] = box;
  const query = `level=${level}&y=${y0}&x=${x0}&h=${y1 - y0}&w=${x1 - x0}`;
  const answer = await ask(`api/images/${image}/${layer}?${query}`, { signal, priority: "low" });
  if (answer.status === 204) return null;
  const shape = answer.headers.get("X-Shape").split(",").map(Number);
  const Numbers = ARRAYS[answer.headers.get("X-Type")];
  const data = new Numbers(await answer.arrayBuffer());
  if (data.length !== shape.reduce((a, b) => a * b, 1)) throw new Refused("an answer of the wrong size");
  return { data, shape };
}

const waiting = [];
let sending = false;

/** Send an action. `make` gives its JSON at the moment of sending; `done(answer or null)` is called afterwards. */
export function send(path, make, done = () => {}) {
  waiting.push({ path, make, done });
  emit("unsaved", waiting.length);
  void empty();
}

async function empty() {
  if (sending) return;
  sending = true;
  while (waiting.length) {
    if (await sent(waiting[0])) waiting.shift();
    else await new Promise((later) => setTimeout(later, 1000)); // the server is away: the stroke is kept
    emit("unsaved", waiting.length);
  }
  sending = false;
}

async function sent({ path, make, done }) {
  let answer = null;
  try {
    answer = await post(path, make());
  } catch (problem) {
    if (!(problem instanceof Refused)) return false;
    say(problem.message);
  }
  done(answer);
  return true;
}

addEventListener("beforeunload", (event) => {
  if (waiting.length) event.preventDefault(); // the browser asks whether strokes may be lost
});
