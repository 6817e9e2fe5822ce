// What all parts of the page share: the session, the image on the screen, the tool, and how layers look.
// Parts tell each other what changed by name; nobody calls into another part's elements.

const ears = new Map();

export const state = {
  session: null, // the answer of api/session
  image: null, // the entry of session.images that is shown
  tool: "brush", // how: brush, outline, fill, merge, split, delete, accept, hand
  value: "new", // what is painted: "new", "same", 0 (background), -1 (unknown), or a class
  number: null, // the object that was painted last
  radius: 6, // of the brush, in pixels of the image
  overlays: true, // false: only the image is shown
  status: null, // of the learner
  expected: new Map(), // image -> what the model expects of its objects, where it can tell
  online: true,
  layers: {
    annotation: { on: true, style: "both", opacity: 0.45 },
    prediction: { on: true, style: "lines", opacity: 0.4 },
    inside: { on: false, opacity: 0.6 },
    unsure: { on: false, opacity: 0.7 },
    truth: { on: false, opacity: 0.6 },
  },
  channels: new Map(), // number of channels and their names -> settings of each channel, kept between images
};

export function on(name, tell) {
  if (!ears.has(name)) ears.set(name, []);
  ears.get(name).push(tell);
}

export function emit(name, what) {
  for (const tell of ears.get(name) ?? []) tell(what);
}

/** One line for the user that can be dismissed. */
export function say(text, kind = "error") {
  emit("say", { text, kind });
}

export const isObjects = () => state.session?.task !== "classes";
export const mayWrite = () => Boolean(state.session?.writable);

/** The settings of the channels of the shown image; images with channels of the same names share them. */
export function channelSettings() {
  const image = state.image;
  const key = image.type + "|" + image.channels.map((one) => one.name).join("|");
  if (!state.channels.has(key)) {
    state.channels.set(
      key,
      image.channels.map((one, at) => ({
        on: at < 6, // more colours than these can't be told apart
        colour: readable(one.colour),
        low: one.low,
        high: one.high > one.low ? one.high : one.low + 1,
        gamma: 1,
      })),
    );
  }
  return state.channels.get(key);
}

function readable(colour) {
  return /^#[0-9a-f]{6}$/i.test(colour ?? "") ? colour.toLowerCase() : "#ffffff";
}

export function choose(tool) {
  state.tool = tool;
  emit("tool");
}

/** What is painted next. Tools that do not paint make way for the brush. */
export function paintWith(value) {
  state.value = value;
  if (!["brush", "outline", "fill"].includes(state.tool)) state.tool = "brush";
  emit("tool");
}

export function setRadius(radius) {
  state.radius = Math.min(500, Math.max(0.5, radius));
  emit("tool");
}

export function toggleLayer(name) {
  state.layers[name].on = !state.layers[name].on;
  emit("layers");
}
