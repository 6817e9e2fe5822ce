// Mouse, pen, fingers and arrow keys over the image. One pointer works with the tool, two fingers move and zoom.
// The arrow keys move a crosshair that does all that a pointer does: Enter is the button.

import { emit, state } from "./state.js";

const STEP = 12; // CSS pixels that an arrow key moves the crosshair
const EDGE = 40; // CSS pixels from the border at which the crosshair moves the image

export class Pointer {
  constructor(element, view, tools, overlay, redraw) {
    Object.assign(this, { element, view, tools, overlay, redraw });
    this.down = new Map(); // pointers that are down: id -> [left, top]
    this.panning = false;
    this.space = false; // the space bar is held: dragging moves the image
    this.drawing = false; // the crosshair's pen is down
    this.size = null;
    const listen = (name, act, options) => element.addEventListener(name, act.bind(this), options);
    listen("pointerdown", this.press);
    listen("pointermove", this.move);
    listen("pointerup", this.lift);
    listen("pointercancel", this.lose);
    listen("pointerleave", this.leave);
    listen("wheel", this.wheel, { passive: false });
    listen("contextmenu", (event) => event.preventDefault());
  }

  place(event) {
    const box = (this.size ??= this.element.getBoundingClientRect());
    return [event.clientX - box.left, event.clientY - box.top];
  }

  press(event) {
    if (!state.image) return;
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    const place = this.place(event);
    this.down.set(event.pointerId, place);
    this.hideCross();
    if (this.down.size === 2) {
      this.tools.cancel(); // the first finger was no stroke
      this.panning = true;
      return;
    }
    this.panning = event.button !== 0 || this.space || state.tool === "hand";
    if (event.button === 5) this.panning = false; // the eraser end of a pen
    this.element.classList.toggle("grabbing", this.panning);
    if (this.panning) return;
    this.turned = event.button === 5 || (event.buttons & 32) !== 0;
    if (this.turned) this.erase();
    this.tools.begin(this.view.toImage(...place));
    this.redraw(true);
  }

  /** A pen that is turned around erases until it is lifted. */
  erase() {
    this.before = { tool: state.tool, value: state.value };
    Object.assign(state, { tool: "brush", value: -1 });
    emit("tool");
  }

  /** Takes up again what the pen drew with before it erased. */
  turnBack() {
    if (!this.turned) return;
    Object.assign(state, this.before);
    this.turned = false;
    emit("tool");
  }

  move(event) {
    if (!state.image) return;
    const place = this.place(event);
    this.overlay.pointer = place;
    if (this.overlay.cross && Math.hypot(event.movementX, event.movementY) > 0 && !this.drawing) this.hideCross();
    const last = this.down.get(event.pointerId);
    if (last && this.down.size === 2) this.pinch(event.pointerId, last, place);
    else if (last && this.panning) this.view.pan(place[0] - last[0], place[1] - last[1]);
    if (last) this.down.set(event.pointerId, place);
    if (last && this.panning) emit("view");
    if (last && this.tools.gesture) this.stroke(event);
    else emit("hover", this.view.toImage(...place));
    this.redraw(false);
  }

  /** All places since the last event: a fast pen is a smooth line. */
  stroke(event) {
    const events = event.getCoalescedEvents?.() ?? [];
    const points = (events.length ? events : [event]).map((one) => this.view.toImage(...this.place(one)));
    this.tools.extend(points);
    this.redraw(true);
  }

  pinch(id, last, place) {
    const [other] = [...this.down].filter(([key]) => key !== id).map(([, where]) => where);
    const before = Math.hypot(last[0] - other[0], last[1] - other[1]);
    const after = Math.hypot(place[0] - other[0], place[1] - other[1]);
    this.view.pan((place[0] - last[0]) / 2, (place[1] - last[1]) / 2);
    if (before > 0 && after > 0) this.view.zoom(after / before, (place[0] + other[0]) / 2, (place[1] + other[1]) / 2);
  }

  lift(event) {
    if (!this.down.delete(event.pointerId)) return;
    if (!this.panning) this.tools.end();
    this.turnBack();
    if (!this.down.size) this.panning = false;
    this.element.classList.remove("grabbing");
    this.redraw(true);
  }

  lose(event) {
    if (this.down.delete(event.pointerId)) this.tools.cancel();
    this.turnBack();
    if (!this.down.size) this.panning = false;
  }

  leave() {
    this.overlay.pointer = null;
    emit("hover", null);
    this.redraw(false);
  }

  wheel(event) {
    event.preventDefault();
    if (!state.image) return;
    const lines = event.deltaMode === 1 ? 16 : 1;
    const [left, top] = this.place(event);
    if (event.shiftKey) this.view.pan(-(event.deltaX || event.deltaY) * lines, event.deltaX ? -event.deltaY * lines : 0);
    else this.view.zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY * lines)) * 0.004), left, top);
    emit("view");
    this.redraw(true);
  }

  hideCross() {
    if (!this.overlay.cross) return;
    if (this.drawing) this.tools.cancel();
    this.drawing = false;
    this.overlay.cross = null;
  }

  /** An arrow key: (down, right) are -1, 0 or 1. With `fine` one pixel of the image. */
  arrow(down, right, fine) {
    const { overlay, view } = this;
    if (!overlay.cross) overlay.cross = view.toImage(...(overlay.pointer ?? [view.width / 2, view.height / 2])).map(Math.round);
    const step = fine ? 1 : Math.max(1, Math.round(STEP / view.scale));
    const [height, width] = view.shape;
    const [y, x] = overlay.cross;
    overlay.cross = [
      Math.min(height - 1, Math.max(0, y + down * step)),
      Math.min(width - 1, Math.max(0, x + right * step)),
    ];
    this.follow();
    if (this.drawing) this.tools.extend([overlay.cross]);
    emit("hover", overlay.cross);
    this.redraw(true);
  }

  follow() {
    const { view, overlay } = this;
    const [left, top] = view.toScreen(...overlay.cross);
    const over = (value, size) => Math.min(0, value - EDGE) + Math.max(0, value - size + EDGE);
    const away = [over(left, view.width), over(top, view.height)];
    if (!away[0] && !away[1]) return;
    view.pan(-away[0], -away[1]);
    emit("view");
  }

  /** Enter: the tool works at the crosshair. Tools that draw begin with the first and end with the second. */
  enter() {
    const { overlay, tools, view } = this;
    if (!overlay.cross) {
      overlay.cross = view.toImage(...(overlay.pointer ?? [view.width / 2, view.height / 2])).map(Math.round);
    } else if (this.drawing) {
      tools.end();
      this.drawing = false;
    } else {
      tools.begin(overlay.cross);
      this.drawing = Boolean(tools.gesture);
    }
    emit("pen", this.drawing);
    this.redraw(true);
  }

  /** Escape: what was begun is given up. */
  escape() {
    this.tools.cancel();
    this.drawing = false;
    this.overlay.cross = null;
    this.overlay.spot = null;
    emit("pen", false);
    this.redraw(true);
  }

  /** Where the user points: with the crosshair, else the pointer; null if nowhere. */
  point() {
    if (this.overlay.cross) return this.overlay.cross;
    return this.overlay.pointer ? this.view.toImage(...this.overlay.pointer) : null;
  }
}
