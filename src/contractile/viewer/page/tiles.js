// Tiles of all layers of the shown image: what is wanted for the screen is fetched, a few at a time, the middle first.
// What left the screen is aborted; what was not used for long makes room. A stale tile is shown until its news is here.

import { Refused, region } from "./api.js";
import { say } from "./state.js";
import { factor } from "./view.js";

export const TILE = 512; // pixels of a level
const AT_ONCE = 4; // a browser opens six connections: one is for news, one for strokes
const MOST_BYTES = 256 * 2 ** 20;
const AGAIN = 2000; // ms until a failed tile is asked for again
const EDGED = ["annotation", "prediction", "truth"]; // fetched with one pixel more on each side, for outlines
const OF_MODEL = ["prediction", "inside", "certainty"];

export class Tiles {
  constructor(ready) {
    this.ready = ready; // called when something new can be shown
    this.all = new Map();
    this.running = new Set();
    this.wanted = [];
    this.frame = 0;
    this.bytes = 0;
    this.clock = 0;
    this.arrived = () => {}; // called with each tile before it is shown (strokes that are under way)
  }

  begin() {
    this.frame += 1;
    this.wanted = [];
  }

  /** The tile of a layer; it is fetched if it is missing or stale. `urgency`: small comes first. */
  want(image, layer, level, row, column, urgency) {
    const key = `${image.id}/${layer}/${level}/${row}/${column}`;
    const tile = this.all.get(key) ?? this.make(key, image, layer, level, row, column);
    tile.used = this.frame;
    const due = performance.now() >= tile.notBefore;
    if ((tile.state === "empty" || tile.stale) && !tile.stop && due) this.wanted.push({ tile, urgency });
    return tile;
  }

  /** A tile only if it is already here. */
  have(image, layer, level, row, column) {
    const tile = this.all.get(`${image.id}/${layer}/${level}/${row}/${column}`);
    if (!tile?.data) return null;
    tile.used = this.frame;
    return tile;
  }

  make(key, image, layer, level, row, column) {
    const [height, width] = image.levels[level];
    const own = [row * TILE, Math.min(height, row * TILE + TILE), column * TILE, Math.min(width, column * TILE + TILE)];
    const edge = EDGED.includes(layer) ? 1 : 0;
    const read = [
      Math.max(0, own[0] - edge), Math.min(height, own[1] + edge),
      Math.max(0, own[2] - edge), Math.min(width, own[3] + edge),
    ];
    const tile = {
      key, image: image.id, layer, level, row, column, own, read, factor: factor(image.levels, level),
      state: "empty", stale: false, data: null, shape: null, version: 0, paints: new Map(), bytes: 0,
      used: this.frame, notBefore: 0, stop: null, asked: 0,
    };
    this.all.set(key, tile);
    return tile;
  }

  /** After a frame: abort what the screen does not need, start what it does. */
  end() {
    for (const tile of this.running) if (tile.used < this.frame) tile.stop.abort();
    this.wanted.sort((a, b) => a.urgency - b.urgency);
    for (const { tile } of this.wanted) {
      if (this.running.size >= AT_ONCE) break;
      void this.fetch(tile);
    }
    if (this.bytes > MOST_BYTES) this.forget();
  }

  async fetch(tile) {
    tile.stop = new AbortController();
    tile.stale = false;
    tile.asked = ++this.clock;
    this.running.add(tile);
    try {
      this.fill(tile, await region(tile.image, tile.layer, tile.level, tile.read, tile.stop.signal));
    } catch (problem) {
      tile.stale = tile.state !== "empty";
      if (problem.name !== "AbortError") tile.notBefore = performance.now() + AGAIN * (problem instanceof Refused ? 5 : 1);
      if (problem instanceof Refused) say(problem.message);
      if (problem.name !== "AbortError") setTimeout(this.ready, tile.notBefore - performance.now() + 10);
    }
    this.running.delete(tile);
    tile.stop = null;
    this.ready();
  }

  fill(tile, answer) {
    tile.state = answer ? "ready" : "none";
    if (answer) this.put(tile, answer.data, answer.shape);
    else this.drop(tile);
    this.arrived(tile);
  }

  put(tile, data, shape) {
    this.count(data.byteLength - (tile.data?.byteLength ?? 0), tile);
    Object.assign(tile, { data, shape, state: "ready", version: tile.version + 1, edits: null });
  }

  drop(tile) {
    this.bytes -= tile.bytes;
    Object.assign(tile, { data: null, shape: null, bytes: 0, version: tile.version + 1, edits: null });
    tile.paints.clear();
  }

  count(bytes, tile) {
    this.bytes += bytes;
    tile.bytes += bytes;
  }

  /** Something changed in a region of the full image (null: everywhere): show it until the new is here. */
  spoil(image, box, layers) {
    for (const tile of this.all.values()) {
      if (tile.image !== image || !layers.includes(tile.layer)) continue;
      if (box && !meets(tile, box)) continue;
      tile.stale = true;
    }
    this.ready();
  }

  changed(image, box) {
    this.spoil(image, box, ["annotation", "held"]);
  }

  predicted(image, box) {
    this.spoil(image, box, OF_MODEL);
  }

  /** All images, all that can change: after the connection was lost. */
  everything() {
    for (const tile of this.all.values()) if (tile.layer !== "pixels") tile.stale = true;
    this.ready();
  }

  /** The tile of annotations under a point, at the level that is shown. */
  at(image, layer, level, y, x) {
    const [fy, fx] = factor(image.levels, level);
    return this.have(image, layer, level, Math.floor(y / fy / TILE), Math.floor(x / fx / TILE));
  }

  forget() {
    const old = [...this.all.values()].filter((tile) => tile.used < this.frame && !tile.stop);
    old.sort((a, b) => a.used - b.used);
    for (const tile of old) {
      if (this.bytes < MOST_BYTES * 0.75) break;
      this.bytes -= tile.bytes;
      this.all.delete(tile.key);
    }
  }
}

/** Whether a tile shows something of a region of the full image. */
export function meets(tile, [y0, y1, x0, x1]) {
  const [fy, fx] = tile.factor;
  return tile.read[0] * fy < y1 && tile.read[1] * fy > y0 && tile.read[2] * fx < x1 && tile.read[3] * fx > x0;
}

/** The value of a layer of labels under a point of the full image, or null where it is not here. */
export function valueAt(tile, y, x) {
  if (!tile?.data) return null;
  const row = Math.floor(y / tile.factor[0]) - tile.read[0];
  const column = Math.floor(x / tile.factor[1]) - tile.read[2];
  if (row < 0 || column < 0 || row >= tile.shape[0] || column >= tile.shape[1]) return null;
  return tile.data[row * tile.shape[1] + column];
}
