// Where the window lies over the image: middle, scale, and the way between points of the screen and of the image.
// Points of the image are [y, x]; the middle of the first pixel is (0, 0). The view is kept by corners: +0.5.

const NEAREST = 64; // screen pixels for one pixel of the image

export class View {
  constructor() {
    this.y = 0;
    this.x = 0;
    this.scale = 1; // CSS pixels for one pixel of the image
    this.width = 1;
    this.height = 1;
    this.ratio = 1; // device pixels for one CSS pixel
    this.shape = [1, 1];
    this.least = 0.001;
  }

  /** The size of the window in CSS pixels. */
  resize(width, height, ratio) {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.ratio = ratio;
    this.least = Math.min(1, this.fitting()) / 2;
  }

  fitting() {
    const edge = 24;
    return Math.min((this.width - edge) / this.shape[1], (this.height - edge) / this.shape[0]);
  }

  fit(shape = this.shape) {
    this.shape = shape;
    this.scale = Math.min(NEAREST, Math.max(1e-4, this.fitting()));
    this.least = Math.min(1, this.scale) / 2;
    this.y = shape[0] / 2;
    this.x = shape[1] / 2;
  }

  toImage(left, top) {
    return [
      this.y + (top - this.height / 2) / this.scale - 0.5,
      this.x + (left - this.width / 2) / this.scale - 0.5,
    ];
  }

  /** The place of an image point in CSS pixels: [left, top]. */
  toScreen(y, x) {
    return [
      (x + 0.5 - this.x) * this.scale + this.width / 2,
      (y + 0.5 - this.y) * this.scale + this.height / 2,
    ];
  }

  /** Zoom so that the image point under (left, top) stays there. */
  zoom(factor, left = this.width / 2, top = this.height / 2) {
    const scale = Math.min(NEAREST, Math.max(this.least, this.scale * factor));
    const change = 1 / this.scale - 1 / scale;
    this.x += (left - this.width / 2) * change;
    this.y += (top - this.height / 2) * change;
    this.scale = scale;
    this.keep();
  }

  pan(left, top) {
    this.x -= left / this.scale;
    this.y -= top / this.scale;
    this.keep();
  }

  /** The middle never leaves the image. */
  keep() {
    this.y = Math.min(this.shape[0], Math.max(0, this.y));
    this.x = Math.min(this.shape[1], Math.max(0, this.x));
  }

  /** Show a region [y0, y1, x0, x1] of the image with something around it. */
  show([y0, y1, x0, x1], around = 2.5) {
    const needed = Math.min(this.width / ((x1 - x0) * around), this.height / ((y1 - y0) * around));
    this.scale = Math.min(16, NEAREST, Math.max(this.least, needed));
    this.y = (y0 + y1) / 2;
    this.x = (x0 + x1) / 2;
  }

  holds([y0, y1, x0, x1]) {
    const [a0, a1, b0, b1] = this.region();
    return y0 < a1 && y1 > a0 && x0 < b1 && x1 > b0;
  }

  /** What is on the screen, in whole pixels of the image: [y0, y1, x0, x1]. */
  region() {
    const [top, left] = this.toImage(0, 0);
    const [bottom, right] = this.toImage(this.width, this.height);
    const cut = (value, size) => Math.min(size, Math.max(0, value));
    return [
      cut(Math.floor(top + 0.5), this.shape[0]),
      cut(Math.ceil(bottom + 0.5), this.shape[0]),
      cut(Math.floor(left + 0.5), this.shape[1]),
      cut(Math.ceil(right + 0.5), this.shape[1]),
    ];
  }

  /** The coarsest level whose pixels are not larger than those of the screen. */
  level(levels) {
    let best = 0;
    levels.forEach((_, at) => {
      if (factor(levels, at)[0] * this.scale * this.ratio <= 1.3) best = at;
    });
    return best;
  }
}

/** Pixels of the full image for one pixel of a level: [y, x]. */
export function factor(levels, level) {
  return [0, 1].map((axis) => Math.max(1, Math.round(levels[0][axis] / levels[level][axis])));
}
