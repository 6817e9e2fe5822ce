// The first minute: three steps in the corner of the image, which go when they are done.

import { find, make } from "./parts.js";
import { isObjects, mayWrite, on, state } from "./state.js";

const KEPT = "contractile-guide-closed";
let closed = false;

export function buildGuide() {
  try {
    closed = sessionStorage.getItem(KEPT) === "yes";
  } catch {
    // A browser without storage shows the steps each time.
  }
  on("learned", show);
  show();
}

function show() {
  const box = find("guide");
  const { status } = state;
  box.hidden = closed || !mayWrite() || status?.state !== "waiting";
  if (box.hidden) return;
  const ground = (status.needs ?? "").toLowerCase();
  const painted = state.session.changes > 0;
  const some = painted && !/object|class|nucle|cell/.test(ground.replace("background", ""));
  const steps = isObjects()
    ? [[some, "Draw over a few objects", "O"], [painted && !ground.includes("background"), "Paint some background", "B"]]
    : [[some, "Paint each class a little", "1"], [painted && !ground.includes("background"), "Paint some background", "B"]];
  steps.push([false, `The model starts to learn, and shows what it believes${isObjects() ? " in yellow" : ""}`, ""]);
  const close = make("button", { class: "plain", textContent: "×", "aria-label": "Close these steps", onclick: hide });
  box.replaceChildren(close, make("ol", {}, ...steps.map(step)));
}

function step([done, words, key]) {
  const row = make("li", { class: done ? "done" : "" }, make("span", { textContent: words }));
  if (key) row.append(make("kbd", { textContent: key }));
  return row;
}

function hide() {
  closed = true;
  try {
    sessionStorage.setItem(KEPT, "yes");
  } catch {
    // Closed for as long as the page is open.
  }
  find("guide").hidden = true;
}
