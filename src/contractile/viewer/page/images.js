// The list of images; planes of one file are one line and a slider.

import { find, make, plural } from "./parts.js";
import { emit, on, state } from "./state.js";

let files = []; // {name, images: [...]}: the pages of one file in their order
let lines = [];

const short = (path) => String(path).split(/[\\/]/).at(-1);

export function buildImages() {
  const groups = new Map();
  for (const image of state.session.images) {
    const key = image.pages > 1 ? image.file : `${image.file}|${image.id}`;
    if (!groups.has(key)) groups.set(key, { name: image.pages > 1 ? short(image.file) : image.name, images: [] });
    groups.get(key).images.push(image);
  }
  files = [...groups.values()];
  lines = files.map(line);
  find("images").replaceChildren(...lines.map((one) => one.element));
  find("images-count").textContent = String(state.session.images.length);
  find("find").hidden = files.length < 12;
  find("find").addEventListener("input", () => {
    const wanted = find("find").value.toLowerCase();
    for (const one of lines) one.element.hidden = !one.file.name.toLowerCase().includes(wanted);
  });
  find("plane").addEventListener("input", () => {
    const file = fileOf(state.image);
    emit("show-image", file.images[find("plane").value - 1]);
  });
  on("image", show);
  on("session", show);
}

function line(file) {
  const count = make("span", { class: "count" });
  const shape = file.images[0].shape;
  const size = `${shape[1].toLocaleString("en")} × ${shape[0].toLocaleString("en")}`;
  const planes = file.images.length > 1 ? `, ${file.images.length} planes` : "";
  const element = make(
    "button",
    { class: "image", title: file.images[0].file },
    make("span", { class: "name", textContent: file.name }),
    make("span", { class: "dim", textContent: size + planes }),
    count,
  );
  element.addEventListener("click", () => emit("show-image", file.images.find((image) => image.id === file.last) ?? file.images[0]));
  return { file, element, count };
}

const fileOf = (image) => files.find((file) => file.images.includes(image));

function show() {
  const { image } = state;
  if (!image) return;
  for (const { file, element, count } of lines) {
    const here = file.images.includes(image);
    if (here) file.last = image.id;
    element.setAttribute("aria-current", String(here));
    const objects = file.images.reduce((sum, one) => sum + one.objects, 0);
    count.textContent = objects ? plural(objects, state.session.task === "classes" ? "area" : "object") : "";
  }
  const file = fileOf(image);
  const place = file.images.indexOf(image) + 1;
  find("image-name").textContent = image.name;
  find("image-name").title = image.file;
  find("planes").hidden = file.images.length < 2;
  find("plane").max = file.images.length;
  find("plane").value = place;
  find("plane-words").textContent = `plane ${place} of ${file.images.length}`;
  const at = state.session.images.indexOf(image);
  find("previous").disabled = at === 0;
  find("next").disabled = at === state.session.images.length - 1;
  into(find("images"), lines.find((one) => one.file === file).element);
}

/** Scroll the list, and nothing around it, so that a line is seen. */
function into(box, line) {
  const [top, bottom] = [line.offsetTop, line.offsetTop + line.offsetHeight];
  if (top < box.scrollTop) box.scrollTop = top;
  else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}

/** The image before or after the shown one. */
export function neighbour(step) {
  return state.session.images[state.session.images.indexOf(state.image) + step];
}
