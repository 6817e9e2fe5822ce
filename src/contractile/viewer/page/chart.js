// The score as a curve against annotated objects or minutes, with its interval as a band.

import { draw, make, share } from "./parts.js";
import { isObjects } from "./state.js";

const WIDTH = 276;
const HEIGHT = 128;
const PAD = { left: 26, right: 10, top: 8, bottom: 22 };

export class Chart {
  constructor(box) {
    this.box = box;
    this.against = "objects";
    this.data = { scores: [], name: "", meaning: "" };
    this.drawn = "";
  }

  show(data = this.data) {
    this.data = data;
    const stamp = JSON.stringify([data, this.against]);
    if (stamp === this.drawn) return;
    this.drawn = stamp;
    const { name, meaning } = data;
    const scores = data.scores.filter((one) => one.score != null); // others are models that nothing could score yet
    if (!scores.length) {
      this.box.replaceChildren(make("p", { class: "dim", textContent: empty() }));
      return;
    }
    const last = scores.at(-1);
    this.value = make("strong", { textContent: share(last.score) });
    this.range = make("span", { class: "range", textContent: range(last) });
    this.words = make("span", { class: "dim", textContent: name });
    const head = make("p", { class: "score-line", title: meaning ?? "" }, this.value, this.range, this.words);
    this.box.replaceChildren(head, this.curve(scores));
  }

  at(score) {
    return this.against === "objects" ? score.objects : score.seconds / 60;
  }

  curve(scores) {
    const rows = [...scores].sort((a, b) => this.at(a) - this.at(b) || a.seconds - b.seconds);
    const [least, most] = [0, niceTop(Math.max(...rows.map((row) => this.at(row)), 1))];
    const x = (value) => PAD.left + ((value - least) / (most - least)) * (WIDTH - PAD.left - PAD.right);
    const y = (value) => HEIGHT - PAD.bottom - value * (HEIGHT - PAD.top - PAD.bottom);
    const point = (row, part) => `${x(this.at(row)).toFixed(1)},${y(row[part] ?? row.score).toFixed(1)}`;
    const band = [...rows.map((row) => point(row, "high")), ...rows.map((row) => point(row, "low")).reverse()];
    const line = rows.map((row) => point(row, "score"));
    const last = rows.at(-1);
    const mark = draw("circle", { class: "dot", r: 3.5, cx: x(this.at(last)), cy: y(last.score) });
    const svg = draw(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${this.data.name}: ${share(last.score)}` },
      ...grid(x, y, most, this.against),
      draw("polygon", { class: "band", points: band.join(" ") }),
      draw("polyline", { class: "line", points: line.join(" ") }),
      mark,
    );
    svg.addEventListener("pointermove", (event) => this.point(event, svg, rows, x, y, mark));
    svg.addEventListener("pointerleave", () => this.tell(last, x, y, mark, ""));
    return svg;
  }

  /** The point of the curve under the pointer. */
  point(event, svg, rows, x, y, mark) {
    const box = svg.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * WIDTH;
    const row = rows.reduce((best, one) => (Math.abs(x(this.at(one)) - place) < Math.abs(x(this.at(best)) - place) ? one : best));
    this.tell(row, x, y, mark, `${row.objects} objects, ${(row.seconds / 60).toFixed(1)} min`);
  }

  tell(row, x, y, mark, words) {
    mark.setAttribute("cx", x(this.at(row)));
    mark.setAttribute("cy", y(row.score));
    this.value.textContent = share(row.score);
    this.range.textContent = range(row);
    this.words.textContent = words || this.data.name;
  }
}

function empty() {
  const what = isObjects() ? "object" : "stroke";
  return `Every fifth ${what} is striped: the model never learns from it, it measures the score. The first score comes with the first striped ${what}s.`;
}

function range({ low, high }) {
  return low == null || high == null ? "" : `${share(low)} to ${share(high)}`;
}

function niceTop(most) {
  const ten = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].find((part) => part * ten >= most) * ten;
}

function grid(x, y, most, against) {
  const parts = [];
  for (const value of [0, 0.5, 1]) {
    parts.push(draw("line", { class: "grid", x1: PAD.left, x2: WIDTH - PAD.right, y1: y(value), y2: y(value) }));
    const text = draw("text", { x: PAD.left - 6, y: y(value) + 3.5, "text-anchor": "end" });
    text.textContent = value;
    parts.push(text);
  }
  for (const part of [0, 0.5, 1]) {
    const text = draw("text", { x: x(part * most), y: HEIGHT - 7, "text-anchor": part === 1 ? "end" : part ? "middle" : "start" });
    text.textContent = `${Number((part * most).toPrecision(2))}${part === 1 ? (against === "objects" ? " objects" : " min") : ""}`;
    parts.push(text);
  }
  return parts;
}
