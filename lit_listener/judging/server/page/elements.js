// Makes elements. Whatever comes from a server, a prompt or a file's name goes in as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** An element with properties (class, text, and any other of the element's own) and children. */
export function make(tag, { class: names, text, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  if (names) element.className = names;
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria")) element.setAttribute(name.replace("aria", "aria-").toLowerCase(), value);
    else element[name] = value;
  }
  element.append(...children.filter(Boolean));
  return element;
}

/** A picture of a file; its kind in words where this browser cannot show it. */
export function thumbnail(url, alt, names = "") {
  const image = make("img", { class: names, src: url, alt });
  image.addEventListener("error", () => {
    image.replaceWith(make("span", { class: `${names} unseen`, text: "no preview" }));
  });
  return image;
}
