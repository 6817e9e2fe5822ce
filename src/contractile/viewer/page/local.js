// Strokes are drawn into the tiles at once, by the server's own rule, and again into tiles that the server sent before
// it knew the stroke. A tile that was asked for after the server confirmed a stroke already holds it.

import { OBJECTS } from "./colours.js";
import { meets } from "./tiles.js";

const FIRST_GUESS = 2 ** 30; // numbers of new objects until the server gives the real ones

export class Local {
  constructor(tiles) {
    this.tiles = tiles;
    this.strokes = [];
    this.guesses = new Map(); // a guessed number -> the server's number
    this.guessed = FIRST_GUESS;
    this.highest = 0; // the highest number that was seen
    tiles.arrived = (tile) => this.again(tile);
  }

  /** A number for a new object, of the colour that the next number will have. */
  guess() {
    this.highest += 1;
    this.guessed += 1;
    while (this.guessed % OBJECTS.length !== this.highest % OBJECTS.length) this.guessed += 1;
    return this.guessed;
  }

  /** The server's number for a guessed one, else the number itself. */
  real(number) {
    return this.guesses.get(number) ?? number;
  }

  begin(image, kind, value, radius) {
    const stroke = { image, kind, value, radius, over: true, points: [], until: Infinity };
    this.strokes.push(stroke);
    return stroke;
  }

  /** Draw the next points of a brush stroke, or a whole outline. */
  extend(stroke, points) {
    const from = stroke.points.at(-1);
    stroke.points.push(...points);
    const part = stroke.kind === "fill" || !from ? points : [from, ...points];
    for (const tile of this.tiles.all.values()) {
      if (tile.layer === "annotation" && tile.image === stroke.image) this.draw(tile, stroke, part);
    }
  }

  /** The server knows the stroke: tiles that are asked for from now on hold it. */
  confirm(stroke, number) {
    stroke.until = this.tiles.clock;
    if (number != null) {
      if (stroke.value >= FIRST_GUESS) this.guesses.set(stroke.value, number);
      stroke.value = number;
      this.highest = Math.max(this.highest, number);
    }
    this.forget();
  }

  /** The server refused: ask for the truth. */
  cancel(stroke) {
    this.strokes = this.strokes.filter((one) => one !== stroke);
    this.tiles.changed(stroke.image, bounds(stroke.points, stroke.radius));
  }

  forget() {
    const oldest = Math.min(this.tiles.clock, ...[...this.tiles.running].map((tile) => tile.asked - 1));
    this.strokes = this.strokes.filter((one) => one.until >= oldest);
  }

  again(tile) {
    if (tile.layer !== "annotation") return;
    for (const number of tile.data ?? []) if (number > this.highest) this.highest = number;
    for (const stroke of this.strokes) {
      if (stroke.image === tile.image && tile.asked <= stroke.until) this.draw(tile, stroke, stroke.points);
    }
  }

  draw(tile, stroke, points) {
    if (!points.length || tile.state === "empty" || !meets(tile, bounds(points, stroke.radius + 1))) return;
    if (!tile.data) {
      const shape = [tile.read[1] - tile.read[0], tile.read[3] - tile.read[2]];
      this.tiles.put(tile, new Int32Array(shape[0] * shape[1]).fill(-1), shape);
    }
    if (stroke.kind === "fill") fill(tile, points, stroke);
    else brush(tile, points, stroke.radius, stroke.value);
    tile.version += 1;
  }
}

export function bounds(points, around = 0) {
  const box = [Infinity, -Infinity, Infinity, -Infinity];
  for (const [y, x] of points) {
    box[0] = Math.min(box[0], y - around);
    box[1] = Math.max(box[1], y + around + 1);
    box[2] = Math.min(box[2], x - around);
    box[3] = Math.max(box[3], x + around + 1);
  }
  return box;
}

/** Only what a stroke touched is coloured again. */
function mark(tile, y0, y1, x0, x1) {
  tile.edits ??= { since: tile.version, box: [Infinity, -Infinity, Infinity, -Infinity] };
  const old = tile.edits.box;
  tile.edits.box = [Math.min(old[0], y0), Math.max(old[1], y1), Math.min(old[2], x0), Math.max(old[3], x1)];
}

/** All pixels within a radius of the line through points, and those that hold a point. */
function brush(tile, points, radius, value) {
  const [fy, fx] = tile.factor;
  const [height, width] = tile.shape;
  const put = (y, x) => {
    const row = Math.round(y / fy) - tile.read[0];
    const column = Math.round(x / fx) - tile.read[2];
    if (row < 0 || column < 0 || row >= height || column >= width) return;
    tile.data[row * width + column] = value;
    mark(tile, row, row + 1, column, column + 1);
  };
  points.forEach(([y, x], at) => {
    put(y, x);
    piece(tile, points[at - 1] ?? [y, x], [y, x], radius, value);
  });
}

function piece(tile, [ay, ax], [by, bx], radius, value) {
  const [fy, fx] = tile.factor;
  const [height, width] = tile.shape;
  const y0 = Math.max(0, Math.ceil((Math.min(ay, by) - radius) / fy) - tile.read[0]);
  const y1 = Math.min(height, Math.floor((Math.max(ay, by) + radius) / fy) - tile.read[0] + 1);
  const x0 = Math.max(0, Math.ceil((Math.min(ax, bx) - radius) / fx) - tile.read[2]);
  const x1 = Math.min(width, Math.floor((Math.max(ax, bx) + radius) / fx) - tile.read[2] + 1);
  if (y0 >= y1 || x0 >= x1) return;
  const dy = by - ay;
  const dx = bx - ax;
  const length = dy * dy + dx * dx;
  for (let row = y0; row < y1; row++) {
    const y = (row + tile.read[0]) * fy - ay;
    for (let column = x0; column < x1; column++) {
      const x = (column + tile.read[2]) * fx - ax;
      const share = length ? Math.min(1, Math.max(0, (y * dy + x * dx) / length)) : 0;
      const away = (y - share * dy) ** 2 + (x - share * dx) ** 2;
      if (away <= radius * radius) tile.data[row * width + column] = value;
    }
  }
  mark(tile, y0, y1, x0, x1);
}

/** All pixels whose middle lies within an outline, by the even-odd rule: row by row, between pairs of crossings.
    Without `over` only those that are unknown. */
function fill(tile, outline, { value, over }) {
  const [fy, fx] = tile.factor;
  const [height, width] = tile.shape;
  const [low, high] = bounds(outline);
  const y0 = Math.max(0, Math.floor(low / fy) - tile.read[0]);
  const y1 = Math.min(height, Math.ceil(high / fy) - tile.read[0] + 1);
  for (let row = y0; row < y1; row++) {
    const cuts = crossings(outline, (row + tile.read[0]) * fy);
    for (let at = 0; at + 1 < cuts.length; at += 2) {
      const x0 = Math.max(0, Math.ceil(cuts[at] / fx) - tile.read[2]);
      const x1 = Math.min(width - 1, Math.floor(cuts[at + 1] / fx) - tile.read[2]);
      for (let place = row * width + x0; place <= row * width + x1; place++) {
        if (over || tile.data[place] === -1) tile.data[place] = value;
      }
    }
  }
  mark(tile, y0, y1, 0, width);
}

function crossings(outline, y) {
  const found = [];
  outline.forEach(([by, bx], at) => {
    const [ay, ax] = outline.at(at - 1);
    if (ay <= y !== by <= y) found.push(ax + ((y - ay) * (bx - ax)) / (by - ay));
  });
  return found.sort((a, b) => a - b);
}
