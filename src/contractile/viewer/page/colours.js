// Numbers to colours. All is done with tables, so that a tile of 512 x 512 takes about a millisecond.
// The colours of objects are those of Okabe and Ito, which people with any colour vision can tell apart.

export const OBJECTS = ["#e69f00", "#009e73", "#cc79a7", "#d55e00"]; // the blues are left to background
export const BACKGROUND = "#0072b2";
export const MODEL = "#f0e442";
export const MISSED = "#d55e00";
export const TOO_MUCH = "#56b4e9";
const UNSURE = [[0, 0, 0, 0], [213, 94, 0, 0.35], [255, 150, 40, 0.8], [255, 236, 190, 1]];
const INSIDE = [[0, 0, 0, 0], [0, 70, 110, 0.55], [0, 158, 115, 0.8], [240, 228, 66, 1]];

/** "#rrggbb" as a number that lies in memory as the bytes red, green, blue, 0. */
export function rgb(colour) {
  const value = parseInt(colour.slice(1), 16);
  return ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
}

/** A table from grey values to brightness (0 to 255) of one channel, and how a value finds its place in it. */
export function curve({ low, high, gamma }, type) {
  const size = type === "uint8" ? 256 : type === "uint16" ? 65536 : 1024;
  const whole = type !== "float32";
  const table = new Uint8Array(size);
  for (let at = 0; at < size; at++) {
    const share = whole ? (at - low) / (high - low) : at / (size - 1);
    table[at] = Math.round(255 * Math.min(1, Math.max(0, share)) ** (1 / gamma));
  }
  return { table, whole, low, scale: (size - 1) / (high - low) };
}

/** Channels added up in their colours: (C, h, w) numbers into the pixels of an ImageData. */
export function greys(data, count, pixels, channels) {
  const words = new Uint32Array(pixels.data.buffer);
  const shown = channels.filter((one) => one.on);
  if (shown.length === 1) return single(data.subarray(shown[0].at * count), words, shown[0]);
  words.fill(0xff000000);
  for (const one of shown) added(data.subarray(one.at * count), pixels.data, count, one);
}

function single(data, words, { curve: { table, whole, low, scale }, colour }) {
  const [red, green, blue] = [0, 8, 16].map((shift) => (rgb(colour) >> shift) & 255);
  const ready = new Uint32Array(256);
  for (let at = 0; at < 256; at++) {
    const part = (one) => Math.round((one * at) / 255);
    ready[at] = 0xff000000 | (part(blue) << 16) | (part(green) << 8) | part(red);
  }
  const last = table.length - 1;
  for (let at = 0; at < words.length; at++) {
    const place = whole ? data[at] : Math.min(last, Math.max(0, (data[at] - low) * scale)) | 0;
    words[at] = ready[table[place]];
  }
}

function added(data, bytes, count, { curve: { table, whole, low, scale }, colour }) {
  const [red, green, blue] = [0, 8, 16].map((shift) => ((rgb(colour) >> shift) & 255) / 255);
  const last = table.length - 1;
  for (let at = 0, to = 0; at < count; at++, to += 4) {
    const light = table[whole ? data[at] : Math.min(last, Math.max(0, (data[at] - low) * scale)) | 0];
    if (!light) continue;
    bytes[to] += red * light; // bytes are clamped at 255
    bytes[to + 1] += green * light;
    bytes[to + 2] += blue * light;
  }
}

/** What colour each label has: `pick(value)` is its place in `colours`, 0 for what has none. */
export function palette(task, classes, one = null) {
  if (one) return { colours: [0, rgb(one)], pick: (value) => (value > 0 ? 1 : 0), names: ["", one] };
  if (task !== "classes") {
    const count = OBJECTS.length;
    return {
      colours: [0, ...OBJECTS.map(rgb)],
      pick: (value) => (value > 0 ? 1 + (value % count) : 0),
      names: ["", ...OBJECTS],
    };
  }
  const places = new Map(classes.filter((kind) => kind.value > 0).map((kind, at) => [kind.value, at + 1]));
  const names = ["", ...classes.filter((kind) => kind.value > 0).map((kind) => kind.colour)];
  return { colours: names.map((name) => (name ? rgb(name) : 0)), pick: (value) => places.get(value) ?? 0, names };
}

/**
 * Labels (h, w) as filled areas and as the line of their outermost pixels, in the part `box` of an ImageData.
 * `fill` and `line` are 0 to 255. Gives whether there is background (0) in the box.
 */
export function labels(tile, pixels, box, { colours, pick, fill, line }) {
  const words = new Uint32Array(pixels.data.buffer);
  const [height, width] = tile.shape;
  const { data } = tile;
  const filled = fill << 24;
  const lined = line << 24;
  let last = -1;
  let colour = 0;
  for (let row = box[0]; row < box[1]; row++) {
    for (let column = box[2]; column < box[3]; column++) {
      const at = row * width + column;
      const value = data[at];
      if (value <= 0) {
        words[at] = 0;
        continue;
      }
      if (value !== last) {
        last = value;
        const place = pick(value);
        colour = place ? colours[place] : -1;
      }
      const edge =
        line &&
        ((row > 0 && data[at - width] !== value) || (row < height - 1 && data[at + width] !== value) ||
          (column > 0 && data[at - 1] !== value) || (column < width - 1 && data[at + 1] !== value));
      words[at] = colour === -1 ? 0 : colour | (edge ? lined : filled);
    }
  }
}

/** White where `data` has the value (or any value above 0 for null): what a pattern is cut out by. */
export function mask(data, pixels, value, box, width) {
  const words = new Uint32Array(pixels.data.buffer);
  let any = false;
  for (let row = box[0]; row < box[1]; row++) {
    for (let at = row * width + box[2]; at < row * width + box[3]; at++) {
      const is = value === null ? data[at] > 0 : data[at] === value;
      words[at] = is ? 0xffffffff : 0;
      any ||= is;
    }
  }
  return any;
}

function ramp(stops, turned) {
  const table = new Uint32Array(256);
  for (let at = 0; at < 256; at++) {
    const place = ((turned ? 255 - at : at) / 255) * (stops.length - 1);
    const low = Math.min(stops.length - 2, Math.floor(place));
    const mix = (part) => stops[low][part] + (stops[low + 1][part] - stops[low][part]) * (place - low);
    table[at] = (Math.round(255 * mix(3)) << 24) | (mix(2) << 16) | (mix(1) << 8) | mix(0);
  }
  return table;
}

export const HEAT = { inside: ramp(INSIDE, false), unsure: ramp(UNSURE, true) };

export function heat(data, pixels, table) {
  const words = new Uint32Array(pixels.data.buffer);
  for (let at = 0; at < words.length; at++) words[at] = table[data[at]];
}

/** Where something and the truth differ: missed in one colour, too much in another, outlines that differ as well. */
export function difference(found, truth, pixels) {
  const words = new Uint32Array(pixels.data.buffer);
  const [missed, extra] = [rgb(MISSED), rgb(TOO_MUCH)].map((colour) => colour | (255 << 24));
  for (let at = 0; at < words.length; at++) {
    const is = found[at] > 0;
    const should = truth[at] > 0;
    words[at] = is === should || truth[at] < 0 ? 0 : should ? missed : extra;
  }
}

/** The outlines of a tile's own part along the edges of pixels: one path for each place in the palette. */
export function outlines(tile, pick) {
  const paths = new Map();
  const [height, width] = tile.shape;
  const [top, left] = [tile.own[0] - tile.read[0], tile.own[2] - tile.read[2]];
  const [rows, columns] = [tile.own[1] - tile.own[0], tile.own[3] - tile.own[2]];
  const value = (row, column) =>
    row < 0 || column < 0 || row >= height || column >= width ? 0 : Math.max(0, tile.data[row * width + column]);
  const path = (one, other) => {
    const kind = pick(Math.max(one, other));
    if (!paths.has(kind)) paths.set(kind, new Path2D());
    return paths.get(kind);
  };
  runs(rows, columns, (row, column) => value(row + top, column + left), (one, other, row, from, to) => {
    const line = path(one, other);
    line.moveTo(from, row);
    line.lineTo(to, row);
  });
  runs(columns, rows, (column, row) => value(row + top, column + left), (one, other, column, from, to) => {
    const line = path(one, other);
    line.moveTo(column, from);
    line.lineTo(column, to);
  });
  paths.delete(0);
  return paths;
}

/** Edges between one line of pixels and the next, as long as the labels on both sides stay the same. */
function runs(lines, length, value, add) {
  for (let line = 0; line <= lines; line++) {
    let [start, before, after] = [0, 0, 0];
    for (let at = 0; at <= length; at++) {
      const one = at < length ? value(line - 1, at) : 0;
      const other = at < length ? value(line, at) : 0;
      if (one === before && other === after) continue;
      if (before !== after) add(before, after, line, start, at);
      [start, before, after] = [at, one, other];
    }
  }
}
