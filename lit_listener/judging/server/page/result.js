// Draws a ranking: best first, with the thoughts behind every number.

import { byId, make, thumbnail } from "./elements.js";

const number = (value) => value.toFixed(3);
let urls = []; // of the last ranking's pictures

/** Shows a ranking of files: against an anchor (one of them, or a file of its own), each by itself, or all at once. */
export function show(ranking, files, anchorFile) {
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  const seen = (file) => {
    const url = URL.createObjectURL(file);
    urls.push(url);
    return { name: file.name, url };
  };
  const images = files.map(seen);
  byId("asked").textContent = ranking.prompt;
  byId("ranked").replaceChildren(...cards(ranking, images, seen, anchorFile));
  byId("at-once").hidden = !ranking.list_traces;
  byId("at-once").replaceChildren(...(ranking.list_traces ? thoughtsAtOnce(ranking, images) : []));
  byId("result").hidden = false;
}

function cards(ranking, images, seen, anchorFile) {
  if (ranking.ratings) return rated(ranking, images);
  return ranking.list_traces ? judgedAtOnce(ranking, images) : compared(ranking, images, seen, anchorFile);
}

/** The cards of images that were judged all at once. */
function judgedAtOnce(ranking, images) {
  byId("against").textContent =
    `A score is the probability of being the best of these ${images.length} images, judged at once.`;
  return ranking.order.map((place) => card(ranking, place, images[place], {
    badges: [],
    listener: ranking.listener_scores ? ranking.listener_scores[place] : null,
    below: "",
  }));
}

/** The thoughts about all images, once. */
function thoughtsAtOnce(ranking, images) {
  const several = ranking.rollouts > 1;
  return [
    make("h3", { text: "All images at once" }),
    make("p", {}, ...badges(ranking.list_traces)),
    folded(ranking.list_traces, (trace) => thoughtOfList(trace, images, several)),
  ];
}

/** The cards of images that were rated by themselves. */
function rated(ranking, images) {
  const { lowest, highest } = ranking.ratings[0];
  byId("against").textContent =
    `A score is the expected rating of an image by itself: 0 is a rating of ${lowest}, 1 one of ${highest}.`;
  return ranking.order.map((place) => {
    const rating = ranking.ratings[place];
    const image = images[place];
    return card(ranking, place, image, {
      badges: badges(rating.traces),
      listener: rating.listener_score,
      below: folded(rating.traces, (trace) => thoughtOfImage(trace, ranking.rollouts > 1)),
    });
  });
}

/** The cards of images that were compared with an anchor. */
function compared(ranking, images, seen, anchorFile) {
  const anchor = ranking.anchor === null ? seen(anchorFile) : images[ranking.anchor];
  byId("against").textContent =
    `A score is the probability that people prefer the image to the anchor, ${anchor.name}` +
    `${ranking.anchor === null ? "" : ` (image ${ranking.anchor + 1})`}, whose score is 0.5.`;
  return ranking.order.map((place) => {
    const comparison = ranking.comparisons[place];
    if (!comparison) return card(ranking, place, images[place], ANCHOR());
    const several = comparison.rollouts > 1;
    return card(ranking, place, images[place], {
      badges: [
        comparison.flipped && make("span", { class: "badge warn", text: "orders disagree" }),
        ...badges(comparison.traces),
      ].filter(Boolean),
      listener: comparison.listener_p_a,
      below: folded(comparison.traces, (trace) => thought(trace, images[place], anchor, several)),
    });
  });
}

const ANCHOR = () => ({
  badges: [make("span", { class: "badge", text: "anchor" })],
  listener: null,
  below: make("p", { class: "faint", text: "The anchor: every other image was compared with this one." }),
});

function card(ranking, place, image, told) {
  const score = ranking.scores[place];
  const rank = ranking.ranks[place];
  const heading = make("div", { class: "heading" },
    make("span", { class: "rank", text: rank, ariaLabel: `Rank ${rank}` }),
    make("h3", { text: image.name }),
    make("span", { class: "faint", text: `image ${place + 1}` }),
    ...told.badges);
  const what = make("div", { class: "what" }, heading, bar("judge", score));
  if (told.listener !== null) what.append(bar("listener", told.listener));
  what.append(told.below);
  return make("li", { class: rank === 1 ? "card best" : "card" },
    thumbnail(image.url, `Image ${place + 1}, ${image.name}`, "thumb"), what);
}

function badges(traces) {
  const count = (which) => traces.filter(which).length;
  const forced = count((trace) => trace.forced);
  const contradicting = count((trace) => trace.contradicts);
  return [
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

function folded(traces, drawn) {
  const title = traces.length === 1 ? "1 thought" : `${traces.length} thoughts`;
  return make("details", {}, make("summary", { text: title }), ...traces.map(drawn));
}

function thoughtOfImage(trace, several) {
  const answer = trace.answer === null ? "no answer can be read" : `rated ${trace.answer}`;
  return make("article", { class: "thought" },
    several && make("h4", { text: `Thought ${trace.rollout + 1}` }),
    make("blockquote", { text: (trace.outcome === "ok" && trace.thinking) || trace.text }),
    make("p", { class: "facts" },
      make("span", { text: answer }),
      make("span", { class: "probability", text: `score ${number(trace.score)}` }),
      trace.listener_score !== null
        && make("span", { class: "heard", text: `listener ${number(trace.listener_score)}` }),
      ...oddities(trace)));
}

function thoughtOfList(trace, images, several) {
  const answer = trace.answer === null ? "no answer can be read" : `answers: ${images[trace.answer].name}`;
  const numbers = (scores) => trace.order.map((place) => number(scores[place])).join(", ");
  const shown = trace.order.map((place) => make("figure", {},
    thumbnail(images[place].url, ""),
    make("figcaption", { text: `${images[place].name}: ${number(trace.scores[place])}` })));
  return make("article", { class: "thought" },
    make("h4", { text: "Shown in this order" + (several ? `, thought ${trace.rollout + 1}` : "") }),
    make("div", { class: "shown" }, ...shown),
    make("blockquote", { text: (trace.outcome === "ok" && trace.thinking) || trace.text }),
    make("p", { class: "facts" },
      make("span", { text: answer }),
      trace.listener_scores !== null
        && make("span", { class: "heard", text: `listener ${numbers(trace.listener_scores)}` }),
      ...oddities(trace)));
}

/** What is odd about a trace. */
function oddities(trace) {
  return [
    trace.forced && make("span", {
      class: "badge warn", text: "forced",
      title: "The thought led to no answer; it was closed, and the probability read there.",
    }),
    trace.contradicts && make("span", {
      class: "badge warn", text: "contradicts itself",
      title: "The thought states one verdict, and the answer gives the other.",
    }),
    trace.outcome !== "ok" && make("span", { class: "badge", text: trace.outcome.replaceAll("_", " ") }),
  ];
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
    ...oddities(trace));
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
