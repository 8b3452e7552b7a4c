// Draws a ranking: best first, with the thoughts behind every number.

import { byId, make, thumbnail } from "./elements.js";

const number = (value) => value.toFixed(3);
let urls = []; // of the last ranking's pictures

/** Shows a ranking of files against an anchor: one of them, or a file of its own. */
export function show(ranking, files, anchorFile) {
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  const seen = (file) => {
    const url = URL.createObjectURL(file);
    urls.push(url);
    return { name: file.name, url };
  };
  const images = files.map(seen);
  const anchor = ranking.anchor === null ? seen(anchorFile) : images[ranking.anchor];
  byId("asked").textContent = ranking.prompt;
  byId("against").textContent =
    `A score is the probability that people prefer the image to the anchor, ${anchor.name}` +
    `${ranking.anchor === null ? "" : ` (image ${ranking.anchor + 1})`}, whose score is 0.5.`;
  byId("ranked").replaceChildren(
    ...ranking.order.map((place) => card(ranking, place, images[place], anchor)));
  byId("result").hidden = false;
}

function card(ranking, place, image, anchor) {
  const comparison = ranking.comparisons[place];
  const score = ranking.scores[place];
  const rank = ranking.ranks[place];
  const heading = make("div", { class: "heading" },
    make("span", { class: "rank", text: rank, ariaLabel: `Rank ${rank}` }),
    make("h3", { text: image.name }),
    make("span", { class: "faint", text: `image ${place + 1}` }),
    ...badges(comparison));
  const what = make("div", { class: "what" }, heading, bar("judge", score));
  if (comparison && comparison.listener_p_a !== null) what.append(bar("listener", comparison.listener_p_a));
  what.append(comparison
    ? thoughts(comparison, image, anchor)
    : make("p", { class: "faint", text: "The anchor: every other image was compared with this one." }));
  return make("li", { class: rank === 1 ? "card best" : "card" },
    thumbnail(image.url, `Image ${place + 1}, ${image.name}`, "thumb"), what);
}

function badges(comparison) {
  if (!comparison) return [make("span", { class: "badge", text: "anchor" })];
  const count = (which) => comparison.traces.filter(which).length;
  const forced = count((trace) => trace.forced);
  const contradicting = count((trace) => trace.contradicts);
  return [
    comparison.flipped && make("span", { class: "badge warn", text: "orders disagree" }),
    forced > 0 && make("span", { class: "badge warn", text: `${forced} forced` }),
    contradicting > 0 && make("span", { class: "badge warn", text: `${contradicting} contradicting` }),
  ].filter(Boolean);
}

/** A probability as a number and a bar, with a tick in the middle, where the anchor stands. */
function bar(who, value) {
  const fill = make("span", { class: "fill" });
  fill.style.width = `${100 * value}%`;
  return make("div", { class: `score ${who}` },
    make("span", { class: "who", text: who }),
    make("span", { class: "bar", ariaHidden: "true" }, fill),
    make("span", { class: "number", text: number(value) }));
}

function thoughts(comparison, image, anchor) {
  const traces = comparison.traces;
  const title = traces.length === 1 ? "1 thought" : `${traces.length} thoughts`;
  const several = comparison.rollouts > 1;
  return make("details", {},
    make("summary", { text: title }),
    ...traces.map((trace) => thought(trace, image, anchor, several)));
}

function thought(trace, image, anchor, several) {
  const sides = { a: image, b: anchor };
  const second = trace.first === "a" ? "b" : "a";
  const answer = trace.answer === null ? "no answer can be read" : `answers: ${answered(trace)}`;
  const facts = make("p", { class: "facts" },
    make("span", { text: answer }),
    make("span", { class: "probability", text: `p(this image) ${number(trace.p_a)}` }),
    trace.listener_p_a !== null
      && make("span", { class: "heard", text: `listener ${number(trace.listener_p_a)}` }),
    trace.forced && make("span", {
      class: "badge warn", text: "forced",
      title: "The thought led to no answer; it was closed, and the probability read there.",
    }),
    trace.contradicts && make("span", {
      class: "badge warn", text: "contradicts itself",
      title: "The thought states one verdict, and the answer gives the other.",
    }),
    trace.outcome !== "ok" && make("span", { class: "badge", text: trace.outcome.replaceAll("_", " ") }));
  const shown = (side, place) => make("figure", {},
    thumbnail(sides[side].url, ""),
    make("figcaption", { text: `${place}: ${side === "a" ? "this image" : "the anchor"}` }));
  const run = several ? `, thought ${trace.rollout + 1}` : "";
  return make("article", { class: "thought" },
    make("h4", { text: (trace.first === "a" ? "This image shown first" : "The anchor shown first") + run }),
    make("div", { class: "shown" }, shown(trace.first, "first"), shown(second, "second")),
    make("blockquote", { text: (trace.outcome === "ok" && trace.thinking) || trace.text }),
    facts);
}

function answered(trace) {
  const place = trace.answer === trace.first ? "first" : "second";
  return `the ${place} image (${trace.answer === "a" ? "this one" : "the anchor"})`;
}
