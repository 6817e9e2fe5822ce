// The tools on the left: what is painted, with which shape, how it is corrected.

import { BACKGROUND, OBJECTS } from "./colours.js";
import { ACTIONS, keyInWords, keyOf } from "./keys.js";
import { find, icon, make, swatch } from "./parts.js";
import { choose, emit, isObjects, mayWrite, on, paintWith, setRadius, state } from "./state.js";
import { PAINTING } from "./tools.js";

const SHAPES = [["brush", "Brush"], ["outline", "Outline"], ["fill", "Fill"]];
const CORRECTIONS = [
  ["accept", "Accept"], ["accept-all", "Accept all"], ["merge", "Merge"], ["split", "Split"],
  ["delete", "Delete"], ["hand", "Move"],
];
const OF_OBJECTS = ["merge", "split", "delete"];

const buttons = new Map(); // name -> the button and whether it is the chosen one

function button(box, id, words, mark, key, act, chosen) {
  const title = ACTIONS.find((action) => action.keys.includes(key))?.text ?? words;
  const element = make("button", { class: "tool", title }, mark, make("span", { textContent: words }));
  if (key) element.append(make("kbd", { textContent: keyInWords(key).replace("Shift ", "⇧") }));
  element.addEventListener("click", act);
  box.append(element);
  buttons.set(id, { element, chosen });
}

export function buildRail() {
  const values = find("values");
  values.replaceChildren(make("h2", { textContent: "Paint" }));
  const value = (id, words, what, mark, key) =>
    button(values, `value ${what}`, words, mark, key, () => paintWith(what), () => state.value === what);
  if (isObjects()) {
    value("new", "New object", "new", marked("new", OBJECTS[0]), keyOf("new"));
    value("same", "Same object", "same", marked("same", OBJECTS[0]), keyOf("same"));
  } else {
    const kinds = state.session.classes.filter((kind) => kind.value > 0);
    kinds.forEach((kind, at) => value("class", kind.name, kind.value, swatch(kind.colour), at < 9 ? String(at + 1) : null));
    state.value = kinds[0]?.value ?? 1;
  }
  const ground = state.session.classes.find((kind) => kind.value === 0)?.name ?? "Background";
  value("background", ground, 0, marked("background", BACKGROUND), keyOf("background"));
  value("erase", "Erase", -1, icon("erase"), keyOf("erase"));
  tools(find("shapes"), "With", SHAPES);
  tools(find("corrections"), "Correct", CORRECTIONS.filter(([id]) => isObjects() || !OF_OBJECTS.includes(id)));
  size();
  on("tool", show);
  show();
}

function marked(name, colour) {
  const mark = icon(name);
  mark.style.setProperty("color", name === "background" ? "#7fc0ee" : colour);
  return mark;
}

function tools(box, title, list) {
  box.replaceChildren(make("h2", { textContent: title }));
  for (const [id, words] of list) {
    const act = id === "accept-all" ? () => emit("accept-all") : () => choose(id);
    button(box, id, words, icon(id), keyOf(id), act, id === "accept-all" ? null : () => state.tool === id);
  }
}

/** The slider is even in how large a brush looks: 0 to 100 are radii of 0.5 to 200 pixels. */
function size() {
  const slider = find("radius");
  slider.addEventListener("input", () => setRadius(0.5 * 400 ** (slider.value / 100)));
}

function show() {
  for (const [id, { element, chosen }] of buttons) {
    if (chosen) element.setAttribute("aria-pressed", String(chosen()));
    element.disabled = !mayWrite() && id !== "hand";
    if (id.startsWith("value ")) element.classList.toggle("idle", !PAINTING.includes(state.tool));
  }
  find("radius").value = Math.round((100 * Math.log(state.radius / 0.5)) / Math.log(400));
  find("radius").disabled = !mayWrite();
  find("radius-words").textContent = `${state.radius < 10 ? Number(state.radius.toFixed(1)) : Math.round(state.radius)} px`;
  find("size").classList.toggle("idle", state.tool !== "brush");
}
