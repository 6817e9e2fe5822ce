// Channels and layers on the right: what is shown, in which colours, how strongly.

import { HEAT, MODEL, OBJECTS } from "./colours.js";
import { keyInWords } from "./keys.js";
import { find, make, swatch } from "./parts.js";
import { channelSettings, emit, isObjects, on, state, toggleLayer } from "./state.js";

const LAYERS = [
  ["annotation", "Painted", "Shift+1", OBJECTS[0]],
  ["prediction", "Model", "Shift+2", MODEL],
  ["inside", "Inside, how likely", "Shift+3", "inside"],
  ["unsure", "Unsure", "Shift+4", "unsure"],
  ["truth", "Difference to truth", "Shift+5", "truth"],
];
const STYLES = [["both", "filled and lines"], ["filled", "filled"], ["lines", "lines"]];

let rows = [];

export function buildLayers() {
  const box = find("layers");
  box.replaceChildren(...LAYERS.map(([name, words, key, colour]) => layer(name, words, key, name === "prediction" && !isObjects() ? "#ffffff" : colour)));
  on("layers", showLayers);
  on("image", channels);
  showLayers();
}

function layer(name, words, key, colour) {
  const settings = state.layers[name];
  const check = make("input", { type: "checkbox", checked: settings.on, onchange: () => toggleLayer(name) });
  const title = name === "truth" ? "orange: missed by the model, blue: too much" : words;
  const label = make("label", { title }, check, mark(colour), make("span", { textContent: words }), make("kbd", { textContent: keyInWords(key) }));
  const opacity = slider(`${words}: strength`, 5, 100, settings.opacity * 100, (value) => {
    settings.opacity = value / 100;
    emit("layers");
  });
  const more = make("div", { class: "more" }, opacity);
  if (settings.style) more.prepend(styles(settings, words));
  const row = make("div", { class: "layer" }, label, more);
  rows = rows.filter((one) => one.name !== name);
  rows.push({ name, row, check, more });
  return row;
}

function mark(colour) {
  const element = swatch(colour.startsWith("#") ? colour : "transparent", HEAT[colour] || colour === "truth" ? colour : "");
  return element;
}

function styles(settings, words) {
  const choices = STYLES.map(([value, text]) => make("option", { value, textContent: text }));
  const select = make("select", { "aria-label": `${words}: style` }, ...choices);
  select.value = settings.style;
  select.addEventListener("change", () => {
    settings.style = select.value;
    emit("layers");
  });
  return select;
}

function slider(words, min, max, value, act, step = 1) {
  const element = make("input", { type: "range", min, max, step, title: words, "aria-label": words });
  element.value = value;
  element.addEventListener("input", () => act(Number(element.value)));
  return element;
}

function showLayers() {
  for (const { name, row, check, more } of rows) {
    check.checked = state.layers[name].on;
    more.hidden = !state.layers[name].on;
    row.hidden = name === "truth" && !state.session.images.some((image) => image.truth);
    check.disabled = name === "truth" && !state.image?.truth;
  }
  find("bare").setAttribute("aria-pressed", String(!state.overlays));
  find("layers").classList.toggle("idle", !state.overlays);
}

/** The channels of the shown image. */
export function channels() {
  const settings = channelSettings();
  const { image } = state;
  find("channels").replaceChildren(...settings.map((one, at) => channel(one, image.channels[at].name || `channel ${at + 1}`)));
  showLayers();
}

function channel(one, name) {
  const changed = () => emit("layers");
  const check = make("input", { type: "checkbox", checked: one.on, "aria-label": `show ${name}` });
  check.addEventListener("change", () => {
    one.on = check.checked;
    changed();
  });
  const colour = make("input", { type: "color", value: one.colour, "aria-label": `colour of ${name}` });
  colour.addEventListener("input", () => {
    one.colour = colour.value;
    changed();
  });
  const auto = make("button", { class: "small", textContent: "auto", title: "Contrast from what is in view (G)" });
  auto.addEventListener("click", () => emit("contrast"));
  const head = make("div", { class: "channel-head" }, check, colour, make("span", { class: "name", textContent: name, title: name }), auto);
  const alone = state.image.channels.length === 1 && innerHeight > 760;
  const curve = make("details", { open: one.opened ?? alone }, make("summary", { textContent: "contrast" }), ...curveSliders(one, name, changed));
  curve.addEventListener("toggle", () => (one.opened = curve.open));
  return make("div", { class: "channel" }, head, curve);
}

/** Darkest, brightest and gamma. The sliders reach as far as grey values may, in even steps of their range. */
function curveSliders(one, name, changed) {
  const [least, most] = limits(one);
  const words = make("output", { class: "dim" });
  const tell = () => {
    words.textContent = `${round(one.low)} – ${round(one.high)}   γ ${one.gamma.toFixed(2)}`;
    changed();
  };
  const step = (most - least) / 500;
  const low = slider(`${name}: black`, least, most, one.low, (value) => {
    one.low = Math.min(value, one.high - step);
    tell();
  }, step);
  const high = slider(`${name}: white`, least, most, one.high, (value) => {
    one.high = Math.max(value, one.low + step);
    tell();
  }, step);
  const gamma = slider(`${name}: gamma`, -1, 1, Math.log(one.gamma) / Math.log(4), (value) => {
    one.gamma = 4 ** value;
    tell();
  }, 0.05);
  words.textContent = `${round(one.low)} – ${round(one.high)}   γ ${one.gamma.toFixed(2)}`;
  const line = (text, element) => make("label", { class: "slide" }, make("span", { textContent: text }), element);
  return [line("black", low), line("white", high), line("gamma", gamma), words];
}

function limits({ low, high }) {
  if (state.image.type === "uint8") return [0, 255];
  const span = high - low;
  return [Math.min(0, low - span / 2), high + span];
}

const round = (value) => (Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));

/** Contrast from the pixels in view: half a percent of them is darker, half a percent brighter. */
export function contrastFrom(scene, tiles) {
  const { image } = state;
  const settings = channelSettings();
  const shown = scene.places(scene.level).map(({ row, column }) => tiles.have(image, "pixels", scene.level, row, column));
  const here = shown.filter(Boolean);
  if (!here.length) return;
  settings.forEach((one, at) => {
    const values = [];
    for (const tile of here) {
      const count = tile.shape[1] * tile.shape[2];
      const step = Math.max(1, Math.floor((count * here.length) / 20000));
      for (let place = at * count; place < (at + 1) * count; place += step) values.push(tile.data[place]);
    }
    values.sort((a, b) => a - b);
    one.low = values[Math.floor(values.length * 0.005)];
    one.high = Math.max(values[Math.floor(values.length * 0.995)], one.low + (image.type === "float32" ? 1e-6 : 1));
  });
  channels();
  emit("layers");
}
