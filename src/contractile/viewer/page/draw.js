// One frame: the image from its tiles, then the layers over it. Tiles keep their colours; a frame colours new ones only
// as long as its time allows, and shows the old until then.

import * as colours from "./colours.js";
import { canvas, heldPattern, backgroundPattern } from "./patterns.js";
import { channelSettings, isObjects, state } from "./state.js";
import { TILE } from "./tiles.js";

const BUDGET = 6; // ms of a frame for colouring
const CRISP = 3; // device pixels of one pixel from which on outlines are drawn as thin lines
const MOST_TILES = 150;
const LINES = [255, 255, 255, 150, 80]; // by level: where objects are a few pixels, lines must not hide them

export class Scene {
  constructor(element, view, tiles) {
    this.element = element;
    this.context = element.getContext("2d", { alpha: false });
    this.view = view;
    this.tiles = tiles;
    this.scratch = canvas(1, 1);
    this.level = 0;
    this.tooMany = false;
    this.again = () => {}; // asks for another frame
  }

  draw() {
    const { context, element, view, tiles } = this;
    const width = Math.round(view.width * view.ratio);
    const height = Math.round(view.height * view.ratio);
    if (element.width !== width || element.height !== height) Object.assign(element, { width, height });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#161719";
    context.fillRect(0, 0, width, height);
    tiles.begin();
    if (state.image) this.image(performance.now() + BUDGET);
    tiles.end();
  }

  image(until) {
    this.until = until;
    this.late = false;
    const { image } = state;
    this.level = this.view.level(image.levels);
    const places = this.places(this.level);
    this.tooMany = places.length > MOST_TILES;
    this.context.save();
    this.clip(image.shape);
    this.base(image, this.tooMany ? [] : places);
    if (state.overlays && !this.tooMany) this.over(image, places);
    this.context.restore();
    if (this.late) this.again();
  }

  /** The last pixels of coarse levels reach beyond the image. */
  clip([height, width]) {
    this.context.beginPath();
    this.context.rect(...this.rectangle([0, height, 0, width], 0));
    this.context.clip();
  }

  /** The tiles of a level on the screen: row, column, distance from the middle, and the rectangle on the canvas. */
  places(level) {
    const [height, width] = state.image.levels[level];
    const [y0, y1, x0, x1] = this.view.region();
    const [fy, fx] = this.factor(level);
    const found = [];
    const rows = [Math.floor(y0 / fy / TILE), Math.ceil(Math.min(y1 / fy, height) / TILE)];
    const columns = [Math.floor(x0 / fx / TILE), Math.ceil(Math.min(x1 / fx, width) / TILE)];
    if ((rows[1] - rows[0]) * (columns[1] - columns[0]) > MOST_TILES) return new Array(MOST_TILES + 1);
    for (let row = rows[0]; row < rows[1]; row++) {
      for (let column = columns[0]; column < columns[1]; column++) {
        const middle = [(row + 0.5) * TILE * fy - this.view.y, (column + 0.5) * TILE * fx - this.view.x];
        found.push({ row, column, far: Math.hypot(...middle) / (TILE * Math.max(fy, fx)) });
      }
    }
    return found;
  }

  /** Pixels of the full image for one of a level, so that the levels of one image lie exactly over one another. */
  factor(level) {
    const { levels } = state.image;
    return [0, 1].map((axis) => Math.max(1, Math.round(levels[0][axis] / levels[level][axis])));
  }

  /** Where a region of a level lies on the canvas, in whole device pixels: [left, top, width, height]. */
  rectangle([y0, y1, x0, x1], level) {
    const [fy, fx] = this.factor(level);
    const { ratio } = this.view;
    const [left, top] = this.view.toScreen(y0 * fy - 0.5, x0 * fx - 0.5).map((one) => Math.round(one * ratio));
    const [right, bottom] = this.view.toScreen(y1 * fy - 0.5, x1 * fx - 0.5).map((one) => Math.round(one * ratio));
    return [left, top, right - left, bottom - top];
  }

  base(image, places) {
    const { context, tiles } = this;
    const top = image.levels.length - 1;
    const settings = channelSettings();
    const stamp = JSON.stringify(settings);
    if (stamp !== this.curveStamp || image !== this.curveImage) {
      this.curves = settings.map((one, at) => ({ ...one, at, curve: colours.curve(one, image.type) }));
      [this.curveStamp, this.curveImage] = [stamp, image];
    }
    const paint = (tile) => this.coloured(tile, "pixels", stamp, (pixels, box, count) =>
      colours.greys(tile.data, count, pixels, this.curves));
    // The coarsest level is always kept: something is there while the rest comes.
    const coarse = this.places(top);
    const layers = top === this.level ? [] : [[top, coarse.length > 16 ? [] : coarse]];
    for (let level = top - 1; level > this.level; level--) layers.push([level, null]);
    layers.push([this.level, places]);
    for (const [level, spots] of layers) {
      context.imageSmoothingEnabled = this.factor(level)[0] * this.view.scale * this.view.ratio < 1;
      for (const { row, column, far } of spots ?? this.places(level)) {
        const tile = spots
          ? tiles.want(image, "pixels", level, row, column, level === top ? far - 1 : far)
          : tiles.have(image, "pixels", level, row, column);
        if (tile?.data) this.put(context, paint(tile), tile);
      }
    }
  }

  over(image, places) {
    const { layers, session } = state;
    this.context.imageSmoothingEnabled = this.factor(this.level)[0] * this.view.scale * this.view.ratio < 1;
    if (layers.inside.on) this.heat(image, places, "inside", "inside", layers.inside.opacity);
    if (layers.unsure.on) this.heat(image, places, "certainty", "unsure", layers.unsure.opacity);
    if (layers.annotation.on) this.annotation(image, places);
    if (layers.prediction.on) {
      const look = colours.palette(session.task, session.classes, isObjects() ? colours.MODEL : null);
      const shown = places.map((place) => this.want(image, "prediction", place, 2));
      this.labels(shown, layers.prediction, look, "prediction");
    }
    if (layers.truth.on && image.truth) this.difference(image, places);
  }

  want(image, layer, { row, column, far }, later) {
    return this.tiles.want(image, layer, this.level, row, column, far + later);
  }

  heat(image, places, layer, table, opacity) {
    this.context.globalAlpha = opacity;
    for (const place of places) {
      const tile = this.want(image, layer, place, 3);
      if (!tile.data) continue;
      const paint = (pixels) => colours.heat(tile.data, pixels, colours.HEAT[table]);
      this.put(this.context, this.coloured(tile, table, table, paint), tile);
    }
    this.context.globalAlpha = 1;
  }

  annotation(image, places) {
    const { layers, session } = state;
    const shown = places.map((place) => this.want(image, "annotation", place, 1));
    const held = places.map((place) => this.want(image, "held", place, 1.5));
    this.pattern(shown, "background", 0, backgroundPattern, layers.annotation.opacity);
    this.labels(shown, layers.annotation, colours.palette(session.task, session.classes), "annotation");
    this.pattern(held, "held", null, heldPattern, 1);
  }

  labels(shown, { style, opacity }, look, name) {
    const thin = this.factor(this.level)[0] * this.view.scale * this.view.ratio >= CRISP;
    const lines = style !== "filled";
    const fill = style === "lines" ? 0 : Math.round(255 * opacity);
    const stamp = `${fill}/${lines && !thin}/${look.names}`;
    for (const tile of shown) {
      if (!tile.data) continue;
      const how = { ...look, fill, line: lines && !thin ? LINES[Math.min(this.level, LINES.length - 1)] : 0 };
      const paint = (pixels, box) => colours.labels(tile, pixels, box, how);
      if (fill || !thin) this.put(this.context, this.coloured(tile, name, stamp, paint), tile);
      if (lines && thin) this.outline(tile, look, name === "prediction");
    }
  }

  /** Thin lines along the edges of pixels; those of the model have a dark rim, so that they are seen on any ground. */
  outline(tile, look, rim) {
    if (tile.outlineVersion !== tile.version && (!tile.outlines || performance.now() < this.until)) {
      tile.outlines = colours.outlines(tile, look.pick);
      tile.outlineVersion = tile.version;
    }
    this.late ||= tile.outlineVersion !== tile.version;
    const [left, top, width, height] = this.rectangle(tile.own, tile.level);
    const { context, view } = this;
    context.save();
    context.setTransform(width / (tile.own[3] - tile.own[2]), 0, 0, height / (tile.own[1] - tile.own[0]), left, top);
    const pixel = (view.ratio * (tile.own[1] - tile.own[0])) / height;
    context.lineCap = "square";
    for (const [kind, path] of tile.outlines) {
      if (rim) this.stroke(path, "rgba(0, 0, 0, 0.6)", 3.4 * pixel);
      this.stroke(path, look.names[kind], 1.7 * pixel);
    }
    context.restore();
  }

  stroke(path, colour, width) {
    Object.assign(this.context, { strokeStyle: colour, lineWidth: width });
    this.context.stroke(path);
  }

  /** A pattern of the screen, cut out by what has a value in the tiles. */
  pattern(shown, name, value, make, opacity) {
    const ready = [];
    for (const tile of shown) {
      if (!tile.data) continue;
      const paint = (pixels, box) => {
        const any = colours.mask(tile.data, pixels, value, box, tile.shape[1]);
        tile.any = { ...tile.any, [name]: any || (box.part && tile.any?.[name]) };
      };
      const cut = this.coloured(tile, name, name, paint);
      if (tile.any?.[name]) ready.push([cut, tile]);
    }
    if (!ready.length) return;
    const { scratch, element, context, view } = this;
    if (scratch.width !== element.width || scratch.height !== element.height) {
      Object.assign(scratch, { width: element.width, height: element.height });
    }
    const brush = scratch.getContext("2d");
    brush.globalCompositeOperation = "source-over";
    brush.clearRect(0, 0, scratch.width, scratch.height);
    brush.imageSmoothingEnabled = false;
    for (const [cut, tile] of ready) this.put(brush, cut, tile);
    brush.globalCompositeOperation = "source-in";
    brush.fillStyle = make(brush, view, opacity);
    brush.fillRect(0, 0, scratch.width, scratch.height);
    context.drawImage(scratch, 0, 0);
  }

  difference(image, places) {
    this.context.globalAlpha = state.layers.truth.opacity;
    for (const place of places) {
      const truth = this.want(image, "truth", place, 3);
      const found = this.want(image, "prediction", place, 2);
      if (!truth.data || !found.data) continue;
      const paint = (pixels) => colours.difference(found.data, truth.data, pixels);
      this.put(this.context, this.coloured(truth, "difference", `v${found.version}`, paint), truth);
    }
    this.context.globalAlpha = 1;
  }

  /** The colours of a tile; what is out of date is done again, if there is time left in this frame. */
  coloured(tile, name, stamp, paint) {
    const [height, width] = tile.shape.slice(-2);
    let have = tile.paints.get(name);
    if (have && have.canvas.width === width && have.canvas.height === height) {
      const same = have.stamp === stamp;
      if (same && have.version === tile.version) return have.canvas;
      if (performance.now() > this.until && !tile.edits) {
        this.late = true;
        return have.canvas;
      }
    } else {
      const made = canvas(width, height);
      have = { canvas: made, pixels: new ImageData(width, height), stamp: null };
      tile.paints.set(name, have);
      this.tiles.count(width * height * 8, tile);
    }
    const box = this.box(tile, have, stamp, height, width);
    paint(have.pixels, box, height * width);
    have.canvas.getContext("2d").putImageData(have.pixels, 0, 0, box[2], box[0], box[3] - box[2], box[1] - box[0]);
    Object.assign(have, { stamp, version: tile.version });
    return have.canvas;
  }

  /** The part of a tile to be coloured: after a local stroke only what it touched. */
  box(tile, have, stamp, height, width) {
    if (have.stamp !== stamp || !tile.edits || tile.edits.since > have.version) return [0, height, 0, width];
    const [y0, y1, x0, x1] = tile.edits.box;
    const box = [Math.max(0, y0 - 1), Math.min(height, y1 + 1), Math.max(0, x0 - 1), Math.min(width, x1 + 1)];
    box.part = true;
    return box;
  }

  put(context, picture, tile) {
    const [left, top, width, height] = this.rectangle(tile.own, tile.level);
    const from = [tile.own[2] - tile.read[2], tile.own[0] - tile.read[0]];
    const size = [tile.own[3] - tile.own[2], tile.own[1] - tile.own[0]];
    context.drawImage(picture, ...from, ...size, left, top, width, height);
  }
}
