// Everything the page can do, each with its key. The list under `?` is made from this one.
// A key is "a", "Shift+a", "Ctrl+z", "Shift+1", "ArrowUp" or a sign such as "?"; the first one is shown on buttons.

const GROUPS = { paint: "Paint", correct: "Correct", look: "Look", learn: "Learn", page: "Page" };

export const ACTIONS = [
  { id: "new", keys: ["o"], group: "paint", text: "Paint a new object (on a painted one: go on with it)" },
  { id: "same", keys: ["p"], group: "paint", text: "Go on with the last object" },
  { id: "background", keys: ["b"], group: "paint", text: "Paint background" },
  { id: "erase", keys: ["e"], group: "paint", text: "Erase: back to unknown" },
  { id: "class", keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"], group: "paint", text: "Paint class 1 to 9" },
  { id: "brush", keys: ["d"], group: "paint", text: "Brush: drag" },
  { id: "outline", keys: ["l"], group: "paint", text: "Outline: drag around an object, it is filled" },
  { id: "fill", keys: ["f"], group: "paint", text: "Fill the closed area under a click" },
  { id: "smaller", keys: ["j", "["], group: "paint", text: "Smaller brush" },
  { id: "larger", keys: ["k", "]"], group: "paint", text: "Larger brush" },
  { id: "accept", keys: ["a"], group: "correct", text: "Accept an object of the model: click it" },
  { id: "accept-all", keys: ["Shift+a"], group: "correct", text: "Accept all objects of the model in view" },
  { id: "merge", keys: ["m"], group: "correct", text: "Merge: draw a line over painted objects" },
  { id: "split", keys: ["s"], group: "correct", text: "Split: draw a line through a painted object" },
  { id: "delete", keys: ["x"], group: "correct", text: "Delete: click a painted object" },
  { id: "delete-here", keys: ["Delete", "Backspace"], group: "correct", text: "Delete the painted object under the pointer" },
  { id: "ground-here", keys: ["Shift+b"], group: "correct", text: "Make the painted object under the pointer background" },
  { id: "undo", keys: ["Ctrl+z"], group: "correct", text: "Undo" },
  { id: "redo", keys: ["Ctrl+y", "Ctrl+Shift+z"], group: "correct", text: "Redo" },
  { id: "hand", keys: ["h"], group: "look", text: "Move the image: drag (or hold space, or the right button)" },
  { id: "in", keys: ["+", "="], group: "look", text: "Zoom in (or the wheel)" },
  { id: "out", keys: ["-"], group: "look", text: "Zoom out" },
  { id: "fit", keys: ["0"], group: "look", text: "The whole image" },
  { id: "true-size", keys: ["z"], group: "look", text: "One pixel of the image is one of the screen" },
  { id: "up", keys: ["ArrowUp"], group: "look", text: "Crosshair up (with Shift: one pixel)" },
  { id: "down", keys: ["ArrowDown"], group: "look", text: "Crosshair down" },
  { id: "left", keys: ["ArrowLeft"], group: "look", text: "Crosshair left" },
  { id: "right", keys: ["ArrowRight"], group: "look", text: "Crosshair right" },
  { id: "enter", keys: ["Enter"], group: "look", text: "Use the tool at the crosshair; for lines: begin, then end" },
  { id: "space", keys: [" "], group: "look", text: "The same while the crosshair is shown" },
  { id: "previous", keys: [",", "PageUp"], group: "look", text: "Previous image or plane" },
  { id: "next", keys: [".", "PageDown"], group: "look", text: "Next image or plane" },
  { id: "bare", keys: ["v"], group: "look", text: "Only the image, without layers; again: all" },
  { id: "contrast", keys: ["g"], group: "look", text: "Contrast from what is in view" },
  { id: "layer-annotation", keys: ["Shift+1"], group: "look", text: "Show what was painted" },
  { id: "layer-prediction", keys: ["Shift+2"], group: "look", text: "Show the model's objects" },
  { id: "layer-inside", keys: ["Shift+3"], group: "look", text: "Show how likely each pixel is inside" },
  { id: "layer-unsure", keys: ["Shift+4"], group: "look", text: "Show where the model is unsure" },
  { id: "layer-truth", keys: ["Shift+5"], group: "look", text: "Show the difference to the truth" },
  { id: "suggest", keys: ["n"], group: "learn", text: "Where next: go where the model is least sure" },
  { id: "pause", keys: ["r"], group: "learn", text: "Pause learning; again: go on" },
  { id: "longer", keys: ["t"], group: "learn", text: "Learn ten minutes more" },
  { id: "export", keys: ["w"], group: "page", text: "Export results" },
  { id: "train", keys: ["Shift+t"], group: "page", text: "Train properly now" },
  { id: "help", keys: ["?"], group: "page", text: "This list" },
  { id: "escape", keys: ["Escape"], group: "page", text: "Give up the line, close" },
];

const WORDS = {
  " ": "Space", ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Delete: "Del", Escape: "Esc",
  PageUp: "Page up", PageDown: "Page down",
};

/** How a key is written for people. */
export function keyInWords(key) {
  const parts = key.length > 1 ? key.split("+") : [key];
  return parts.map((part) => WORDS[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join(" ");
}

export function keyOf(id) {
  return ACTIONS.find((action) => action.id === id).keys[0];
}

/** The name of the key that was pressed, the same on all layouts of keyboards. */
export function pressed(event) {
  const { code } = event;
  let key = event.key;
  const latin = /^[ -~]$/.test(key);
  if (!latin && /^Key[A-Z]$/.test(code)) key = code.at(3);
  const shifted = event.shiftKey && /^Digit\d$/.test(code) ? code.at(5) : key;
  const letter = /^[a-z]$/i.test(key);
  const shift = event.shiftKey && (letter || shifted !== key) ? "Shift+" : "";
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const name = letter ? key.toLowerCase() : shifted;
  return { name: control + shift + name, plain: control + (letter ? name : key), shift: event.shiftKey };
}

/** Call `run[id](key name, with shift)` for each key of the list. Words typed into fields are left alone. */
export function listen(run) {
  const known = new Map(ACTIONS.flatMap((action) => action.keys.map((key) => [key, action.id])));
  addEventListener("keydown", (event) => {
    if (event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const { name, plain, shift } = pressed(event);
    const key = known.has(plain) && !name.includes("Shift+") ? plain : known.has(name) ? name : plain;
    const id = known.get(key);
    if (!id || typing(event.target, key)) return;
    event.preventDefault();
    run[id]?.(key, shift, event.repeat);
  });
}

/** Whether an element wants a key for itself: text fields all, sliders the arrows, buttons Enter and space. */
function typing(element, key) {
  const kind = element.tagName;
  if (kind === "INPUT" && ["text", "search", "number"].includes(element.type)) return key !== "Escape";
  if (kind === "INPUT" || kind === "SELECT") return /^(Arrow|Page| $|Enter)/.test(key) || (kind === "SELECT" && key.length === 1);
  return ["BUTTON", "SUMMARY", "A"].includes(kind) && (key === "Enter" || key === " ");
}

/** The list for people, group by group, as elements. */
export function help(objects) {
  const list = document.createDocumentFragment();
  for (const [group, title] of Object.entries(GROUPS)) {
    const section = document.createElement("section");
    section.append(Object.assign(document.createElement("h3"), { textContent: title }));
    for (const action of ACTIONS) {
      if (action.group !== group || (action.id === "class" && objects)) continue;
      const row = document.createElement("p");
      const keys = document.createElement("span");
      const shown = action.id === "class" ? ["1", "9"] : action.keys;
      for (const key of shown) keys.append(Object.assign(document.createElement("kbd"), { textContent: keyInWords(key) }));
      row.append(keys, Object.assign(document.createElement("span"), { textContent: action.text }));
      section.append(row);
    }
    list.append(section);
  }
  return list;
}
