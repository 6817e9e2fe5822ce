// What lies over the frame and changes with the pointer: the brush, the line being drawn, the crosshair, where to look.

import { BACKGROUND, OBJECTS } from "./colours.js";
import { isObjects, mayWrite, state } from "./state.js";

export class Overlay {
  constructor(element, view, tools) {
    this.element = element;
    this.context = element.getContext("2d");
    Object.assign(this, { view, tools });
    this.pointer = null; // [left, top] in CSS pixels, null while it is elsewhere
    this.cross = null; // [y, x] of the keyboard's crosshair
    this.spot = null; // {region, why, until}: where to look next
  }

  draw() {
    const { context, element, view } = this;
    const width = Math.round(view.width * view.ratio);
    const height = Math.round(view.height * view.ratio);
    if (element.width !== width || element.height !== height) Object.assign(element, { width, height });
    context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    if (!state.image) return;
    this.frame();
    if (this.spot) this.suggestion();
    if (this.tools.gesture) this.gesture(this.tools.gesture);
    if (this.cross) this.crosshair();
    else if (this.pointer) this.brush(this.pointer);
    this.bar();
  }

  /** The border of the image. */
  frame() {
    const [left, top] = this.view.toScreen(-0.5, -0.5);
    const [right, bottom] = this.view.toScreen(state.image.shape[0] - 0.5, state.image.shape[1] - 0.5);
    this.context.lineWidth = 1;
    this.context.strokeStyle = "rgba(255, 255, 255, 0.18)";
    this.context.strokeRect(left - 0.5, top - 0.5, right - left + 1, bottom - top + 1);
  }

  colour() {
    const { value } = state;
    if (value === -1) return "#ffffff";
    if (value === 0) return BACKGROUND;
    if (isObjects()) return OBJECTS[0];
    return state.session.classes.find((kind) => kind.value === value)?.colour ?? "#ffffff";
  }

  brush([left, top]) {
    if (state.tool !== "brush" || !mayWrite()) return;
    const radius = Math.max(1.5, state.radius * this.view.scale);
    this.twice(() => this.context.arc(left, top, radius, 0, 7), this.colour(), state.value === -1 ? [4, 3] : []);
  }

  gesture({ tool, points }) {
    if (tool === "brush") return;
    const { context, view } = this;
    const colour = tool === "outline" ? this.colour() : "#ffffff";
    this.twice(() => {
      points.forEach(([y, x], at) => {
        const [left, top] = view.toScreen(y, x);
        if (at) context.lineTo(left, top);
        else context.moveTo(left, top);
      });
      if (tool === "outline") context.closePath();
    }, colour, tool === "outline" ? [] : [6, 4]);
  }

  /** A line that is seen on any ground: dark and wide, then bright and thin. */
  twice(path, colour, dashes = []) {
    const { context } = this;
    for (const [style, width] of [["rgba(0, 0, 0, 0.75)", 3.5], [colour, 1.6]]) {
      context.beginPath();
      path();
      Object.assign(context, { strokeStyle: style, lineWidth: width, lineJoin: "round" });
      context.setLineDash(width > 2 ? [] : dashes);
      context.stroke();
    }
    context.setLineDash([]);
  }

  crosshair() {
    const [left, top] = this.view.toScreen(...this.cross);
    const { context } = this;
    this.twice(() => {
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(left + dx * 5, top + dy * 5);
        context.lineTo(left + dx * 16, top + dy * 16);
      }
    }, "#ffffff");
    this.brush([left, top]);
  }

  suggestion() {
    const [y0, y1, x0, x1] = this.spot.region;
    const [left, top] = this.view.toScreen(y0 - 0.5, x0 - 0.5);
    const [right, bottom] = this.view.toScreen(y1 - 0.5, x1 - 0.5);
    this.twice(() => this.context.rect(left, top, right - left, bottom - top), "#f0e442", [7, 5]);
    this.words(this.spot.why, left, top - 8);
  }

  words(text, left, bottom, align = "left") {
    const { context } = this;
    context.font = "500 12px system-ui, 'DejaVu Sans', sans-serif";
    context.textAlign = align;
    const width = context.measureText(text).width;
    const start = align === "center" ? left - width / 2 : left;
    context.fillStyle = "rgba(16, 17, 19, 0.78)";
    context.beginPath();
    context.roundRect(start - 6, bottom - 14, width + 12, 20, 4);
    context.fill();
    context.fillStyle = "#f1efe9";
    context.fillText(text, left, bottom);
  }

  /** A scale bar of a round length, about a sixth of the window. */
  bar() {
    const { view, context } = this;
    const um = state.image.pixel_size_um?.[1];
    const unit = (um ?? 1) / view.scale; // of one CSS pixel
    const most = Math.min(180, view.width / 5) * unit;
    const ten = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].find((part) => part * ten <= most) * ten;
    const width = length / unit;
    const [left, bottom] = [18, view.height - 18];
    context.fillStyle = "rgba(16, 17, 19, 0.62)";
    context.beginPath();
    context.roundRect(left - 9, bottom - 25, width + 18, 34, 6);
    context.fill();
    context.fillStyle = "#ffffff";
    context.fillRect(left, bottom - 3, width, 3);
    context.font = "500 12px system-ui, 'DejaVu Sans', sans-serif";
    context.textAlign = "center";
    context.fillText(lengthInWords(length, um), left + width / 2, bottom - 9);
  }
}

export function lengthInWords(length, um) {
  const short = (value) => String(Number(value.toPrecision(3)));
  if (!um) return `${short(length)} px`;
  if (length >= 1000) return `${short(length / 1000)} mm`;
  return length < 1 ? `${short(length * 1000)} nm` : `${short(length)} µm`;
}
