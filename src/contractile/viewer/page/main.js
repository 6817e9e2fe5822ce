// The page begins here: load the session, make the parts, and let them hear of each other.

import { get, send } from "./api.js";
import { buildDialogs, jobChanged, open } from "./dialogs.js";
import { Scene } from "./draw.js";
import { buildGuide } from "./guide.js";
import { buildImages, neighbour } from "./images.js";
import { listen } from "./keys.js";
import { buildLayers, contrastFrom } from "./layerlist.js";
import { buildLearning, command, learned, lookedAt, refreshScores, restart, scored } from "./learning.js";
import { Local } from "./local.js";
import { listenForNews } from "./news.js";
import { Overlay } from "./overlay.js";
import { find, later } from "./parts.js";
import { buildPlaces, suggest } from "./places.js";
import { Pointer } from "./pointer.js";
import { buildRail } from "./rail.js";
import { choose, emit, isObjects, mayWrite, on, paintWith, say, setRadius, state, toggleLayer } from "./state.js";
import { buildStatus } from "./status.js";
import { Tiles } from "./tiles.js";
import { Tools } from "./tools.js";
import { View } from "./view.js";

const view = new View();
const tiles = new Tiles(() => redraw(true));
const local = new Local(tiles);
const scene = new Scene(find("picture"), view, tiles);
scene.again = () => redraw(true);
const tools = new Tools(view, tiles, local, scene);
const overlay = new Overlay(find("overlay"), view, tools);
const pointer = new Pointer(find("overlay"), view, tools, overlay, redraw);
const views = new Map(); // where the user was in each image

const SPOT_MS = 15000; // how long a suggestion stays marked

let due = 0; // 0: nothing, 1: the overlay, 2: all
function redraw(all) {
  if (!due) requestAnimationFrame(frame);
  due = Math.max(due, all ? 2 : 1);
}

function frame() {
  const what = due;
  due = 0;
  if (what === 2) scene.draw();
  overlay.draw();
  find("zoom-note").hidden = !scene.tooMany;
}

function viewed() {
  redraw(true);
  if (!state.image) return;
  const percent = 100 * view.scale;
  find("scale").textContent = `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
  views.set(state.image.id, [view.y, view.x, view.scale]);
  if (mayWrite()) lookedAt(state.image.id, view.region());
}

function resize() {
  const box = find("stage").getBoundingClientRect();
  view.resize(box.width, box.height, devicePixelRatio || 1);
  pointer.size = null;
  viewed();
}

function showImage(image) {
  if (!image || image === state.image) return;
  tools.cancel();
  const before = state.image;
  state.image = image;
  state.number = null;
  overlay.cross = overlay.spot = null;
  const [height, width] = image.shape;
  if (before && before.file === image.file && String(before.shape) === String(image.shape)) view.shape = image.shape;
  else view.fit([height, width]);
  if (views.has(image.id) && before?.file !== image.file) [view.y, view.x, view.scale] = views.get(image.id);
  emit("image");
  viewed();
}

function suggested({ image, region, why }) {
  const wanted = state.session.images.find((one) => one.id === image);
  showImage(wanted);
  view.show(region);
  const spot = (overlay.spot = { region, why: why ?? "look here" });
  setTimeout(() => {
    if (overlay.spot === spot) overlay.spot = null;
    redraw(false);
  }, SPOT_MS);
  viewed();
}

/** After undo: show what changed, if it is not on the screen. */
function lookAt({ image, changed }) {
  showImage(state.session.images.find((one) => one.id === image));
  if (!view.holds(changed)) {
    view.show(changed, 6);
    viewed();
  }
}

const refreshSession = later(async () => {
  try {
    takeSession(await get("api/session"));
  } catch {
    // Asked again with the next change, or when the connection is back.
  }
}, 400);

function takeSession(session) {
  const old = state.session;
  for (const image of old.images) Object.assign(image, { objects: session.images[image.id]?.objects ?? image.objects });
  const missed = session.changes !== old.changes;
  Object.assign(old, { changes: session.changes, undo: session.undo, redo: session.redo, writable: session.writable });
  emit("session");
  return missed;
}

const readOnly = () => (mayWrite() ? "" : "read-only: you can look, but not paint");

function showSession() {
  const { session } = state;
  find("undo").disabled = !session.undo || !mayWrite();
  find("redo").disabled = !session.redo || !mayWrite();
  document.body.classList.toggle("read-only", !mayWrite());
  if (!mayWrite()) find("saved").textContent = readOnly();
}

const answered = new Set(); // changes that were our own: their news is old by then

function changed(answer) {
  answered.add(answer.changes);
  Object.assign(state.session, { undo: true, changes: Math.max(state.session.changes, answer.changes ?? 0) });
  showSession();
  refreshSession();
}

function news(kind, what) {
  if (kind === "changed") {
    if (!answered.delete(what.changes)) tiles.changed(what.image, what.region);
    refreshSession();
  } else if (kind === "predicted") {
    state.expected.set(what.image, what.expected);
    tiles.predicted(what.image, what.region);
  } else if (kind === "better") tiles.spoil(what.image, null, ["pixels"]);
  else if (kind === "refused") say(what.message);
  else if (kind === "learning") learned(what);
  else if (kind === "scores") scored(what);
  else if (kind === "suggestions") emit("places");
  else if (kind === "job") jobChanged(what);
}

/** The connection comes or goes. What was missed meanwhile is asked for. */
async function linked(now, again) {
  if (state.online !== now) {
    state.online = now;
    emit("online", now);
  }
  if (!now || !again) return;
  try {
    const session = await get("api/session");
    takeSession(session);
    learned(session.learning);
  } catch {
    return;
  }
  tiles.everything();
  refreshScores();
}

const arrow = (down, right) => (key, shift) => pointer.arrow(down, right, shift);
const here = (act) => () => (mayWrite() && pointer.point() ? act(pointer.point()) : undefined);
const zoom = (factor) => () => {
  view.zoom(factor, ...(overlay.cross ? view.toScreen(...overlay.cross) : (overlay.pointer ?? [])));
  viewed();
};

const run = {
  new: () => isObjects() && paintWith("new"),
  same: () => isObjects() && paintWith("same"),
  background: () => paintWith(0),
  erase: () => paintWith(-1),
  class: (key) => {
    const kind = state.session.classes.filter((one) => one.value > 0)[Number(key) - 1];
    if (kind && !isObjects()) paintWith(kind.value);
  },
  smaller: () => setRadius(state.radius / 1.2),
  larger: () => setRadius(state.radius * 1.2),
  "accept-all": () => tools.acceptAll(),
  "delete-here": here((point) => tools.remove(point)),
  "ground-here": here((point) => tools.ground(point)),
  undo: () => mayWrite() && tools.turn("undo"),
  redo: () => mayWrite() && tools.turn("redo"),
  in: zoom(1.25),
  out: zoom(0.8),
  fit: () => (view.fit(), viewed()),
  "true-size": () => (view.zoom(1 / view.ratio / view.scale), viewed()),
  up: arrow(-1, 0),
  down: arrow(1, 0),
  left: arrow(0, -1),
  right: arrow(0, 1),
  enter: (key, shift, repeat) => repeat || pointer.enter(),
  space: (key, shift, repeat) => {
    if (overlay.cross) return repeat || pointer.enter();
    pointer.space = true;
    find("overlay").classList.add("grab");
  },
  previous: () => showImage(neighbour(-1)),
  next: () => showImage(neighbour(1)),
  bare: () => ((state.overlays = !state.overlays), emit("layers")),
  contrast: () => contrastFrom(scene, tiles),
  suggest: () => suggest(),
  pause: () => state.status && command(state.status.state === "paused" ? "resume" : "pause"),
  longer: () => state.status && command("longer", { minutes: 10 }),
  restart,
  export: () => open("export"),
  train: () => open("train"),
  help: () => open("help"),
  escape: () => pointer.escape(),
};
for (const tool of ["brush", "outline", "fill", "accept", "merge", "split", "delete", "hand"]) {
  run[tool] = () => (isObjects() || !["merge", "split", "delete"].includes(tool)) && choose(tool);
}
for (const layer of Object.keys(state.layers)) run[`layer-${layer}`] = () => toggleLayer(layer);

function connect() {
  on("view", viewed);
  on("layers", () => redraw(true));
  on("drawn", () => redraw(true));
  on("tool", () => {
    find("overlay").dataset.tool = state.tool;
    redraw(false);
  });
  on("changed", changed);
  on("look", lookAt);
  on("session", showSession);
  on("suggested", suggested);
  on("show-image", showImage);
  on("accept-all", () => tools.acceptAll());
  on("contrast", run.contrast);
  on("unsaved", (count) => {
    find("saved").textContent = count && !state.online ? `${count} not saved yet` : readOnly();
  });
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => run[button.dataset.do]());
  }
  addEventListener("keyup", (event) => {
    if (event.key !== " ") return;
    pointer.space = false;
    find("overlay").classList.remove("grab");
  });
  new ResizeObserver(resize).observe(find("stage"));
  listen(run);
}

async function start() {
  buildStatus();
  try {
    state.session = await get("api/session");
  } catch (problem) {
    say(`The session could not be opened: ${problem.message}`);
    return;
  }
  const { session } = state;
  document.title = `${session.name} – contractile`;
  find("session-name").textContent = session.name;
  buildRail();
  buildImages();
  buildLayers();
  buildDialogs();
  connect();
  buildPlaces();
  buildLearning();
  buildGuide();
  resize();
  showSession();
  if (!session.writable) choose("hand");
  showImage(session.images[0]);
  emit("tool");
  document.body.classList.remove("loading");
  find("overlay").focus({ preventScroll: true });
  listenForNews(news, linked);
}

await start();
