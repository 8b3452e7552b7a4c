// The images that are to be ranked: added, removed and put in order, by mouse or keyboard.

import { byId, make, thumbnail } from "./elements.js";

const list = byId("chosen");
let items = []; // { file, url, row }
let say = () => {};
let changed = () => {};

/** Starts the list; `tell` speaks to the reader, `onChange` hears of every change. */
export function start(tell, onChange) {
  say = tell;
  changed = onChange;
  byId("files").addEventListener("change", (event) => {
    add(event.target.files);
    event.target.value = ""; // so that the same file can be chosen again after it was removed
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) {
      event.preventDefault();
      add(event.clipboardData.files);
    }
  });
  listenForDrops(byId("drop"));
  update();
}

export const files = () => items.map((item) => item.file);

/** Dropping beside the zone must not replace the page by the picture, so that all of the page takes drops. */
function listenForDrops(zone) {
  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0; // enter and leave come for every element that is passed over
  const over = (change) => (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = change(depth);
    zone.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", over((depth) => depth + 1));
  document.addEventListener("dragleave", over((depth) => Math.max(0, depth - 1)));
  document.addEventListener("dragover", over((depth) => Math.max(1, depth)));
  document.addEventListener("drop", over(() => 0));
  document.addEventListener("drop", (event) => holdsFiles(event) && add(event.dataTransfer.files));
}

function add(given) {
  const added = [...given];
  for (const file of added) {
    const item = { file, url: URL.createObjectURL(file) };
    item.row = row(item);
    items.push(item);
    list.append(item.row);
  }
  update();
  if (added.length) say(`${added.length === 1 ? added[0].name : `${added.length} images`} added, ${items.length} in all.`);
}

function row(item) {
  const name = item.file.name;
  const button = (sign, label, act) => {
    const made = make("button", { type: "button", text: sign, title: label, ariaLabel: `${label}: ${name}` });
    made.addEventListener("click", () => act(made));
    return made;
  };
  return make("li", {},
    make("span", { class: "place" }),
    thumbnail(item.url, ""),
    make("span", { class: "name", text: name, title: name }),
    make("span", { class: "moves" },
      button("←", "Move earlier", (made) => move(item, -1, made)),
      button("→", "Move later", (made) => move(item, 1, made)),
      button("✕", "Remove", () => remove(item))));
}

function move(item, by, button) {
  const from = items.indexOf(item);
  const to = from + by;
  if (to < 0 || to >= items.length) return;
  items.splice(from, 1);
  items.splice(to, 0, item);
  if (by < 0) list.children[to].before(item.row);
  else list.children[to].after(item.row);
  update();
  button.focus(); // moving an element takes the focus from it
  say(`${item.file.name} is image ${to + 1} of ${items.length}.`);
}

function remove(item) {
  const place = items.indexOf(item);
  items.splice(place, 1);
  item.row.remove();
  URL.revokeObjectURL(item.url);
  update();
  const next = items[Math.min(place, items.length - 1)];
  (next ? next.row.querySelector("button:last-child") : byId("files")).focus();
  say(`${item.file.name} removed, ${items.length} left.`);
}

function update() {
  items.forEach((item, place) => {
    item.row.querySelector(".place").textContent = place + 1;
    const [earlier, later] = item.row.querySelectorAll("button");
    earlier.setAttribute("aria-disabled", place === 0);
    later.setAttribute("aria-disabled", place === items.length - 1);
  });
  list.hidden = items.length === 0;
  byId("count").textContent = items.length ? `(${items.length})` : "";
  changed(files());
}
