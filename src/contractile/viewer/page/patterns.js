// Patterns that tell kinds of areas apart without colour: dots for background, stripes for what is held back.

import { BACKGROUND } from "./colours.js";

export function canvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** Stripes over what is never learned from: it measures the score. */
export function heldPattern(context, view) {
  const size = Math.round(9 * view.ratio);
  return moved(context, view, drawn(`held${size}`, size, (brush) => {
    for (const [colour, width] of [["rgba(0,0,0,0.55)", 3.2], ["#ffffff", 1.6]]) {
      Object.assign(brush, { strokeStyle: colour, lineWidth: width * view.ratio });
      brush.beginPath();
      for (const shift of [-size, 0, size]) {
        brush.moveTo(shift - 2, size + 2);
        brush.lineTo(shift + size + 2, -2);
      }
      brush.stroke();
    }
  }), size);
}

/** A blue veil with dots: background that was painted. */
export function backgroundPattern(context, view, opacity) {
  const size = Math.round(8 * view.ratio);
  return moved(context, view, drawn(`ground${size}/${opacity}`, size, (brush) => {
    brush.globalAlpha = Math.min(1, 0.75 * opacity);
    brush.fillStyle = BACKGROUND;
    brush.fillRect(0, 0, size, size);
    brush.globalAlpha = Math.min(1, 0.35 + opacity);
    // A dark rim, so that the dots are seen on bright pixels too.
    for (const [colour, radius] of [["rgba(0, 22, 48, 0.8)", 2], ["#a9d8f7", 1.1]]) {
      brush.fillStyle = colour;
      brush.beginPath();
      brush.arc(size / 2, size / 2, radius * view.ratio, 0, 7);
      brush.fill();
    }
  }), size);
}

const kept = new Map();

function drawn(name, size, draw) {
  if (!kept.has(name)) {
    if (kept.size > 50) kept.clear();
    const made = canvas(size, size);
    draw(made.getContext("2d"));
    kept.set(name, made);
  }
  return kept.get(name);
}

/** The pattern moves with the image, so that it does not swim under it. */
function moved(context, view, tile, size) {
  const pattern = context.createPattern(tile, "repeat");
  const [left, top] = view.toScreen(0, 0).map((one) => Math.round(one * view.ratio));
  pattern.setTransform(new DOMMatrix([1, 0, 0, 1, ((left % size) + size) % size, ((top % size) + size) % size]));
  return pattern;
}
