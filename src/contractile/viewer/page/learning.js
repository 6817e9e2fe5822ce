// How learning goes, in one line; the models so far; what to do next.

import { get, post, tryPost } from "./api.js";
import { Chart } from "./chart.js";
import { find, later, make, plural, share, time } from "./parts.js";
import { emit, on, state } from "./state.js";

let chart;
let heard = 0; // when the status came, for "updated 3 s ago"
let model; // in use when the models were listed

export function buildLearning() {
  chart = new Chart(find("chart"));
  for (const [id, against] of [["by-objects", "objects"], ["by-minutes", "minutes"]]) {
    find(id).addEventListener("click", () => {
      chart.against = against;
      for (const one of ["by-objects", "by-minutes"]) find(one).setAttribute("aria-pressed", String(one === id));
      chart.show();
    });
  }
  setInterval(show, 1000);
  on("online", show);
  learned(state.session.learning);
  void refresh();
}

export function learned(status) {
  state.status = status;
  heard = performance.now();
  show();
  if (status?.model !== model) refresh();
  model = status?.model;
  emit("learned");
}

export const scored = (scores) => chart.show(Array.isArray(scores.scores) ? scores : { ...chart.data, ...scores });

const refresh = later(async () => {
  try {
    chart.show(await get("api/scores"));
    listModels((await get("api/models")).models);
  } catch {
    // What is shown stays; the page says by itself that the connection is lost.
  }
}, 200);
export { refresh as refreshScores };

function show() {
  const { status } = state;
  const words = status ? inWords(status) : "No model learns in this window.";
  find("learn-words").textContent = words;
  find("learn-dot").className = status && state.online ? status.state : "off";
  find("learn-more").textContent = status ? details(status) : "";
  find("learn-needs").hidden = !(status?.needs || status?.message);
  find("learn-needs").textContent = status ? withKey(status.needs ?? status.message ?? "") : "";
  if (find("learn-state").textContent !== (status?.state ?? "")) find("learn-state").textContent = status?.state ?? "";
  const started = Boolean(status?.steps);
  const write = state.session.writable;
  find("pause").textContent = status?.state === "paused" ? "Resume" : "Pause";
  find("pause").disabled = !write || !["learning", "paused", "starting"].includes(status?.state);
  find("longer").disabled = find("restart").disabled = !write || !started;
  find("suggest").disabled = !status;
}

function inWords(status) {
  const since = status.since_update == null ? null : status.since_update + (performance.now() - heard) / 1000;
  const update = since == null ? "" : `, updated ${time(since)} ago`;
  const steps = plural(status.steps ?? 0, "step");
  return {
    waiting: "waiting for your first strokes",
    starting: "learning starts…",
    learning: `learning: ${steps}${update}`,
    paused: `paused after ${steps}`,
    done: `time is over after ${steps}`,
    failed: "learning stopped",
  }[status.state] ?? status.state;
}

function details({ state: how, loss, minutes_left: left }) {
  const hoped = expected(state.expected.get(state.image?.id));
  if (how === "waiting") return hoped;
  return [
    hoped,
    loss == null ? "" : `loss ${loss.toFixed(2)}`,
    left == null || how === "done" ? "" : `${Math.ceil(left)} min left`,
  ].filter(Boolean).join(" · ");
}

function expected(found) {
  if (!found) return "";
  return `expected AP ${found.ap.toFixed(2)}, ${Math.round(found.objects_low)} to ${Math.round(found.objects_high)} objects`;
}

function withKey(text) {
  return text.includes("background") && !text.includes("key B") ? `${text} (key B)` : text;
}

export async function command(how, more = {}) {
  const status = await tryPost("api/learning", { do: how, ...more });
  if (status) learned(status);
}

/** A second click on the button confirms: weights are lost. */
export function restart() {
  const button = find("restart");
  if (button.dataset.sure) {
    delete button.dataset.sure;
    button.textContent = "Restart";
    return command("restart");
  }
  button.dataset.sure = "yes";
  button.textContent = "Forget all it learned?";
  return setTimeout(() => {
    delete button.dataset.sure;
    button.textContent = "Restart";
  }, 4000);
}

function listModels(list) {
  find("models-count").textContent = list.length ? String(list.length) : "";
  find("models-box").hidden = !list.length;
  const best = Math.max(...list.map((model) => model.score ?? -1));
  const rows = [...list].reverse().slice(0, 200).map((model) => {
    const current = model.id === state.status?.model;
    const words = `${time(model.seconds)}, ${plural(model.steps, "step")}`;
    const row = make("li", { class: current ? "current" : "" }, make("span", { textContent: words }));
    const score = make("b", { textContent: share(model.score) });
    if (model.score != null && model.score === best) score.append(make("small", { textContent: " best" }));
    row.append(score);
    if (current) row.append(make("em", { textContent: "in use" }));
    else row.append(make("button", { class: "small", textContent: "go back", title: `work with the model after ${words} again`, onclick: () => command("go_back", { model: model.id }) }));
    return row;
  });
  const places = find("models").scrollTop;
  find("models").replaceChildren(...rows);
  find("models").scrollTop = places;
}

export const lookedAt = later((image, region) => {
  if (region[1] > region[0] && region[3] > region[2]) post("api/view", { image, region }).catch(() => {});
}, 150);
