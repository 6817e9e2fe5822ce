// Tools: what a drag, a line or a click becomes. Each gesture is drawn at once and sent when it ends.

import { send } from "./api.js";
import { emit, isObjects, mayWrite, say, state } from "./state.js";
import { valueAt } from "./tiles.js";

export const PAINTING = ["brush", "outline", "fill"];
const DRAGS = ["brush", "outline", "merge", "split"];
const MOST_POINTS = 5000; // of one gesture: more are not needed to draw it
const LARGE_FILL = 2 ** 22;

export class Tools {
  constructor(view, tiles, local, scene) {
    Object.assign(this, { view, tiles, local, scene });
    this.gesture = null;
  }

  /** The label that was painted under a point: null where it is not known yet. */
  painted([y, x]) {
    const tile = this.tiles.at(state.image, "annotation", this.scene.level, Math.round(y), Math.round(x));
    return valueAt(tile, Math.round(y), Math.round(x));
  }

  /** The pointer goes down at an image point. */
  begin(point) {
    if (!mayWrite()) return say("This page is read-only.", "note");
    this.reveal();
    if (!DRAGS.includes(state.tool)) return this.click(point);
    this.gesture = { tool: state.tool, image: state.image.id, points: [], stroke: null };
    if (state.tool === "brush") {
      const value = this.value(point, true);
      this.gesture.stroke = this.local.begin(state.image.id, "paint", value, state.radius);
    }
    this.extend([point]);
  }

  /** What is painted must be seen. */
  reveal() {
    if (state.overlays && state.layers.annotation.on) return;
    state.overlays = state.layers.annotation.on = true;
    emit("layers");
  }

  extend(points) {
    const { gesture } = this;
    if (!gesture) return;
    const step = Math.max(0.2, 0.7 / this.view.scale);
    const fresh = [];
    for (const point of points) {
      const last = fresh.at(-1) ?? gesture.points.at(-1);
      if (last && Math.hypot(point[0] - last[0], point[1] - last[1]) < step) continue;
      fresh.push(point.map((one) => Math.round(one * 100) / 100));
    }
    fresh.splice(MOST_POINTS - gesture.points.length);
    gesture.points.push(...fresh);
    if (gesture.stroke && fresh.length) this.local.extend(gesture.stroke, fresh);
    emit("drawn");
  }

  cancel() {
    if (this.gesture?.stroke) this.local.cancel(this.gesture.stroke);
    this.gesture = null;
    emit("drawn");
  }

  end() {
    const { gesture } = this;
    this.gesture = null;
    if (!gesture?.points.length) return;
    const finish = { brush: () => this.brush(gesture), outline: () => this.outline(gesture) };
    finish.merge = () => this.merge(gesture);
    finish.split = () => this.split(gesture);
    finish[gesture.tool]();
    emit("drawn");
  }

  click(point) {
    const act = { fill: () => this.fill(point), delete: () => this.remove(point), accept: () => this.accept(point) };
    act[state.tool]?.();
  }

  /** What a gesture at a point paints. A brush that starts on an object goes on with it. */
  value(point, brush = false) {
    if (!isObjects() || typeof state.value === "number") return state.value;
    const under = this.painted(point);
    if (brush && under > 0) return under;
    if (state.value === "same" && state.number) return state.number;
    return this.local.guess();
  }

  /** As the server wants it: a guessed number is "new" the first time, then the number it got. */
  wire(value, stroke) {
    if (value < 2 ** 30) return value;
    const real = this.local.real(value);
    return real === value && stroke ? "new" : real;
  }

  brush({ image, points, stroke }) {
    const { radius, value } = stroke;
    this.paint(stroke, () => ({ kind: "paint", image, points, radius, value: this.wire(value, true) }));
  }

  outline({ image, points }) {
    if (points.length < 3) return;
    const stroke = this.local.begin(image, "fill", this.value(points[0]), 0);
    stroke.over = !(isObjects() && stroke.value === 0); // background around objects leaves them as they are
    this.local.extend(stroke, points);
    const { over } = stroke;
    this.paint(stroke, () => ({ kind: "fill", image, points, value: this.wire(stroke.value, true), over }));
  }

  paint(stroke, make) {
    if (stroke.value > 0) state.number = stroke.value;
    send("api/strokes", make, (answer) => {
      if (!answer) return this.local.cancel(stroke);
      const guessed = stroke.value;
      this.local.confirm(stroke, stroke.value > 0 ? answer.number : null);
      if (state.number === guessed) state.number = this.local.real(guessed);
      this.answered(answer);
    });
  }

  /** Send what is not drawn here: it is seen when the server has done it. */
  order(make, then = () => {}, nothing = "Nothing changed.") {
    send("api/strokes", make, (answer) => {
      if (!answer) return;
      if (!answer.changed) say(nothing, "note");
      then(answer);
      this.answered(answer);
    });
  }

  answered(answer) {
    if (answer.changed) this.tiles.changed(answer.image, answer.changed);
    emit("changed", answer);
  }

  /** The connected area of one label under a point becomes part of what was painted last. */
  fill(point) {
    const image = state.image.id;
    const [y0, y1, x0, x1] = this.view.region();
    if (this.painted(point) === -1 && (y1 - y0) * (x1 - x0) > LARGE_FILL) {
      return say("Zoom in before you fill: the area would be very large.", "note");
    }
    const whole = isObjects() && typeof state.value === "string";
    const value = whole ? (state.number ?? "new") : state.value;
    const make = () => ({ kind: "flood", image, point: point.map(Math.round), value: this.wire(value, true) });
    this.order(make, (answer) => {
      if (whole && answer.number) state.number = answer.number;
    });
  }

  remove(point) {
    const image = state.image.id;
    const number = this.painted(point);
    if (!isObjects()) return say("Classes are taken away with the eraser (key E).", "note");
    if (!(number > 0)) return say("There is no painted object here.", "note");
    this.forget(number);
    this.order(() => ({ kind: "delete", image, number: this.local.real(number) }));
  }

  /** Nothing goes on with an object that is taken away. */
  forget(number) {
    if (state.number && this.local.real(state.number) === this.local.real(number)) state.number = null;
  }

  accept(point) {
    const image = state.image.id;
    const make = () => ({ kind: "accept", image, point: point.map(Math.round) });
    this.order(make, undefined, "The model shows no new object here.");
  }

  acceptAll() {
    if (!mayWrite()) return say("This page is read-only.", "note");
    const image = state.image.id;
    const region = this.view.region();
    this.order(() => ({ kind: "accept_all", image, region }), undefined, "The model shows no new whole object in view.");
  }

  /** An object of the painted ones becomes background. */
  ground(point) {
    const image = state.image.id;
    const number = this.painted(point);
    if (!isObjects() || !(number > 0)) return say("There is no painted object here.", "note");
    this.forget(number);
    this.order(() => ({ kind: "background", image, number: this.local.real(number) }));
  }

  /** The painted objects along a line, in order, each with the number of places it was met at. */
  along(points) {
    const met = new Map();
    points.forEach((to, at) => {
      const from = points[at - 1] ?? to;
      const steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])) + 1;
      for (let step = 0; step <= steps; step++) {
        const number = this.painted([0, 1].map((axis) => from[axis] + ((to[axis] - from[axis]) * step) / steps));
        if (number > 0) met.set(number, (met.get(number) ?? 0) + 1);
      }
    });
    return met;
  }

  merge({ image, points }) {
    const numbers = [...this.along(points).keys()];
    if (numbers.length < 2) return say("Draw a line from one painted object to another to merge them.", "note");
    this.order(() => ({ kind: "merge", image, numbers: numbers.map((one) => this.local.real(one)) }));
  }

  split({ image, points }) {
    const met = [...this.along(points)].sort((a, b) => b[1] - a[1]);
    if (!met.length) return say("Draw a line through a painted object to split it.", "note");
    this.order(() => ({ kind: "split", image, number: this.local.real(met[0][0]), points }));
  }

  /** Undo or redo, and show what changed, unless the user has gone to another image since. */
  turn(way) {
    const here = state.image;
    state.number = null; // it may be gone
    send(`api/${way}`, () => ({}), (answer) => {
      if (!answer) return;
      this.answered(answer);
      if (answer.changed && state.image === here) emit("look", answer);
    });
  }
}

